//! The way to the keeper of networks: found, or started.
//!
//! A directory has its socket. Whoever looks for it has the directory's lock meanwhile, and a keeper that ends has it, too: so
//! nobody comes to one that is just going, and no two are started.
//!
//! Runs in: the host's namespaces.

use super::keeper::{ROLE, Start};
use super::message::{self, Attached, Connected, Container, Member, Reply, Request};
use crate::error::Failure;
use crate::sys::{Named, fd, named_socket};
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOCKET: &str = "keeper";
/// How many may wait to be heard.
const BACKLOG: i32 = 1024;
/// For an answer: others may be before, and what each asks for may take as long as netavark may.
const LONG: Duration = Duration::from_secs(120);
/// For what is done in a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a keeper may be killed while somebody comes to it.
const ATTEMPTS: u32 = 5;

/// A connection to the keeper: with it ends what it has connected.
#[derive(Debug)]
pub struct Keeper {
    socket: OwnedFd,
    /// The user namespace that the container's is to be in.
    pub around: OwnedFd,
    /// Its ids.
    pub ids: IdMaps,
}

/// What a keeper says without being asked.
#[derive(Debug)]
pub enum News {
    /// What goes wrong with the networks.
    Trouble(Failure),
    /// The container is somewhere else now.
    Moved(Vec<Attached>),
}

impl Keeper {
    /// Connects to the one that runs, or to a new one.
    pub fn reach(start: &Start) -> Result<Keeper> {
        match rustix::fs::mkdir(&start.dir, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).named(|| format!("mkdir({})", start.dir.display())).map_err(Into::into),
        }
        for _ in 0..ATTEMPTS {
            let lock = lock(&start.dir)?;
            let socket = match named_socket::connect(&start.dir, SOCKET)? {
                Some(socket) => socket,
                None => begin(start)?,
            };
            drop(lock);
            if let Some(keeper) = Keeper::greeted(socket)? {
                return Ok(keeper);
            }
        }
        bail!("networks: whoever is to keep them ends at once")
    }

    /// Connects to the one that runs, if there is one.
    pub fn running(dir: &Path) -> Result<Option<Keeper>> {
        let socket = match lock(dir) {
            Ok(_lock) => named_socket::connect(dir, SOCKET)?,
            Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        socket.map_or(Ok(None), Keeper::greeted)
    }

    /// None if it was killed meanwhile.
    fn greeted(socket: OwnedFd) -> Result<Option<Keeper>> {
        match message::receive(&socket)? {
            Some((Reply::Around(ids), mut around)) => {
                let around = around.pop().context("networks: no user namespace")?;
                let limit = rustix::net::sockopt::Timeout::Recv;
                rustix::net::sockopt::set_socket_timeout(&socket, limit, Some(LONG))
                    .named(|| "setsockopt".to_owned())?;
                Ok(Some(Keeper { socket, around, ids }))
            }
            Some((Reply::Failed(failure), _)) => Err(failure.into()),
            Some((reply, _)) => bail!("networks: {reply:?}"),
            None => Ok(None),
        }
    }

    /// Connects the container of this connection.
    pub fn attach(
        &self,
        who: Container,
        members: &[(Member, OwnedFd)],
        namespace: BorrowedFd<'_>,
    ) -> Result<Vec<Attached>> {
        self.send_members(members)?;
        self.attached(&Request::Attach(who), Some(namespace))
    }

    /// Connects another container that runs.
    pub fn connect(&self, container: String, members: &[(Member, OwnedFd)]) -> Result<Vec<Attached>> {
        self.send_members(members)?;
        self.attached(&Request::Connect { container }, None)
    }

    /// Takes a container from a network; false if it was not there.
    pub fn disconnect(&self, container: String, network: String) -> Result<bool> {
        match self.ask(&Request::Disconnect { container, network }, None)? {
            Reply::Disconnected(was) => Ok(was),
            reply => bail!("networks: {reply:?}"),
        }
    }

    /// A container that runs has another name.
    pub fn rename(&self, container: String, name: String) -> Result<()> {
        match self.ask(&Request::Rename { container, name }, None)? {
            Reply::Renamed => Ok(()),
            reply => bail!("networks: {reply:?}"),
        }
    }

    /// Who is connected.
    pub fn list(&self) -> Result<Vec<Connected>> {
        let mut all: Vec<Connected> = Vec::new();
        loop {
            match self.ask(&Request::List { after: all.len() }, None)? {
                Reply::Connected(some) if some.is_empty() => return Ok(all),
                Reply::Connected(some) => all.extend(some),
                reply => bail!("networks: {reply:?}"),
            }
        }
    }

    /// What there is to hear; none if the networks are no more. To be called when the connection can be read.
    pub fn news(&self) -> Result<Option<News>> {
        match message::receive(&self.socket)? {
            Some((Reply::Told(failure), _)) => Ok(Some(News::Trouble(failure))),
            Some((Reply::Moved(attached), _)) => Ok(Some(News::Moved(attached))),
            Some((reply, _)) => bail!("networks: {reply:?}"),
            None => Ok(None),
        }
    }

    fn send_members(&self, members: &[(Member, OwnedFd)]) -> Result<()> {
        for (member, lock) in members {
            let request = Request::Member(Box::new(member.clone()));
            self.send(&request, Some(lock.as_fd())).with_context(|| format!("network {}", member.network.name))?;
        }
        Ok(())
    }

    fn attached(&self, request: &Request, namespace: Option<BorrowedFd<'_>>) -> Result<Vec<Attached>> {
        match self.ask(request, namespace)? {
            Reply::Attached(all) => Ok(all),
            reply => bail!("networks: {reply:?}"),
        }
    }

    fn ask(&self, request: &Request, fd: Option<BorrowedFd<'_>>) -> Result<Reply> {
        self.send(request, fd)?;
        loop {
            match message::receive(&self.socket)?.context(GONE)? {
                (Reply::Failed(failure), _) => return Err(failure.into()),
                // Whoever is not connected yet need not hear of it.
                (Reply::Told(_) | Reply::Moved(_), _) => {}
                (reply, _) => return Ok(reply),
            }
        }
    }

    fn send(&self, request: &Request, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        ensure!(!fd::hung_up(&self.socket), GONE);
        message::send(&self.socket, request, fd.as_slice())
    }
}

/// Comes back when nothing of the container is left on the networks: no address, no name; and no keeper if it was the last
/// one. What takes longer is left to the keeper.
impl Drop for Keeper {
    fn drop(&mut self) {
        let limit = rustix::net::sockopt::Timeout::Recv;
        let is_limited = rustix::net::sockopt::set_socket_timeout(&self.socket, limit, Some(PATIENCE)).is_ok();
        // A keeper that has ended has left nothing.
        if is_limited && message::send(&self.socket, &Request::Leave, &[]).is_ok() {
            while let Ok(Some((Reply::Told(_) | Reply::Moved(_), _))) = message::receive(&self.socket) {}
        }
    }
}

const GONE: &str = "whoever keeps networks has ended";

impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Starts one. This connection is in its queue before it is born: if this process is killed, it finds one that has ended.
fn begin(start: &Start) -> Result<OwnedFd> {
    remove_socket(&start.dir)?;
    let listener = named_socket::listen(&start.dir, SOCKET, BACKLOG)?;
    let connection =
        named_socket::connect(&start.dir, SOCKET)?.context("networks: a socket that was just made is gone")?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(ROLE).args([ROLE, &serde_json::to_string(start)?]);
    command.stdin(listener).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().context("start the keeper of networks")?;
    ensure!(status.success(), "start the keeper of networks: {status}");
    Ok(connection)
}

/// The directory, to be locked.
pub fn open_dir(dir: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(dir, flags, Mode::empty()).named(|| format!("open({})", dir.display()))?)
}

/// Its lock.
pub fn lock(dir: &Path) -> Result<OwnedFd> {
    let fd = open_dir(dir)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockExclusive))
        .named(|| format!("flock({})", dir.display()))?;
    Ok(fd)
}

/// Takes a socket away to which nobody listens, or nobody will. The caller has the lock.
pub fn remove_socket(dir: &Path) -> Result<()> {
    match rustix::fs::unlink(dir.join(SOCKET)) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).named(|| format!("unlink({}/{SOCKET})", dir.display())).map_err(Into::into),
    }
}
