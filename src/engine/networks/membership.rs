//! A container's part in networks that containers share.

use super::{Definition, hold};
use crate::engine::events::{self, Actor};
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
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// More nameservers nobody asks (resolv.conf(5), MAXNS).
const SERVERS: usize = 3;

/// Where names are asked for by those who have no IPv4 address.
const RESOLVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3));

/// No /etc/hosts of a container is longer, bytes, unless it has made it so.
const LARGEST: u64 = 1 << 20;

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
    Programs::find()?;
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
    let has_v4 = networks().flat_map(|network| &network.subnets).any(|pool| !pool.subnet.is_ipv6());
    let ours = start.resolvers.iter().find(|address| address.is_ipv4() == has_v4).copied();
    // Theirs are asked by the container itself, for what ours does not know.
    let servers = ours.into_iter().chain(given.iter().copied()).take(SERVERS).collect();
    let name = options.name.clone().unwrap_or_else(|| short(id).to_owned());
    let who = Container { id: id.to_owned(), name, asks_host: given.is_empty() };
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

    /// Where its published ports lead.
    pub fn places(&self) -> Places {
        places_of(&self.attached.borrow())
    }

    /// Whether one of them has IPv6.
    pub fn has_v6(&self) -> bool {
        self.members.borrow().iter().any(|(member, _)| member.network.ipv6_enabled)
    }
}

/// Where published ports lead: to the first address of each family.
pub fn places_of(attached: &[Attached]) -> Places {
    let places = places(attached);
    let pairs = || places.iter().map(|place| (place.address, place.gateway));
    Places {
        v4: pairs().find_map(
            |pair| {
                if let (IpAddr::V4(own), IpAddr::V4(other)) = pair { Some((own, other)) } else { None }
            },
        ),
        v6: pairs().find_map(
            |pair| {
                if let (IpAddr::V6(own), IpAddr::V6(other)) = pair { Some((own, other)) } else { None }
            },
        ),
    }
}

/// Connects a running container to one more network.
pub fn connect(membership: &Membership, name: &str) -> Result<()> {
    let (id, dir, keeper) = of(name)?;
    let member = member(membership)?;
    let network = Actor::named(&member.0.network.id, &member.0.network.name).with("container", &id);
    let attached = keeper.connect(id.clone(), &with_short_id(vec![member], &id))?;
    events::other(events::Kind::Network, "connect", network);
    if let Ok(hostname) = fs_err::read_to_string(dir.join("hostname")) {
        // The container may have done anything with its file: that is no reason to say that it is not connected.
        let _ = add_to_hosts(&dir.join("hosts"), &places(&attached), hostname.trim_end());
    }
    Ok(())
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
    let network = Actor::named(&definition.id, &definition.name).with("container", &id);
    let was = keeper.disconnect(id, definition.id)?;
    if was {
        events::other(events::Kind::Network, "disconnect", network);
    }
    ensure!(was || force, "container {name} is not connected to network {}", definition.name);
    let hostname = fs_err::read_to_string(dir.join("hostname")).unwrap_or_default();
    let _ = take_from_hosts(&dir.join("hosts"), &gone, hostname.trim_end());
    Ok(())
}

/// Others on its networks find a container that runs by another name from now on. One on no such network has nobody who would.
pub fn rename(id: &str, name: &str) -> Result<()> {
    let Some(keeper) = Keeper::running(&place()?)? else { return Ok(()) };
    match keeper.list()?.iter().any(|connected| connected.container.id == id) {
        true => keeper.rename(id.to_owned(), name.to_owned()),
        false => Ok(()),
    }
}

/// In place: the container has this file, not another one of its name. What it has made of it is left alone if it is no text
/// of a usual size.
fn take_from_hosts(path: &Path, gone: &[Place], hostname: &str) -> Result<()> {
    if fs_err::metadata(path)?.len() > LARGEST {
        return Ok(());
    }
    let text = fs_err::read_to_string(path)?;
    let is_ours = |line: &str| gone.iter().any(|place| line == line_of(place, hostname));
    let left: String = text.split_inclusive('\n').filter(|line| !is_ours(line)).collect();
    Ok(fs_err::write(path, left)?)
}

fn line_of(place: &Place, hostname: &str) -> String {
    format!("{}\t{hostname}\n", place.address)
}

/// Which containers are connected to a network, and how.
pub fn users(network: &Definition) -> Result<Vec<(Connected, Attached)>> {
    match Keeper::running(&place()?)? {
        Some(keeper) => users_by(&keeper, network),
        None => Ok(Vec::new()),
    }
}

/// All containers that are connected to networks that containers share.
pub fn connected() -> Result<Vec<Connected>> {
    Keeper::running(&place()?)?.map_or(Ok(Vec::new()), |keeper| keeper.list())
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
    let has_v6 = Path::new("/proc/sys/net/ipv6").exists();
    let resolvers = [IpAddr::V4(uplink.resolver)].into_iter().chain(has_v6.then_some(RESOLVER_V6)).collect();
    Ok(Start { dir: place()?, maps, uplink: network::uplink(uplink, programs), resolvers })
}

fn places(attached: &[Attached]) -> Vec<Place> {
    attached.iter().flat_map(|attached| attached.addresses.iter().copied()).collect()
}

/// At the end of the file that the container has, if there is one.
fn add_to_hosts(path: &Path, places: &[Place], hostname: &str) -> Result<()> {
    let mut file = match fs_err::OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let lines: String = places.iter().map(|place| line_of(place, hostname)).collect();
    Ok(file.write_all(lines.as_bytes())?)
}
