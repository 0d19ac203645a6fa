//! One more process of a container, from the request to its end.

use super::client::Client;
use super::event::{Owner, Source, Wanted};
use super::message::{Reply, Request};
use super::session::{Session, Sink};
use crate::engine::events::{self, Actor};
use crate::engine::log::Stream;
use crate::error::{FAILED, Failure};
use crate::runtime::exec::{Door, Program, Starting, Task};
use crate::sys::clone::Child;
use crate::sys::{fd, process};
use anyhow::Result;
use oci_spec::runtime::{Process, Spec};
use rustix::event::PollFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A joiner's last words are no longer.
const LONGEST: usize = 64 * 1024;

/// The process, and whoever has asked for it.
pub struct Execution {
    /// Its number, of this supervisor.
    pub id: u32,
    /// Its streams, if nobody has them.
    pub session: Session,
    state: State,
    /// Nobody waits for its end.
    detach: bool,
    /// What is told of it: to whom it happens, and what runs.
    told: Option<(Actor, String)>,
}

enum State {
    Starting(Box<Starting>),
    Running(Child),
    /// With this status, or this reason not to start.
    Ended(Result<u8, String>),
}

impl Execution {
    /// Begins with it. What goes wrong already is told to whoever asks.
    pub fn new(
        id: u32,
        (spec, door, program): (&Spec, &Door, &Program),
        socket: OwnedFd,
        request: (Process, Option<(u16, u16)>, bool),
        streams: Vec<OwnedFd>,
        container: &Actor,
    ) -> Execution {
        let (process, terminal, detach) = request;
        let actor = container.with("execID", format!("{:08x}{id:08x}", process::pid()));
        let line = process.args().iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        events::container(&format!("exec_create: {line}"), &actor);
        let told = Some((actor, line));
        let mut session = Session::new(Sink::None);
        session.attach(Client::first(socket));
        let started = Task::new(spec, process, terminal)
            .and_then(|task| Starting::new(&task, door, streams, program))
            .map(|starting| State::Starting(Box::new(starting)));
        let state = started.unwrap_or_else(|error| {
            session.tell(&failed(&error));
            State::Ended(Err(Failure::from(&error).message))
        });
        Execution { id, session, state, detach, told }
    }

    /// Begins with one that nobody has asked for. What it says is kept, `most` bytes of it.
    pub fn kept(
        id: u32,
        (spec, door, program): (&Spec, &Door, &Program),
        process: Process,
        most: usize,
        stream: Stream,
    ) -> Execution {
        let mut session = Session::new(Sink::Kept(Vec::new(), most));
        let mut start = || -> Result<Starting> {
            let output = session.listen(stream)?;
            let streams = vec![fd::null()?, output.try_clone()?, output];
            Starting::new(&Task::new(spec, process.clone(), None)?, door, streams, program)
        };
        let state = match start() {
            Ok(starting) => State::Starting(Box::new(starting)),
            Err(error) => State::Ended(Err(Failure::from(&error).message)),
        };
        Execution { id, session, state, detach: true, told: None }
    }

    /// How it has ended, if it has: its status, or why it could not even start.
    pub fn outcome(&self) -> Option<Result<u8, String>> {
        match &self.state {
            State::Ended(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    /// It takes too long.
    pub fn kill(&mut self) {
        match &self.state {
            State::Starting(_) => self.state = State::Ended(Err("killed before it had started".to_owned())),
            State::Running(child) => drop(process::send_signal(child.pidfd.as_fd(), libc::SIGKILL)),
            State::Ended(_) => {}
        }
    }

    /// What to wait for.
    pub fn wanted<'a>(&'a self, all: &mut Wanted<'a>) {
        let mut want = |source, fd: BorrowedFd<'a>| all.push((source, fd, PollFlags::IN));
        match &self.state {
            State::Starting(starting) => want(Source::Joiner(self.id), starting.socket()),
            State::Running(child) => want(Source::Child(self.id), child.pidfd.as_fd()),
            State::Ended(_) => {}
        }
        self.session.wanted(Owner::Execution(self.id), all);
    }

    /// The joiner has something to say.
    pub fn hear(&mut self, program: &mut Program) {
        let State::Starting(starting) = &mut self.state else { return };
        let made = match starting.hear(program) {
            Ok(None) => return,
            Ok(Some(made)) => made,
            Err(error) => {
                self.session.tell(&failed(&error));
                self.state = State::Ended(Err(Failure::from(&error).message));
                return;
            }
        };
        if let Some(Err(error)) = made.terminal.map(|master| self.session.take_terminal(master)) {
            self.session.tell(&failed(&error));
            let _ = process::send_signal(made.child.pidfd.as_fd(), libc::SIGKILL);
        } else {
            self.session.tell(&Reply::Started);
        }
        if let Some((actor, line)) = &self.told {
            events::container(&format!("exec_start: {line}"), actor);
        }
        self.state = State::Running(made.child);
    }

    /// The process has ended.
    pub fn end(&mut self) {
        let State::Running(child) = &self.state else { return };
        let status = process::wait(child.pidfd.as_fd()).unwrap_or(FAILED);
        self.session.finish();
        self.session.tell(&Reply::Ended(status));
        if let Some((actor, _)) = &self.told {
            events::container("exec_die", &actor.with("exitCode", status));
        }
        self.state = State::Ended(Ok(status));
    }

    /// A request of whoever has asked for it.
    pub fn ask(&mut self, request: &Request) {
        match (request, &self.state) {
            (Request::Signal(signal), State::Running(child)) => {
                // It has ended meanwhile.
                let _ = process::send_signal(child.pidfd.as_fd(), *signal);
            }
            (Request::Resize(rows, columns), _) => self.session.resize(*rows, *columns),
            _ => {}
        }
    }

    /// True if there is nothing left to do: it has ended and whoever waited knows.
    pub fn is_over(&mut self) -> bool {
        self.session.tidy();
        match &self.state {
            // Whoever has asked for it wants it no more.
            State::Starting(_) => self.session.clients() == 0 && !self.detach,
            State::Running(_) => false,
            State::Ended(_) => !self.session.is_behind(),
        }
    }
}

/// What is told of an error.
pub fn failed(error: &anyhow::Error) -> Reply {
    let failure = Failure::from(error);
    Reply::Failed(serde_json::from_slice(&failure.within(LONGEST)).unwrap_or(failure))
}
