//! The process that has netavark work: pid 1 of a pid namespace, so that whatever ends it ends aardvark-dns, too, which makes
//! itself a daemon.
//!
//! Runs in: user, network, mount and pid namespaces of all networks, made by the keeper; a copy of its memory.

use super::message::{self, Answer, Order, Work};
use super::netavark::Programs;
use super::{names, rules};
use crate::net::dns::message::{Query, SERVFAIL};
use crate::net::link::{Link, Opened};
use crate::net::uplink::Uplink;
use crate::sys::mount::{self, Attr, Propagation};
use crate::sys::process::Never;
use crate::sys::{Named, fd, ids, process};
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, Writer};
use anyhow::{Context, Result, bail, ensure};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where netavark and aardvark-dns keep their files, one directory for networks with a way out and one for others: each has
/// an aardvark-dns of its own, since names must not get out where nothing else does.
const DIRS: [&str; 2] = ["/run/networks", "/run/internal"];
/// A container's network namespace, while netavark needs its path. A descriptor that it inherits would stay with
/// aardvark-dns.
const NAMESPACE: &str = "/run/namespace";
/// Where aardvark-dns asks what it does not know, if names must not get out.
const NOBODY: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Until the keeper ends.
pub fn run(socket: OwnedFd, maps: &IdMaps, writer: Writer, uplink: &Uplink, resolver: Ipv4Addr) -> Result<Never> {
    // Nothing of the keeper's is left open here.
    fd::place(socket.as_fd(), 0)?;
    std::mem::forget(socket);
    fd::close_range(3, u32::MAX)?;
    let keeper = rustix::stdio::stdin();
    rustix::thread::set_name(c"networks-inside").named(|| "prctl(NAME)".to_owned())?;
    become_root(keeper, maps, writer)?;
    let resolv_conf = make_files()?;
    harden();
    let link = Link::of(uplink, Some(resolver));
    let ends = Opened::open(&link).and_then(|opened| opened.set_up(&link)).context("network")?;
    answer_failure()?;
    let gateways = [uplink.v4.map(|v4| IpAddr::V4(v4.gateway)), uplink.v6.map(|v6| IpAddr::V6(v6.gateway))];
    let gateways: Vec<IpAddr> = gateways.into_iter().flatten().collect();
    rules::set_up(&uplink.name, &gateways)?;
    message::send(keeper, &Answer::Ready(ends.tap.clone()), &ends.descriptors())?;
    drop(ends);
    let inside = Inside { resolv_conf, resolver };
    loop {
        let Some((order, mut namespace)) = message::receive::<Order>(keeper)? else { process::exit_now(0) };
        let namespace = namespace.pop().context("no network namespace")?;
        // What made itself a daemon and has ended: netavark would take it for one that lives.
        while process::reap_ended()?.is_some() {}
        let answer = inside.obey(&order, &namespace).unwrap_or_else(|error| Answer::Failed(message::failure(&error)));
        message::send(keeper, &answer, &[])?;
    }
}

struct Inside {
    /// What aardvark-dns reads at its start.
    resolv_conf: PathBuf,
    resolver: Ipv4Addr,
}

impl Inside {
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
            rules::add(network, self.resolver, friends)?;
        }
        let server = if network.internal { NOBODY } else { self.resolver };
        fs_err::write(&self.resolv_conf, format!("nameserver {server}\n"))?;
        let mac = Programs::find(network.dns_enabled)?.setup(work, Path::new(NAMESPACE), self.dir(work))?;
        if network.dns_enabled {
            names::wait(work, namespace)?;
        }
        Ok(mac)
    }

    fn teardown(&self, work: &Work) -> Result<()> {
        let Work { network, friends, is_only, .. } = work;
        let done = Programs::find(false)?.teardown(work, Path::new(NAMESPACE), self.dir(work));
        if *is_only {
            rules::remove(network, self.resolver, friends)?;
        }
        done
    }

    fn dir(&self, work: &Work) -> &'static Path {
        let [open, internal] = DIRS;
        Path::new(if work.network.internal { internal } else { open })
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

/// A /proc of these namespaces; a /run that is empty, so that nobody is asked to start aardvark-dns elsewhere (netavark asks
/// systemd if there is /run/systemd/system); and a resolv.conf of its own, whose path comes back.
fn make_files() -> Result<PathBuf> {
    mount::set_propagation(Path::new("/"), Propagation::PRIVATE | Propagation::REC)?;
    // Where its name leads, which on many hosts is below /run.
    let resolv_conf = fs_err::canonicalize("/etc/resolv.conf").or_else(|_| fs_err::read_link("/etc/resolv.conf"));
    let hide = Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV | Attr::MOUNT_ATTR_NOEXEC;
    for (kind, options, place) in [("proc", &[][..], "/proc"), ("tmpfs", &[("mode", Some("755"))][..], "/run")] {
        let new = mount::new_filesystem(kind, options, hide).with_context(|| format!("mount {place}"))?;
        mount::attach(new.as_fd(), mount::place(Path::new(place))?.as_fd(), Path::new(place))?;
    }
    for dir in DIRS {
        fs_err::create_dir(dir)?;
    }
    fs_err::write(NAMESPACE, "")?;
    let own = PathBuf::from("/run/resolv.conf");
    fs_err::write(&own, "")?;
    match resolv_conf {
        Ok(place) if place.starts_with("/run") => {
            fs_err::create_dir_all(place.parent().unwrap_or(Path::new("/run")))?;
            fs_err::write(&place, "")?;
            Ok(place)
        }
        Ok(place) => {
            let Some(target) = place.to_str() else { bail!("{}: not UTF-8", place.display()) };
            mount::bind_file_here(&own, target)?;
            Ok(own)
        }
        // There is none, and the host has no nameserver, either.
        Err(_) => Ok(own),
    }
}

/// Says of every name that it cannot be found out, whereupon clients ask the next server. aardvark-dns says nothing if it
/// hears nothing. Without TCP, since no answer is longer than its question.
fn answer_failure() -> Result<()> {
    let socket = UdpSocket::bind((NOBODY, 53)).context("names of networks without a way out")?;
    let answer = move || {
        let mut message = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut message) {
            if let Some(query) = Query::parse(&message[..length]) {
                // Whoever has gone asks again or not at all.
                let _ = socket.send_to(&query.failure(SERVFAIL), client);
            }
        }
    };
    std::thread::Builder::new().name("failure".to_owned()).spawn(answer).context("thread")?;
    Ok(())
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
