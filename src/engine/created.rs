//! A container that is ready to be started, and what becomes of it: told, written down, let go.

use super::cgroup::{self, Cgroup};
use super::container::{self, Container};
use super::events::{self, Actor, Event, Kind};
use super::fence::Fence;
use super::images::Chosen;
use super::log::journal;
use super::network::Outside;
use super::networks::membership::Shared;
use super::notify::Notify;
use super::record::Record;
use super::sweep::Sweeping;
use super::told::{CidFile, PidFile};
use super::volumes::Held;
use super::{again, around, remove};
use crate::error::Failure;
use crate::runtime::bundle::Bundle;
use crate::runtime::extra::Extra;
use crate::runtime::prepared::Prepared;
use crate::runtime::state::Identity;
use crate::spec::health::{Check, OnFailure};
use crate::spec::log::{Driver, Log};
use crate::spec::options::Options;
use crate::spec::restart::Restart;
use crate::spec::sdnotify::SdNotify;
use crate::spec::{seccomp, signal};
use crate::sys::Alone;
use anyhow::{Result, ensure};
use oci_spec::runtime::Spec;
use std::path::{Path, PathBuf};

/// What the supervisor needs. Dropped, nothing of the container is left.
#[derive(Debug)]
pub struct Created {
    /// Its cgroup, if it has one: it goes before its directories, which say where it is.
    pub cgroup: Option<Cgroup>,
    /// Its directories.
    pub record: Record,
    /// What the runtime starts.
    pub bundle: Bundle,
    /// `-t`.
    pub tty: bool,
    /// `-i`.
    pub interactive: bool,
    /// What the payload has beyond its Spec, this once.
    pub extra: Extra,
    /// `--timeout`, seconds, 0 is none.
    pub timeout: u64,
    /// What the host has of its network, if it has a way out.
    pub network: Option<Outside>,
    /// Or of the networks that it shares with others.
    pub shared: Option<Shared>,
    /// The service manager that is told of it.
    pub notify: Option<Notify>,
    /// Why there is nobody to be told, though somebody was named.
    pub unheard: Option<anyhow::Error>,
    /// Why the container has one id, for a user who did not ask for that and was not told yet.
    pub note: Option<Failure>,
    /// What its user should know of its limits.
    pub warning: Option<Failure>,
    /// What becomes of its output, if nobody is there.
    pub log: Log,
    /// What is told of what happens to it.
    pub actor: Actor,
    /// That it was made is still to be told.
    pub(super) is_new: bool,
    /// It goes when it has ended, though it was kept until now.
    pub(super) once: bool,
    /// What its entries in the journal say of it, if they go there.
    pub journal: Vec<u8>,
    /// Whether it is started again when it has ended.
    pub restart: Restart,
    /// How one finds out whether it does what it is for.
    pub health: Option<Check>,
    /// The signal that it wants to be stopped with, and how long it then has.
    pub stop: (Option<i32>, Option<i64>),
    pub(super) unwritten: Unwritten,
    pub(super) sweeping: Option<Sweeping>,
    /// To be written when it runs: another attempt may follow.
    pub(super) cidfile: Option<CidFile>,
    pub(super) pidfile: Option<PathBuf>,
    /// Anonymous volumes go after the record, which says that they are in use.
    pub(super) _volumes: Held,
}

/// What nobody reads before there is a process: it is written down while that makes its mounts.
#[derive(Debug, Default)]
pub struct Unwritten {
    pub(super) about: Option<Container>,
    /// Of one that is kept: what it is made of.
    pub(super) again: Option<Vec<u8>>,
    /// Until then the image is held, and afterwards the record says that it is in use.
    pub(super) _image: Option<Chosen>,
}

impl Unwritten {
    /// Writes it down: the Spec, and of one that is new what it is.
    pub fn write(self, record: &Record, spec: &Spec) -> Result<()> {
        let spec = serde_json::to_vec(spec)?;
        record.write_config(&spec)?;
        if let Some((again, dir)) = self.again.zip(record.kept()) {
            again::write(dir, &again)?;
        }
        self.about.map_or(Ok(()), |about| record.describe(&about, &spec))
    }
}

impl Created {
    /// True if its supervisor may start it again.
    pub fn may_restart(&self) -> bool {
        let by_health = self.health.as_ref().is_some_and(|check| check.on_failure == OnFailure::Restart);
        self.restart != Restart::No || by_health
    }

    /// What its configuration says to its supervisor.
    pub(super) fn learn(&mut self, about: &Container, options: &Options) -> Result<()> {
        self.actor = Actor::container(about);
        self.once = about.once;
        self.health = Check::of(&about.config);
        ensure!(
            self.health.is_some() || options.sdnotify != Some(SdNotify::Healthy),
            "--sdnotify healthy: the container has no health check"
        );
        if self.log.driver == Driver::Journald {
            self.journal = journal::fields(about, &self.log);
        }
        let signal = about.config["StopSignal"].as_str().filter(|text| !text.is_empty());
        self.stop = (signal.map(signal::parse).transpose()?, about.config["StopTimeout"].as_i64());
        Ok(())
    }

    /// Has its cgroup made, and its limits seen to.
    pub(super) fn enter(&mut self, place: cgroup::Ready, options: &Options) -> Result<()> {
        let Record { id, dir, .. } = &self.record;
        let fence = match place {
            // Without a cgroup there is nothing that it could lift.
            cgroup::Ready::Nowhere(_) => Fence::Unneeded,
            _ => Fence::of(&self.bundle.spec, self.bundle.maps.as_ref())?,
        };
        let made = cgroup::make(place, (id, dir), options, &fence, &mut self.bundle.spec)?;
        if let (Fence::Around(ids), Some(_)) = (fence, &made.payload) {
            self.bundle.fence = Some(ids);
            // They are not behind it.
            self.bundle.prepared = None;
            seccomp::forbid_clone3(&mut self.bundle.spec)?;
        }
        (self.cgroup, self.bundle.cgroup, self.warning) = (made.cgroup, made.payload, made.warning);
        Ok(())
    }

    /// What is still to be written down.
    pub fn unwritten(&mut self) -> Unwritten {
        std::mem::take(&mut self.unwritten)
    }

    /// Called when the payload runs: what a start does not wait for.
    pub fn settle(&mut self, alone: &Alone) {
        // Whoever has held its namespaces is collected.
        self.bundle.prepared = None;
        if self.is_new {
            // What is not on disk in time is lost with the machine's power alone.
            let _ = self.record.sync();
        }
        self.record.prepare_end();
        self.sweeping = self.record.begin_sweep(alone);
    }

    /// Called when the first process exists: writes it down, for others and into `--pidfile`. The file goes with the
    /// value that comes back.
    pub fn started(&mut self, identity: &Identity) -> Result<Option<PidFile>> {
        let pid = identity.pid;
        self.cidfile.take().map_or(Ok(()), |file| file.write(&self.record.id))?;
        self.record.started(identity)?;
        if let Some(ids) = self.bundle.prepared.as_ref().and_then(Prepared::around) {
            // The next one has its own then.
            let _ = around::remember(identity, ids);
        }
        let event = |action: &str| Event::now(Kind::Container, action, self.actor.clone());
        let made = self.is_new.then(|| event("create"));
        events::tell(&made.into_iter().chain([event("start")]).collect::<Vec<_>>());
        self.pidfile.as_deref().map(|path| PidFile::write(path, pid)).transpose()
    }

    /// Its name, else the beginning of its id.
    pub fn shown(&self) -> String {
        self.actor.attributes.get("name").cloned().unwrap_or_else(|| self.record.id[..12].to_owned())
    }

    /// How it has ended: written down, for the status counts now. On a full disk it is not known afterwards.
    pub fn ended(&mut self, status: u8) {
        self.tell_of_memory();
        let oom = self.cgroup.as_ref().is_some_and(Cgroup::ever_killed);
        let _ = self.record.ended(status, "", oom);
        events::container("die", &self.actor.renamed().with("exitCode", status));
    }

    /// Tells whoever listens that the kernel has killed somebody in it for want of memory, if that is so.
    pub fn tell_of_memory(&mut self) {
        if self.cgroup.as_mut().is_some_and(Cgroup::has_killed) {
            events::container("oom", &self.actor.renamed());
        }
    }

    /// It is made, and is to be started later.
    pub fn stay(self) -> String {
        self.record.stay();
        events::container("create", &self.actor);
        self.actor.id.clone()
    }

    /// Nobody is responsible for it any more: one of `--rm` is gone.
    pub fn let_go(self) {
        let gone = (!self.record.is_kept()).then(|| self.actor.clone());
        let once = self.record.kept().filter(|_| self.once).map(Path::to_owned);
        drop(self);
        if let Some(found) = once.and_then(|dir| container::read(&dir).ok().flatten()) {
            // What cannot be removed goes with the next look at what there is.
            let _ = remove::once(&found);
        }
        gone.iter().for_each(|actor| events::container("destroy", actor));
    }
}
