//! A container's part in networks that containers share.

use super::{Definition, hold};
use crate::engine::ids::{self, Caller};
use crate::engine::{network, record};
use crate::error::Advise;
use crate::net::port::Publish;
use crate::net::relay::Places;
use crate::net::shared::client::Keeper;
use crate::net::shared::keeper::Start;
use crate::net::shared::message::{Attached, Connected, Container, Member, Place};
use crate::net::shared::netavark::Programs;
use crate::paths;
use crate::spec::network::{Membership, Network};
use crate::spec::options::{IdMode, Options};
use crate::spec::uplink::Uplink;
use crate::userns::idmap::IdMaps;
use crate::userns::write::HelperFailed;
use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::ImageConfiguration;
use std::cell::RefCell;
use std::fmt::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// More nameservers nobody asks (resolv.conf(5), MAXNS).
const SERVERS: usize = 3;

/// What a container has of the host if it is on such networks.
#[derive(Debug)]
pub struct Shared {
    /// Where the container's networks are, as long as this is there.
    pub keeper: Keeper,
    /// What is to be published.
    pub publish: Vec<Publish>,
    /// The way out, if a network of it has one.
    pub uplink: Option<Uplink>,
    /// Where it asks for names.
    pub servers: Vec<IpAddr>,
    /// Its /etc/hosts and its name there: both are known before its addresses are.
    pub hosts: Option<(PathBuf, String)>,
    who: Container,
    /// Until it is connected.
    members: RefCell<Vec<(Member, OwnedFd)>>,
    attached: RefCell<Vec<Attached>>,
}

/// Holds the networks, finds or starts who keeps them, and binds ports; nothing for a container on no such network.
pub fn prepare(
    options: &Options,
    image: Option<&ImageConfiguration>,
    maps: Option<&IdMaps>,
    id: &str,
) -> Result<Option<Shared>> {
    let Network::Shared(memberships) = &options.network else { return Ok(None) };
    let Some(maps) = maps else {
        bail!("--network {}: the namespaces of another container come with its networks", named(memberships));
    };
    let members: Vec<(Member, OwnedFd)> = memberships.iter().map(member).collect::<Result<_>>()?;
    let networks = || members.iter().map(|(member, _)| &member.network);
    Programs::find(networks().any(|network| network.dns_enabled))?;
    let has_way_out = networks().any(|network| !network.internal);
    let uplink = network::default_uplink();
    let start = start(&uplink, has_way_out)?;
    let keeper = Keeper::reach(&start)?;
    if let Err(error) = maps.within(&keeper.ids) {
        // Then one id does.
        return Err(HelperFailed::new("networks", error.to_string())).hint(|| {
            "containers that run on networks have fewer ids: end them, or run with --id-mode single".to_owned()
        });
    }
    let publish = network::published(options, image)?;
    let given = if options.resolver.is_image_own { &[] } else { options.resolver.servers.as_slice() };
    let servers = servers(networks(), given, has_way_out.then_some(uplink.resolver.into()));
    let name = options.name.clone().unwrap_or_else(|| short(id).to_owned());
    let who = Container { id: id.to_owned(), name, dns: given.to_vec() };
    Ok(Some(Shared {
        keeper,
        publish,
        uplink: has_way_out.then_some(uplink),
        servers,
        hosts: None,
        who,
        members: RefCell::new(with_short_id(members, id)),
        attached: RefCell::default(),
    }))
}

impl Shared {
    /// Has the network namespace connected, and writes down its addresses.
    pub fn attach(&self, namespace: &OwnedFd) -> Result<()> {
        let members = self.members.take();
        let attached = self.keeper.attach(self.who.clone(), &members, namespace.as_fd())?;
        if let Some((path, name)) = &self.hosts {
            add_to_hosts(path, &places(&attached), name)?;
        }
        self.attached.replace(attached);
        Ok(())
    }

    /// Where its published ports lead: to the first address of each family.
    pub fn places(&self) -> Places {
        let places = places(&self.attached.borrow());
        let pairs = || places.iter().map(|place| (place.address, place.gateway));
        Places {
            v4: pairs().find_map(|pair| {
                if let (IpAddr::V4(own), IpAddr::V4(other)) = pair { Some((own, other)) } else { None }
            }),
            v6: pairs().find_map(|pair| {
                if let (IpAddr::V6(own), IpAddr::V6(other)) = pair { Some((own, other)) } else { None }
            }),
        }
    }

    /// Whether one of them has IPv6.
    pub fn has_v6(&self) -> bool {
        self.members.borrow().iter().any(|(member, _)| member.network.ipv6_enabled)
    }
}

/// Connects a running container to one more network.
pub fn connect(membership: &Membership, name: &str) -> Result<()> {
    let (id, dir, keeper) = of(name)?;
    let attached = keeper.connect(id.clone(), &with_short_id(vec![member(membership)?], &id))?;
    let hosts = dir.join("hosts");
    match fs_err::read_to_string(dir.join("hostname")) {
        Ok(hostname) if hosts.exists() => add_to_hosts(&hosts, &places(&attached), hostname.trim_end()),
        _ => Ok(()),
    }
}

/// Takes a running container from a network. With `force` one that is not there is no error.
pub fn disconnect(network: &str, name: &str, force: bool) -> Result<()> {
    let definition = super::find(network)?;
    let (id, dir, keeper) = match of(name) {
        Err(_) if force => return Ok(()),
        found => found?,
    };
    let gone: Vec<Place> = users_by(&keeper, &definition)?
        .into_iter()
        .filter(|(connected, _)| connected.container.id == id)
        .flat_map(|(_, attached)| attached.addresses)
        .collect();
    let was = keeper.disconnect(id, definition.id)?;
    ensure!(was || force, "container {name} is not connected to network {}", definition.name);
    let hosts = dir.join("hosts");
    match fs_err::read_to_string(&hosts) {
        Ok(text) => {
            let is_of = |line: &str| gone.iter().any(|place| line.starts_with(&format!("{}\t", place.address)));
            let left: String = text.split_inclusive('\n').filter(|line| !is_of(line)).collect();
            // The same file: the container has that.
            Ok(fs_err::write(hosts, left)?)
        }
        Err(_) => Ok(()),
    }
}

/// Which containers are connected to a network, and how.
pub fn users(network: &Definition) -> Result<Vec<(Connected, Attached)>> {
    match Keeper::running(&place()?)? {
        Some(keeper) => users_by(&keeper, network),
        None => Ok(Vec::new()),
    }
}

fn users_by(keeper: &Keeper, network: &Definition) -> Result<Vec<(Connected, Attached)>> {
    let all = keeper.list()?.into_iter().filter_map(|connected| {
        let attached = connected.to.iter().find(|attached| attached.network == network.id)?.clone();
        Some((connected, attached))
    });
    Ok(all.collect())
}

/// A container that runs on such networks: its id, its directory, and who keeps them.
fn of(name: &str) -> Result<(String, PathBuf, Keeper)> {
    let dir = record::find(name)?;
    record::process_of(name)?;
    let id = dir.file_name().context("no id")?.to_string_lossy().into_owned();
    let keeper = Keeper::running(&place()?)?;
    let is_there =
        |keeper: &Keeper| -> Result<bool> { Ok(keeper.list()?.iter().any(|connected| connected.container.id == id)) };
    match keeper {
        Some(keeper) if is_there(&keeper)? => Ok((id, dir, keeper)),
        _ => Err(anyhow::anyhow!("container {name} is on no network that containers share"))
            .hint(|| "one that was started with --network NAME can be connected to others".to_owned()),
    }
}

fn place() -> Result<PathBuf> {
    Ok(paths::runtime_dir()?.join("networks"))
}

fn named(memberships: &[Membership]) -> String {
    memberships.iter().map(|one| one.network.as_str()).collect::<Vec<_>>().join(",")
}

fn member(membership: &Membership) -> Result<(Member, OwnedFd)> {
    let Membership { network, ipv4, ipv6, mac, aliases, interface } = membership;
    let (mut definition, lock) =
        hold(network).hint(|| format!("`rbox network create {network}` makes one; `rbox network ls` shows all"))?;
    // Nobody there needs to know them.
    definition.labels.clear();
    let member = Member {
        network: definition,
        ipv4: *ipv4,
        ipv6: *ipv6,
        mac: mac.map(|mac| mac.to_string()),
        aliases: aliases.clone(),
        interface: interface.clone(),
    };
    Ok((member, lock))
}

/// Every container is also found by the beginning of its id.
fn with_short_id(mut members: Vec<(Member, OwnedFd)>, id: &str) -> Vec<(Member, OwnedFd)> {
    for (member, _) in &mut members {
        member.aliases.push(short(id).to_owned());
    }
    members
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn start(uplink: &Uplink, has_way_out: bool) -> Result<Start> {
    let caller = Caller::this();
    let mut maps = vec![ids::ids(&Options::default(), caller)?.maps];
    maps.push(ids::ids(&Options { id_mode: IdMode::Single, ..Options::default() }, caller)?.maps);
    let programs = match network::programs(uplink) {
        Err(_) if !has_way_out => vec![],
        programs => programs?,
    };
    Ok(Start { dir: place()?, maps, uplink: network::uplink(uplink, programs), resolver: uplink.resolver })
}

/// Who answers names: aardvark-dns at each bridge's address. One without a way out knows its own names alone and says of
/// others that it failed, whereupon the next is asked: so it is the first. `given` is asked by them.
fn servers<'a>(
    networks: impl Iterator<Item = &'a Definition>,
    given: &[IpAddr],
    forwarder: Option<IpAddr>,
) -> Vec<IpAddr> {
    let (internal, open): (Vec<_>, Vec<_>) =
        networks.filter(|network| network.dns_enabled).partition(|network| network.internal);
    let of = |networks: Vec<&Definition>| -> Vec<IpAddr> {
        networks.iter().filter_map(|network| network.subnets.first()).map(|pool| pool.gateway).collect()
    };
    let (internal, open) = (of(internal), of(open));
    let others = if !open.is_empty() {
        open
    } else if !given.is_empty() {
        given.to_vec()
    } else {
        forwarder.into_iter().collect()
    };
    internal.into_iter().chain(others).take(SERVERS).collect()
}

fn places(attached: &[Attached]) -> Vec<Place> {
    attached.iter().flat_map(|attached| attached.addresses.iter().copied()).collect()
}

/// In place: the container has this file, not another one of its name.
fn add_to_hosts(path: &Path, places: &[Place], hostname: &str) -> Result<()> {
    let mut text = fs_err::read_to_string(path)?;
    for place in places {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\t{hostname}", place.address);
    }
    Ok(fs_err::write(path, text)?)
}
