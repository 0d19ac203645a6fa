//! Who is connected to networks that containers share, and what they ask for.
//!
//! Runs in: the host's namespaces, the keeper.

use super::client;
use super::definition::Definition;
use super::hardware;
use super::joined::{self, Connection, Joined, Part};
use super::keeper::Inside;
use super::leases::Leases;
use super::message::{self, Attached, Friend, Member, Order, Place, Reply, Request, Work};
use crate::error::Failure;
use crate::net::dns::names::Names;
use crate::sys::{Named, fd};
use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Somebody who is about to connect has the lock for less than this time, mostly.
const SOON: Duration = Duration::from_millis(20);

/// How long nobody is heard when there is no room for them.
const PAUSE: Duration = Duration::from_millis(50);

/// The next connection that waits.
pub fn accept(listener: &OwnedFd) -> Result<Option<OwnedFd>> {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            // Whoever waits will be heard when somebody has gone.
            std::thread::sleep(PAUSE);
            Ok(None)
        }
        Err(errno) => Err(errno).named(|| "accept".to_owned()).map_err(Into::into),
    }
}

/// Who is connected.
pub struct Desk {
    inside: Inside,
    connections: Vec<Connection>,
    leases: Leases,
    names: Arc<Names>,
}

impl Desk {
    /// With nobody connected.
    pub fn new(inside: Inside, names: Arc<Names>) -> Desk {
        Desk { inside, connections: Vec::new(), leases: Leases::default(), names }
    }

    /// Takes everybody out who still waits for the end.
    pub fn waiting(&mut self) -> Vec<Connection> {
        std::mem::take(&mut self.connections)
    }

    /// Until nobody is connected: the lock under which this process is to end.
    pub fn serve(&mut self, listener: &OwnedFd, told: &OwnedFd, dir: &Path) -> Result<OwnedFd> {
        loop {
            if self.is_idle() {
                if let Some(lock) = self.may_end(listener, dir)? {
                    return Ok(lock);
                }
            }
            if !self.is_idle() {
                self.dismiss();
            }
            // Those who look for it while there is nobody have the lock.
            let patience = self.is_idle().then_some(Timespec { tv_sec: 0, tv_nsec: SOON.subsec_nanos().into() });
            let all = [listener, &self.inside.socket, told].into_iter();
            let mut fds: Vec<_> = all
                .chain(self.connections.iter().map(|connection| &connection.socket))
                .map(|fd| PollFd::new(fd, PollFlags::IN))
                .collect();
            rustix::io::retry_on_intr(|| poll(&mut fds, patience.as_ref())).named(|| "poll".to_owned())?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            let [asked, ended, trouble, ready @ ..] = ready.as_slice() else { bail!("poll") };
            if *ended {
                // It says nothing by itself.
                bail!("who connects containers has ended");
            }
            if *trouble {
                if let Some((failure, _)) = message::receive::<Failure>(told)? {
                    self.tell(&failure);
                }
            }
            // Backwards: those that end go.
            for (index, _) in ready.iter().enumerate().rev().filter(|(_, ready)| **ready) {
                self.hear(index);
            }
            if *asked {
                self.welcome(listener)?;
            }
        }
    }

    /// The lock, if it can be had and nobody has come meanwhile.
    fn may_end(&mut self, listener: &OwnedFd, dir: &Path) -> Result<Option<OwnedFd>> {
        let lock = client::open_dir(dir)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            result => result.named(|| format!("flock({})", dir.display()))?,
        }
        self.welcome(listener)?;
        Ok(self.is_idle().then_some(lock))
    }

    fn is_idle(&self) -> bool {
        self.connections.iter().all(|connection| connection.is_leaving)
    }

    /// Those who wait for the end need not wait for that of others.
    fn dismiss(&mut self) {
        self.connections.retain(|connection| {
            if connection.is_leaving {
                // One who has gone need not know.
                let _ = message::send(&connection.socket, &Reply::Left, &[]);
            }
            !connection.is_leaving
        });
    }

    fn welcome(&mut self, listener: &OwnedFd) -> Result<()> {
        while let Some(socket) = accept(listener)? {
            let around = Reply::Around(self.inside.ids.clone());
            // One who has gone is noticed later.
            let _ = message::send(&socket, &around, &[self.inside.userns.as_fd()]);
            self.connections.push(Connection { socket, members: Vec::new(), container: None, is_leaving: false });
        }
        Ok(())
    }

    /// What goes wrong is for those whose containers it concerns: all.
    fn tell(&self, failure: &Failure) {
        for connection in self.connections.iter().filter(|connection| connection.container.is_some()) {
            let _ = message::send(&connection.socket, &Reply::Told(failure.clone()), &[]);
        }
    }

    /// Reads what one says.
    fn hear(&mut self, index: usize) {
        let Some(connection) = self.connections.get(index) else { return };
        let (request, mut descriptors) = match message::receive::<Request>(&connection.socket) {
            Ok(Some(heard)) => heard,
            Ok(None) | Err(_) => return self.end(index),
        };
        let reply = match self.answer(index, request, descriptors.pop()) {
            Ok(reply) => reply,
            Err(error) => Some(Reply::Failed(message::failure(&error))),
        };
        if let (Some(connection), Some(reply)) = (self.connections.get(index), reply) {
            // Who has gone need not know; but who waits does not wait for nothing.
            if let Err(error) = message::send(&connection.socket, &reply, &[]) {
                let _ = message::send(&connection.socket, &Reply::Failed(message::failure(&error)), &[]);
            }
        }
    }

    fn answer(&mut self, index: usize, request: Request, descriptor: Option<OwnedFd>) -> Result<Option<Reply>> {
        if !matches!(request, Request::Member(_)) {
            self.forget_dead(index);
        }
        let connection = self.connections.get_mut(index).context("no connection")?;
        match request {
            Request::Member(member) => {
                connection.members.push((*member, descriptor.context("no lock")?));
                Ok(None)
            }
            Request::Attach(who) => {
                ensure!(connection.container.is_none(), "connected twice");
                let members = std::mem::take(&mut connection.members);
                let namespace = descriptor.context("no network namespace")?;
                connection.container = Some(Joined { who, namespace, parts: Vec::new(), count: 0 });
                let attached = self.attach(index, members);
                if attached.is_err() {
                    self.leave(index);
                }
                attached.map(|attached| Some(Reply::Attached(attached)))
            }
            Request::Connect { container } => {
                let members = std::mem::take(&mut connection.members);
                let index = self.position(&container)?;
                let attached = self.attach(index, members);
                self.moved(index);
                attached.map(|attached| Some(Reply::Attached(attached)))
            }
            Request::Disconnect { container, network } => {
                let index = self.position(&container)?;
                let was = self.disconnect(index, &network);
                self.moved(index);
                was.map(|was| Some(Reply::Disconnected(was)))
            }
            Request::Rename { container, name } => {
                let index = self.position(&container)?;
                if let Some(joined) = self.connections.get_mut(index).and_then(|other| other.container.as_mut()) {
                    joined.who.name = name;
                }
                self.names.set(joined::names(&self.connections));
                Ok(Some(Reply::Renamed))
            }
            Request::Leave => {
                connection.is_leaving = true;
                self.leave(index);
                Ok(None)
            }
            Request::List { after } => Ok(Some(Reply::Connected(joined::list(&self.connections, after)))),
        }
    }

    /// Tells a container's own connection where that is now.
    fn moved(&self, index: usize) {
        let Some((connection, joined)) =
            self.connections.get(index).and_then(|connection| Some((connection, connection.container.as_ref()?)))
        else {
            return;
        };
        let attached = joined.parts.iter().map(|part| part.attached.clone()).collect();
        let _ = message::send(&connection.socket, &Reply::Moved(attached), &[]);
    }

    /// Those who have gone, before anybody asks for what was theirs. All but one, who asks and comes later in the list
    /// only then.
    fn forget_dead(&mut self, asking: usize) {
        for index in (0..self.connections.len()).rev().filter(|index| *index != asking) {
            if self.connections.get(index).is_some_and(|connection| fd::hung_up(&connection.socket)) {
                // The place stays, and is cleared when its end is heard.
                self.leave(index);
            }
        }
    }

    fn position(&self, container: &str) -> Result<usize> {
        let is_it = |connection: &Connection| connection.container.as_ref().is_some_and(|it| it.who.id == container);
        self.connections.iter().position(is_it).context("the container is on no network that containers share")
    }

    fn attach(&mut self, index: usize, members: Vec<(Member, OwnedFd)>) -> Result<Vec<Attached>> {
        let mut all = Vec::with_capacity(members.len());
        for (member, lock) in members {
            let name = member.network.name.clone();
            all.push(self.attach_one(index, member, lock).with_context(|| format!("network {name}"))?);
        }
        Ok(all)
    }

    fn attach_one(&mut self, index: usize, member: Member, lock: OwnedFd) -> Result<Attached> {
        let Member { network, ipv4, ipv6, mac, aliases, interface } = member;
        let joined = self.connections.get(index).and_then(|connection| connection.container.as_ref());
        let joined = joined.context("no container")?;
        let is_used = |name: &str| joined.parts.iter().any(|part| part.work.interface == name);
        ensure!(
            joined.parts.iter().all(|part| part.work.network.id != network.id),
            "container is already connected to it"
        );
        let interface = match interface {
            Some(name) if is_used(&name) => bail!("interface {name} exists already"),
            Some(name) => name,
            None => (0..).map(|number| format!("eth{number}")).find(|name| !is_used(name)).context("no interface")?,
        };
        self.refuse_overlap(&network)?;
        let (container, metric) = (joined.who.clone(), 100 + joined.count);
        let mut places: Vec<Place> = Vec::new();
        for wanted in [ipv4.map(IpAddr::V4), ipv6.map(IpAddr::V6)].into_iter().flatten() {
            let has = network.subnets.iter().any(|pool| pool.subnet.is_ipv6() == wanted.is_ipv6());
            ensure!(has, "requested ip address {wanted} is in no subnet of it");
        }
        let taken = network.subnets.iter().try_for_each(|pool| {
            let wanted = if pool.subnet.is_ipv6() { ipv6.map(IpAddr::V6) } else { ipv4.map(IpAddr::V4) };
            let address = self.leases.take(pool, wanted)?;
            places.push(Place { address, subnet: pool.subnet, gateway: pool.gateway });
            Ok(())
        });
        let addresses: Vec<IpAddr> = places.iter().map(|place| place.address).collect();
        let others = self.parts().filter(|part| part.work.network.id == network.id);
        let others = others.map(|part| part.attached.mac.as_str());
        let mac = taken.and_then(|()| hardware::choose(&network, mac, &addresses, others));
        let work = Work {
            is_only: self.users(&network.id) == 0,
            friends: self.friends(&network),
            container,
            network,
            mac: mac.as_ref().ok().cloned().flatten(),
            addresses,
            aliases,
            interface,
            metric,
        };
        let done = mac.and_then(|_| self.set_up(index, &work));
        let mac = match done {
            Ok(mac) => mac,
            Err(error) => {
                places.iter().for_each(|place| self.leases.give_back(place.address));
                return Err(error);
            }
        };
        let attached =
            Attached { network: work.network.id.clone(), interface: work.interface.clone(), mac, addresses: places };
        let joined = self.connections.get_mut(index).and_then(|connection| connection.container.as_mut());
        let joined = joined.context("no container")?;
        joined.count += 1;
        joined.parts.push(Part { work, attached: attached.clone(), _lock: lock });
        self.names.set(joined::names(&self.connections));
        Ok(attached)
    }

    /// Definitions of one data directory have no address in common; several may share this session.
    fn refuse_overlap(&self, network: &Definition) -> Result<()> {
        for other in self.parts().map(|part| &part.work.network).filter(|other| other.id != network.id) {
            for (own, theirs) in
                network.subnets.iter().flat_map(|own| other.subnets.iter().map(move |their| (own, their)))
            {
                ensure!(
                    !own.subnet.overlaps(theirs.subnet) && network.name != other.name,
                    "subnet {}: network {} of another data directory has {}",
                    own.subnet,
                    other.name,
                    theirs.subnet
                );
            }
        }
        Ok(())
    }

    fn set_up(&mut self, index: usize, work: &Work) -> Result<String> {
        let joined = self.connections.get(index).and_then(|connection| connection.container.as_ref());
        let namespace = &joined.context("no container")?.namespace;
        match self.inside.order(&Order::Setup(Box::new(work.clone())), namespace) {
            Ok(mac) => mac.context("no hardware address"),
            Err(error) => {
                // Half of it may be there. The first error counts.
                let _ = self.inside.order(&Order::Teardown(Box::new(work.clone())), namespace);
                Err(error)
            }
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.connections.iter().filter_map(|connection| connection.container.as_ref()).flat_map(|joined| &joined.parts)
    }

    fn users(&self, network: &str) -> usize {
        self.parts().filter(|part| part.work.network.id == network).count()
    }

    /// Networks of others that this one is to reach: both must say so.
    fn friends(&self, network: &Definition) -> Vec<Friend> {
        let is_open = |network: &Definition| {
            !network.internal && network.options.get("isolate").is_some_and(|value| value == "false")
        };
        let mut friends: Vec<Friend> = Vec::new();
        for part in self.parts().filter(|_| is_open(network)) {
            let other = &part.work.network;
            let bridge = &other.network_interface;
            if other.id != network.id && is_open(other) && friends.iter().all(|known| known.bridge != *bridge) {
                let subnets = other.subnets.iter().map(|pool| pool.subnet).collect();
                friends.push(Friend { bridge: bridge.clone(), subnets });
            }
        }
        friends
    }

    fn disconnect(&mut self, index: usize, network: &str) -> Result<bool> {
        let joined = self.connections.get_mut(index).and_then(|connection| connection.container.as_mut());
        let joined = joined.context("no container")?;
        let Some(place) = joined.parts.iter().position(|part| part.work.network.id == network) else {
            return Ok(false);
        };
        let part = joined.parts.remove(place);
        let done = self.take_apart(index, &part);
        if done.is_err() {
            // It has its address still.
            if let Some(joined) = self.connections.get_mut(index).and_then(|connection| connection.container.as_mut()) {
                joined.parts.insert(place, part);
            }
        } else {
            self.give_back(&part);
        }
        self.names.set(joined::names(&self.connections));
        done.map(|()| true)
    }

    /// Takes a part away that is in no list any more.
    fn take_apart(&mut self, index: usize, part: &Part) -> Result<()> {
        let mut work = part.work.clone();
        work.is_only = self.users(&work.network.id) == 0;
        work.friends = self.friends(&work.network);
        let joined = self.connections.get(index).and_then(|connection| connection.container.as_ref());
        let namespace = &joined.context("no container")?.namespace;
        self.inside.order(&Order::Teardown(Box::new(work)), namespace).map(drop)
    }

    fn give_back(&mut self, part: &Part) {
        part.attached.addresses.iter().for_each(|place| self.leases.give_back(place.address));
    }

    /// Takes a container from all networks.
    fn leave(&mut self, index: usize) {
        while let Some(part) = self
            .connections
            .get_mut(index)
            .and_then(|connection| connection.container.as_mut())
            .and_then(|joined| joined.parts.pop())
        {
            // Its interface goes with its network namespace in any case, and with the last container all goes.
            let _ = self.take_apart(index, &part);
            self.give_back(&part);
        }
        if let Some(connection) = self.connections.get_mut(index) {
            connection.container = None;
        }
        self.names.set(joined::names(&self.connections));
    }

    fn end(&mut self, index: usize) {
        self.leave(index);
        if index < self.connections.len() {
            self.connections.remove(index);
        }
    }
}
