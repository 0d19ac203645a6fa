//! The process that has netavark work: pid 1 of a pid namespace, so that whatever ends it ends all that netavark has started.
//!
//! Runs in: user, network, mount and pid namespaces of all networks, made by the keeper; a copy of its memory.

use super::message::{self, Answer, Order, Work};
use super::netavark::Programs;
use super::{hardware, rules};
use crate::net::link::{Link, Opened};
use crate::net::uplink::Uplink;
use crate::sys::clone::enter_network;
use crate::sys::mount::{self, Attr, Propagation};
use crate::sys::process::Never;
use crate::sys::{Named, fd, ids, process};
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, Writer};
use anyhow::{Context, Result, anyhow, ensure};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Where netavark keeps files.
const DIR: &str = "/run/networks";
/// A container's network namespace, while netavark needs its path. A descriptor that it inherits would stay with whatever it
/// starts.
const NAMESPACE: &str = "/run/namespace";

/// Until the keeper ends.
pub fn run(socket: OwnedFd, maps: &IdMaps, writer: Writer, uplink: &Uplink, resolvers: &[IpAddr]) -> Result<Never> {
    // Nothing of the keeper's is left open here.
    fd::place(socket.as_fd(), 0)?;
    std::mem::forget(socket);
    fd::close_range(3, u32::MAX)?;
    let keeper = rustix::stdio::stdin();
    rustix::thread::set_name(c"networks-inside").named(|| "prctl(NAME)".to_owned())?;
    become_root(keeper, maps, writer)?;
    make_files()?;
    harden();
    let link = Link::of(uplink, resolvers.to_vec());
    let ends = Opened::open(&link).and_then(|opened| opened.set_up(&link)).context("network")?;
    let gateways = [uplink.v4.map(|v4| IpAddr::V4(v4.gateway)), uplink.v6.map(|v6| IpAddr::V6(v6.gateway))];
    let gateways: Vec<IpAddr> = gateways.into_iter().flatten().collect();
    rules::set_up(&uplink.name, &gateways)?;
    message::send(keeper, &Answer::Ready(ends.tap.clone()), &ends.descriptors())?;
    drop(ends);
    let inside = Inside { resolvers };
    loop {
        let Some((order, mut namespace)) = message::receive::<Order>(keeper)? else { process::exit_now(0) };
        let namespace = namespace.pop().context("no network namespace")?;
        // What made itself a daemon and has ended.
        while process::reap_ended()?.is_some() {}
        let answer = inside.obey(&order, &namespace).unwrap_or_else(|error| Answer::Failed(message::failure(&error)));
        message::send(keeper, &answer, &[])?;
    }
}

struct Inside<'a> {
    /// Where names are asked for.
    resolvers: &'a [IpAddr],
}

impl Inside<'_> {
    fn obey(&self, order: &Order, namespace: &OwnedFd) -> Result<Answer> {
        mount::bind_file_here(&mount::path_of(namespace.as_fd()), NAMESPACE)?;
        let done = match order {
            Order::Setup(work) => self.setup(work, namespace).map(Some),
            Order::Teardown(work) => self.teardown(work).map(|()| None),
        };
        mount::detach(Path::new(NAMESPACE))?;
        done.map(Answer::Done)
    }

    fn setup(&self, work: &Work, namespace: &OwnedFd) -> Result<String> {
        let Work { network, friends, is_only, .. } = work;
        if *is_only {
            rules::add(network, self.resolvers, friends)?;
        }
        let mac = Programs::find()?.setup(work, Path::new(NAMESPACE), Path::new(DIR))?;
        if *is_only {
            hardware::keep(network)?;
        }
        self.lead_to_resolvers(work, namespace)?;
        Ok(mac)
    }

    /// Routes to the resolvers over this network: a container without a way out has no others, and one that leaves another
    /// network still has this one's.
    fn lead_to_resolvers(&self, work: &Work, namespace: &OwnedFd) -> Result<()> {
        let gateways = || work.network.subnets.iter().map(|pool| pool.gateway);
        let like = |resolver: &IpAddr| gateways().find(|gateway| gateway.is_ipv4() == resolver.is_ipv4());
        let pairs: Vec<_> = self.resolvers.iter().filter_map(|resolver| Some((*resolver, like(resolver)?))).collect();
        std::thread::scope(|scope| {
            let work = std::thread::Builder::new().name("routes".to_owned()).spawn_scoped(scope, move || {
                enter_network(namespace)?;
                rules::lead(&work.interface, &pairs, work.metric)
            });
            work.context("thread")?.join().map_err(|_| anyhow!("routes"))?
        })
    }

    fn teardown(&self, work: &Work) -> Result<()> {
        let Work { network, friends, is_only, .. } = work;
        let done = Programs::find().and_then(|all| all.teardown(work, Path::new(NAMESPACE), Path::new(DIR)));
        if *is_only {
            rules::remove(network, self.resolvers, friends)?;
        }
        done
    }
}

fn become_root(keeper: BorrowedFd<'_>, maps: &IdMaps, writer: Writer) -> Result<()> {
    process::die_with_parent()?;
    if writer == Writer::Itself {
        write::own(maps)?;
    }
    if fd::receive(keeper, &mut [0; 16])?.0 == 0 {
        process::exit_now(0);
    }
    ids::set_gid(0)?;
    if writer != Writer::Itself {
        ids::set_groups(&[])?;
    }
    ids::set_uid(0)?;
    // The change of ids cleared it.
    process::die_with_parent()?;
    ensure!(!fd::hung_up(keeper), "the keeper of networks has ended");
    Ok(())
}

/// A /proc of these namespaces; a /run that is empty, so that netavark asks nobody for anything (systemd, if there is
/// /run/systemd/system).
fn make_files() -> Result<()> {
    mount::set_propagation(Path::new("/"), Propagation::PRIVATE | Propagation::REC)?;
    let hide = Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV | Attr::MOUNT_ATTR_NOEXEC;
    for (kind, options, place) in [("proc", &[][..], "/proc"), ("tmpfs", &[("mode", Some("755"))][..], "/run")] {
        let new = mount::new_filesystem(kind, options, hide).with_context(|| format!("mount {place}"))?;
        mount::attach(new.as_fd(), mount::place(Path::new(place))?.as_fd(), Path::new(place))?;
    }
    fs_err::create_dir(DIR)?;
    Ok(fs_err::write(NAMESPACE, "")?)
}

/// No container says where this namespace's packets go; and nobody here has an address twice, which to look for takes
/// seconds, in which neighbours of forwarded packets cannot be asked for. Interfaces begin with what is set here. Without
/// IPv6 there are no such files.
fn harden() {
    let settings =
        [("ipv6", "accept_ra"), ("ipv6", "accept_redirects"), ("ipv4", "accept_redirects"), ("ipv6", "accept_dad")];
    for scope in ["all", "default"] {
        for (family, setting) in settings {
            let _ = fs_err::write(format!("/proc/sys/net/{family}/conf/{scope}/{setting}"), "0");
        }
    }
}
