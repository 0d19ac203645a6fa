//! Networks that containers share.
//!
//! `DATA/networks/NAME.json` is podman's file of one, as netavark reads it. It is whole or not there, and never
//! changes: who uses the network holds a shared lock on it, who removes it the exclusive one. Whoever makes or removes
//! one has the directory's lock meanwhile, so that no two get the same addresses.

pub mod membership;
mod pools;
pub mod wanted;

pub use crate::net::shared::definition::{Definition, Lease, Pool};
pub use crate::net::shared::subnet::Subnet;
pub use wanted::Wanted;

use super::events::{self, Actor};
use super::record;
use crate::paths;
use crate::storage::temporary::sync_directory;
use crate::sys::Named;
use crate::time::Time;
use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// How files in the making begin: they have another name at last.
const IN_THE_MAKING: &str = ".new-";

fn base() -> Result<PathBuf> {
    Ok(paths::data_dir()?.join("networks"))
}

fn file(base: &Path, name: &str) -> PathBuf {
    base.join(format!("{name}.json"))
}

/// Makes a network. With `ignore` one that has its name already is found, whatever it is like.
///
/// # Errors
/// There is one of that name; its addresses are those of another one.
pub fn create(wanted: &Wanted, ignore: bool) -> Result<Definition> {
    wanted::name(&wanted.name)?;
    let base = base()?;
    fs_err::create_dir_all(&base)?;
    let _alone = alone(&base)?;
    sweep(&base)?;
    let all = all(&base)?;
    if let Some(there) = all.iter().find(|other| other.name == wanted.name) {
        ensure!(ignore, "network with name {} already exists", wanted.name);
        return Ok(there.clone());
    }
    let definition = define(wanted, &all)?;
    let aside = base.join(format!("{IN_THE_MAKING}{}", &definition.id[..16]));
    fs_err::write(&aside, serde_json::to_vec_pretty(&definition)?)?;
    fs_err::File::open(&aside)?.sync_all()?;
    fs_err::rename(&aside, file(&base, &wanted.name))?;
    sync_directory(&base)?;
    events::other(events::Kind::Network, "create", Actor::named(&definition.id, &definition.name));
    Ok(definition)
}

fn define(wanted: &Wanted, all: &[Definition]) -> Result<Definition> {
    let mut subnets = wanted.pools.clone();
    let mut taken = Vec::new();
    for (other, pool) in all.iter().flat_map(|other| other.subnets.iter().map(move |pool| (other, pool))) {
        if let Some(own) = subnets.iter().find(|own| own.subnet.overlaps(pool.subnet)) {
            bail!("subnet {}: overlaps with {}, which network {} has", own.subnet, pool.subnet, other.name);
        }
        taken.push(pool.subnet);
    }
    let has = |subnets: &[Pool], ipv6| subnets.iter().any(|pool| pool.subnet.is_ipv6() == ipv6);
    if subnets.is_empty() || (wanted.ipv6 && !has(&subnets, false)) {
        taken.extend(pools::of_host());
        subnets.insert(0, pools::free_v4(&taken)?);
    }
    if wanted.ipv6 && !has(&subnets, true) {
        taken.extend(pools::of_host());
        subnets.push(pools::free_v6(&taken)?);
    }
    let ipv6_enabled = has(&subnets, true);
    let id = record::random_id()?;
    Ok(Definition {
        name: wanted.name.clone(),
        network_interface: format!("br-{}", &id[..12]),
        id,
        driver: "bridge".to_owned(),
        created: Time::now(),
        subnets,
        ipv6_enabled,
        internal: wanted.internal,
        dns_enabled: !wanted.no_dns,
        labels: wanted.labels.clone(),
        options: wanted::options(&wanted.options, ipv6_enabled)?,
        ipam_options: BTreeMap::from([("driver".to_owned(), "host-local".to_owned())]),
    })
}

/// The network of this name; or the only one whose id begins so.
pub fn find(text: &str) -> Result<Definition> {
    let none = || anyhow!("network {text} not found");
    let base = base()?;
    if wanted::name(text).is_ok() {
        if let Some(found) = read(&file(&base, text))? {
            return Ok(found);
        }
    }
    let is_id = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut found = if is_id { all(&base)? } else { Vec::new() };
    found.retain(|network| network.id.starts_with(text));
    ensure!(found.len() < 2, "network {text}: {} ids begin so", found.len());
    found.pop().ok_or_else(none)
}

/// All of them, by name.
pub fn list() -> Result<Vec<Definition>> {
    all(&base()?)
}

fn all(base: &Path) -> Result<Vec<Definition>> {
    let mut found = Vec::new();
    for name in record::ids_in(base)? {
        if name.ends_with(".json") && !name.starts_with('.') {
            found.extend(read(&base.join(name))?);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn read(file: &Path) -> Result<Option<Definition>> {
    match fs_err::read(file) {
        Ok(text) => {
            let definition: Definition =
                serde_json::from_slice(&text).with_context(|| format!("network: {}", file.display()))?;
            let is_own = file.file_stem().is_some_and(|stem| stem == definition.name.as_str());
            ensure!(is_own, "network: {}: it has the name {}", file.display(), definition.name);
            Ok(Some(definition))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The network of this name, which nobody can remove while the descriptor is held.
pub fn hold(name: &str) -> Result<(Definition, OwnedFd)> {
    let file = file(&base()?, &find(name)?.name);
    loop {
        let none = || anyhow!("network {name} not found");
        let fd = open(&file)?.ok_or_else(none)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockShared))
            .named(|| format!("flock({})", file.display()))?;
        // Somebody may have removed it, and another one have made it again.
        if rustix::fs::fstat(&fd).named(|| "fstat(network)".to_owned())?.st_nlink > 0 {
            return Ok((read(&file)?.ok_or_else(none)?, fd));
        }
    }
}

/// Removes a network that nobody uses. With `force` one that is not there is no error.
pub fn remove(text: &str, force: bool) -> Result<()> {
    let network = match find(text) {
        Err(_) if force => return Ok(()),
        found => found?,
    };
    let base = base()?;
    let alone = alone(&base)?;
    let removal = discard(&file(&base, &network.name), &network)?;
    // Whoever is asked next may take long.
    drop(alone);
    match removal {
        Removal::Busy => {
            // Who has it may be just starting, or be another session's.
            let users = membership::users(&network).unwrap_or_default();
            let mut names: Vec<String> = users.into_iter().map(|(connected, _)| connected.container.name).collect();
            names.sort();
            let by =
                if names.is_empty() { "a container".to_owned() } else { format!("container {}", names.join(", ")) };
            bail!("remove {}: network is in use by {by}", network.name)
        }
        Removal::Gone if !force => bail!("network {text} not found"),
        Removal::Gone | Removal::Done => {
            events::other(events::Kind::Network, "destroy", Actor::named(&network.id, &network.name));
            Ok(())
        }
    }
}

/// Removes all that nobody uses and that are `wanted`: their names.
pub fn prune(wanted: impl Fn(&Definition) -> bool) -> Result<Vec<String>> {
    let base = base()?;
    let mut removed = Vec::new();
    for network in all(&base)?.into_iter().filter(wanted) {
        let _alone = alone(&base)?;
        if matches!(discard(&file(&base, &network.name), &network)?, Removal::Done) {
            events::other(events::Kind::Network, "destroy", Actor::named(&network.id, &network.name));
            removed.push(network.name);
        }
    }
    Ok(removed)
}

/// True if no container uses it.
pub fn is_dangling(network: &Definition) -> Result<bool> {
    let file = file(&base()?, &network.name);
    let Some(fd) = open(&file)? else { return Ok(true) };
    is_free(&fd, &file)
}

enum Removal {
    Gone,
    Busy,
    Done,
}

/// Takes away the file, unless somebody uses the network. The caller is alone.
fn discard(file: &Path, network: &Definition) -> Result<Removal> {
    let Some(fd) = open(file)? else { return Ok(Removal::Gone) };
    if read(file)?.is_none_or(|there| there.id != network.id) {
        // Another one has its name now.
        return Ok(Removal::Gone);
    }
    if !is_free(&fd, file)? {
        return Ok(Removal::Busy);
    }
    fs_err::remove_file(file)?;
    sync_directory(file.parent().unwrap_or(Path::new("/")))?;
    Ok(Removal::Done)
}

/// Tries for the exclusive lock.
fn is_free(fd: &OwnedFd, file: &Path) -> Result<bool> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).named(|| format!("flock({})", file.display())).map_err(Into::into),
    }
}

fn open(file: &Path) -> Result<Option<OwnedFd>> {
    match rustix::fs::open(file, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("open({})", file.display())).map_err(Into::into),
    }
}

/// The directory's lock: nobody else makes or removes a network meanwhile.
fn alone(base: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(base, flags, Mode::empty()).named(|| format!("open({})", base.display()))?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockExclusive))
        .named(|| format!("flock({})", base.display()))?;
    Ok(fd)
}

/// Removes what somebody died while making. The caller is alone.
fn sweep(base: &Path) -> Result<()> {
    for name in record::ids_in(base)?.iter().filter(|name| name.starts_with(IN_THE_MAKING)) {
        fs_err::remove_file(base.join(name))?;
    }
    Ok(())
}
