//! Whether a container does what it is for: its health check, again and again, as one more process of it.

use super::event::{Owner, Source, Wanted};
use super::execution::Execution;
use super::signals::Forward;
use crate::cgroup::group::Group;
use crate::engine::created::Created;
use crate::engine::events::{self, Actor};
use crate::engine::health::{Checked, Health, Status};
use crate::engine::log::Stream;
use crate::engine::restart;
use crate::runtime::exec::{Door, Program};
use crate::spec::health::{Check, OnFailure};
use crate::time::Time;
use anyhow::Result;
use oci_spec::runtime::Spec;
use rustix::event::PollFlags;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The number of its executions: others count from 1.
pub const ID: u32 = 0;
/// As much of what a check says is kept, bytes (moby, `daemon/health.go`, `maxOutputLen`).
const MOST: usize = 4096;

/// A container's.
pub struct Monitor {
    check: Check,
    /// Where it is written down.
    dir: PathBuf,
    known: Health,
    actor: Actor,
    started: Instant,
    next: Instant,
    running: Option<Running>,
}

struct Running {
    execution: Execution,
    start: Time,
    /// Then it takes too long.
    limit: Instant,
    is_late: bool,
}

impl Monitor {
    /// Begins now, which is the container's start.
    pub fn start(check: Check, dir: &Path, actor: &Actor) -> Result<Monitor> {
        let now = Instant::now();
        let mut monitor = Monitor {
            check,
            dir: dir.to_owned(),
            known: Health::default(),
            actor: actor.clone(),
            started: now,
            next: now,
            running: None,
        };
        monitor.next = monitor.after(now);
        monitor.known.write(dir)?;
        Ok(monitor)
    }

    /// When something is to be done, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.running {
            Some(running) if !running.is_late => Some(running.limit),
            // It is killed: when it ends is for the kernel to say.
            Some(_) => None,
            None => Some(self.next),
        }
    }

    /// True if the last check went well.
    pub fn is_healthy(&self) -> bool {
        self.known.status == Status::Healthy
    }

    /// What to wait for.
    pub fn wanted<'a>(&'a self, all: &mut Wanted<'a>) {
        self.running.iter().for_each(|running| running.execution.wanted(all));
    }

    /// What is to happen when it is unhealthy.
    pub fn action(&self) -> OnFailure {
        self.check.on_failure
    }

    /// A check has something.
    pub fn step(&mut self, source: Source, flags: PollFlags, program: &mut Program) {
        let Some(Running { execution, .. }) = &mut self.running else { return };
        match source {
            Source::Joiner(_) => execution.hear(program),
            Source::Child(_) => execution.end(),
            Source::Session(_, end) => drop(execution.session.step(end, flags)),
            _ => {}
        }
    }

    /// Does what is due. True if the container is found to be unhealthy now.
    pub fn go_on(&mut self, spec: &Spec, door: &Door, program: &Program) -> Result<bool> {
        let now = Instant::now();
        // One that is paused can neither answer nor be late.
        let is_due = if self.running.is_none() { now >= self.next } else { true };
        let is_paused = || door.cgroup.as_ref().is_some_and(Group::is_stopped);
        if is_due && is_paused() {
            self.next = self.after(now);
            if let Some(running) = &mut self.running {
                running.limit = now + self.check.timeout;
            }
            return Ok(false);
        }
        if self.running.is_none() && now >= self.next {
            self.running = Some(self.begin(spec, door, program, now));
        }
        let Some(running) = &mut self.running else { return Ok(false) };
        if !running.is_late && now >= running.limit {
            running.is_late = true;
            running.execution.kill();
        }
        let Some(ended) = running.execution.outcome() else { return Ok(false) };
        let seconds = self.check.timeout.as_secs_f64();
        let (exit_code, output) = match (running.is_late, ended) {
            (true, _) => (-1, format!("Health check exceeded timeout ({seconds}s)")),
            (false, Ok(status)) => {
                (i32::from(status), String::from_utf8_lossy(running.execution.session.kept()).into_owned())
            }
            (false, Err(message)) => (-1, message),
        };
        let checked = Checked { start: running.start, end: Time::now(), exit_code, output };
        self.running = None;
        self.next = self.after(now);
        let counts = self.started.elapsed() >= self.check.start_period;
        let changes = self.known.take(checked, counts, self.check.retries);
        if self.known.status == Status::Healthy {
            // It has started.
            self.check.start_period = Duration::ZERO;
        }
        if changes {
            events::container(&format!("health_status: {}", self.known.status), &self.actor.renamed());
        }
        // On a full disk it is not known, and the container goes on.
        let _ = self.known.write(&self.dir);
        Ok(changes && self.known.status == Status::Unhealthy)
    }

    fn begin(&self, spec: &Spec, door: &Door, program: &Program, now: Instant) -> Running {
        let mut process = spec.process().clone().unwrap_or_default();
        process.set_args(Some(self.check.command.clone())).set_terminal(Some(false)).set_oom_score_adj(None);
        let execution = Execution::kept(ID, (spec, door, program), process, MOST, Stream::Out);
        Running { execution, start: Time::now(), limit: now + self.check.timeout, is_late: false }
    }

    /// When the next one is due after this moment.
    fn after(&self, now: Instant) -> Instant {
        let starts = now.duration_since(self.started) < self.check.start_period;
        now + if starts { self.check.start_interval.min(self.check.interval) } else { self.check.interval }
    }
}

/// True for what a check has.
pub fn is_of(source: Source) -> bool {
    matches!(source, Source::Joiner(ID) | Source::Child(ID) | Source::Session(Owner::Execution(ID), _))
}

/// Does what is to happen to a container that is unhealthy. As long it then has; none is no end.
pub fn end(action: OnFailure, created: &Created, forward: &mut Forward<'_>) -> Result<Option<Duration>> {
    let (signal, seconds) = created.stop;
    match action {
        OnFailure::None => return Ok(None),
        OnFailure::Kill => {
            forward.pass(libc::SIGKILL)?;
            return Ok(None);
        }
        OnFailure::Restart => {}
        OnFailure::Stop => created.record.disk().map_or(Ok(()), restart::mark_stopped)?,
    }
    forward.pass(signal.unwrap_or(libc::SIGTERM))?;
    // docker's time between the signal and the kill.
    let seconds = seconds.unwrap_or(10);
    Ok(Some(u64::try_from(seconds).map_or(Duration::MAX, Duration::from_secs)))
}
