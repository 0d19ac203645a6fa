//! Where others ask a container's supervisor for something: a socket in the container's directory.
//!
//! Who asks is the same user, or root: the directory is nobody else's.

use super::client::Client;
use super::event::{End, Owner, Source, Wanted};
use super::execution::Execution;
use super::message::{self, Request};
use crate::engine::events::{self, Actor};
use crate::engine::record::CONTROL;
use crate::runtime::exec::{Door, Program};
use crate::sys::named_socket;
use anyhow::Result;
use oci_spec::runtime::Spec;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How many may wait to be heard.
const BACKLOG: i32 = 128;
/// As many are connected at once; others wait. Each has some descriptors, of which a process has 1024 by default.
const MOST: usize = 128;
/// As long may somebody who has connected say nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// As long nobody else is let in where there are no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Connects to the supervisor of a container; `None` if nobody is there.
pub fn connect(dir: &Path) -> Result<Option<OwnedFd>> {
    Ok(named_socket::connect(dir, CONTROL)?.map(|socket| message::make_room(&socket).map(|()| socket)).transpose()?)
}

struct Stranger {
    id: u32,
    socket: OwnedFd,
    limit: Instant,
}

/// The supervisor's end.
pub struct Control {
    listener: OwnedFd,
    /// Those who have not said yet what they want, and how long they have.
    strangers: Vec<Stranger>,
    /// Until then nobody is let in.
    closed: Option<Instant>,
    executions: Vec<Execution>,
    /// What joiners are started from.
    pub program: Program,
    next: u32,
    /// Whose.
    actor: Actor,
}

impl Control {
    /// Makes the socket.
    pub fn open(dir: &Path, actor: &Actor) -> Result<Control> {
        let listener = named_socket::listen(dir, CONTROL, BACKLOG)?;
        Ok(Control {
            listener,
            strangers: Vec::new(),
            closed: None,
            executions: Vec::new(),
            program: Program::default(),
            next: 0,
            actor: actor.clone(),
        })
    }

    /// What to wait for. `attached`: how many look on.
    pub fn wanted<'a>(&'a self, attached: usize, all: &mut Wanted<'a>) {
        if self.closed.is_none() && self.strangers.len() + self.executions.len() + attached < MOST {
            all.push((Source::Listener, self.listener.as_fd(), PollFlags::IN));
        }
        let each = self.strangers.iter();
        all.extend(each.map(|one| (Source::Stranger(one.id), one.socket.as_fd(), PollFlags::IN)));
        self.executions.iter().for_each(|execution| execution.wanted(all));
    }

    /// When there is something to do, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.strangers.iter().map(|one| one.limit).chain(self.closed).min()
    }

    /// Does what there is to do. Who wants to hear it comes back.
    pub fn step(&mut self, source: Source, flags: PollFlags, spec: &Spec, door: &Door) -> Option<OwnedFd> {
        match source {
            Source::Listener => self.accept(),
            Source::Stranger(id) => return self.hear(id, spec, door),
            Source::Joiner(id) => {
                if let Some(execution) = self.executions.iter_mut().find(|execution| execution.id == id) {
                    execution.hear(&mut self.program);
                }
            }
            Source::Child(id) => self.execution(id, Execution::end),
            Source::Session(Owner::Execution(id), end) => self.execution(id, |execution| step(execution, end, flags)),
            Source::Init
            | Source::Signal
            | Source::Memory
            | Source::Network
            | Source::Notification
            | Source::Manager
            | Source::Session(Owner::Container, _) => {}
        }
        None
    }

    /// Forgets what is over, and who has said nothing: called when everything that was ready has had its turn.
    pub fn tidy(&mut self) {
        if let Some(now) = self.deadline().map(|_| Instant::now()) {
            self.strangers.retain(|one| one.limit > now);
            self.closed = self.closed.filter(|until| *until > now);
        }
        self.executions.retain_mut(|execution| !execution.is_over());
    }

    fn execution(&mut self, id: u32, what: impl FnOnce(&mut Execution)) {
        self.executions.iter_mut().find(|execution| execution.id == id).map(what);
    }

    fn accept(&mut self) {
        let now = Instant::now();
        match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(socket) if message::make_room(&socket).is_ok() => {
                self.next = self.next.wrapping_add(1);
                self.strangers.push(Stranger { id: self.next, socket, limit: now + PATIENCE });
            }
            // Whoever knocked has gone, or does not get what it takes.
            Ok(_) | Err(Errno::AGAIN | Errno::CONNABORTED) => {}
            // It would be reported for ever.
            Err(_) => self.closed = Some(now + PAUSE),
        }
    }

    fn hear(&mut self, id: u32, spec: &Spec, door: &Door) -> Option<OwnedFd> {
        let place = self.strangers.iter().position(|one| one.id == id)?;
        let Stranger { socket, .. } = self.strangers.swap_remove(place);
        // Whoever says nothing that can be understood is let go.
        match message::receive_message::<Request>(&socket) {
            Ok(Some((Request::Exec { process, terminal, detach }, streams))) => {
                let request = (*process, terminal, detach);
                let about = (spec, door, &self.program);
                self.executions.push(Execution::new(id, about, socket, request, streams, &self.actor.renamed()));
                None
            }
            Ok(Some((Request::Attach, _))) => {
                events::container("attach", &self.actor.renamed());
                Some(socket)
            }
            _ => None,
        }
    }
}

fn step(execution: &mut Execution, end: End, flags: PollFlags) {
    if let Some(request) = execution.session.step(end, flags) {
        execution.ask(&request);
    }
}

/// Somebody who looks on from now on, or why not.
pub fn attach(socket: OwnedFd, session: Option<&mut super::session::Session>) {
    let mut client = Client::new(socket);
    match session {
        Some(session) => {
            client.tell(&message::Reply::Started);
            session.attach(client);
        }
        None => client.tell(&super::execution::failed(&anyhow::anyhow!(
            "it runs in the foreground: what it says is where it was run"
        ))),
    }
}
