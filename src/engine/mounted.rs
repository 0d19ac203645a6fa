//! The root of a container that does not run, with its volumes, for somebody to enter.
//!
//! It is made as for a start, by the runtime, and nothing is started in it: the root and the user's binds and volumes are
//! mounted, in a user and a mount namespace of their own. Like the one who starts it, whoever has them mounted holds the
//! container's lock: two overlays must not have one upper directory (overlayfs.rst, "Sharing and copying layers").

use super::again;
use super::container::{Container, Found, SPEC};
use super::overlay;
use super::record::Record;
use super::state::{self, Status};
use crate::runtime::bundle::Bundle;
use crate::runtime::create::{self, Start, Stdio};
use crate::runtime::extra::Extra;
use crate::runtime::mount_options::COPY_UP;
use crate::runtime::network::Connection;
use crate::runtime::overlay::is_overlay;
use crate::spec::build;
use crate::spec::options::Overlays;
use crate::sys::{Alone, process};
use anyhow::{Context, Result};
use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Mount, Process, Root, Spec, User};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Mounts that are there as long as this value is.
#[derive(Debug)]
pub struct Mounted {
    container: create::Container,
    /// Goes after the process that has the mounts.
    _record: Record,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let init = self.container.init.pidfd.as_fd();
        let _ = process::send_signal(init, libc::SIGKILL);
        let _ = process::wait(init);
        // What fuse-overlayfs has still to write is written before the lock is given back.
        self.container.servers.clear();
    }
}

impl Mounted {
    /// Mounts what a container has; `None` if somebody is responsible for it, or has it mounted.
    pub fn of(found: &Found) -> Result<Option<Mounted>> {
        let file = found.dir.join(SPEC);
        let mut spec: Spec =
            serde_json::from_slice(&fs_err::read(&file)?).with_context(|| file.display().to_string())?;
        if state::of(found)?.status != Status::Created {
            // What its volumes had from its image was theirs at the beginning.
            let words = spec.mounts_mut().iter_mut().flatten().filter_map(|mount| mount.options_mut().as_mut());
            words.for_each(|words| words.retain(|word| word != COPY_UP));
        }
        let way = again::read(found)?.0.overlays;
        let Some(record) = Record::open_if_free(found)? else { return Ok(None) };
        if !record.share()? {
            return Ok(None);
        }
        let place = record.mount_point()?;
        let container = mount(&spec, found, &record, &place, way)?;
        Ok(Some(Mounted { container, _record: record }))
    }

    /// The process that has them.
    pub fn init(&self) -> BorrowedFd<'_> {
        self.container.init.pidfd.as_fd()
    }
}

/// Again, in another way, if the kernel refuses an overlay.
fn mount(
    spec: &Spec,
    found: &Found,
    record: &Record,
    place: &Path,
    way: Option<Overlays>,
) -> Result<create::Container> {
    let bundle = Bundle::new(&record.dir, only_files(spec, &found.container, place, way)?)?;
    let streams = (&Stdio::Inherit { stdin: false }, &Extra::default());
    match create::create(&Alone::check()?, &record.id, &bundle, streams, Start::Never, Connection::None, || Ok(())) {
        Err(error) => match overlay::next(&error, way)? {
            Some((way, _)) => mount(spec, found, record, place, Some(way)),
            None => Err(error),
        },
        made => made,
    }
}

/// What a container's Spec says of its files.
fn only_files(spec: &Spec, container: &Container, place: &Path, way: Option<Overlays>) -> Result<Spec> {
    let root = spec.root().as_ref().context("root: missing")?;
    let is_there = |mount: &Mount| match is_overlay(mount) {
        // The changes of the others end with each run.
        true => mount.destination() == Path::new("/"),
        false => is_bind(mount) && mount.source().as_ref().is_some_and(|source| source.exists()),
    };
    let mounts: Vec<Mount> = spec.mounts().iter().flatten().filter(|mount| is_there(mount)).cloned().collect();
    let is_stacked = mounts.first().is_some_and(|first| first.destination() == Path::new("/"));
    let mut own_root = Root::default();
    own_root.set_path(if is_stacked { place.to_owned() } else { root.path().clone() }).set_readonly(root.readonly());
    let namespace = |kind| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    };
    let namespaces = vec![namespace(LinuxNamespaceType::User), namespace(LinuxNamespaceType::Mount)];
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces))
        .set_uid_mappings(Some(build::mappings(&container.maps.uid)?))
        .set_gid_mappings(Some(build::mappings(&container.maps.gid)?))
        .set_resources(None)
        .set_masked_paths(None)
        .set_readonly_paths(None);
    // Nobody starts it, and it has to be somebody whom the container has.
    let mut user = User::default();
    let first = |map: &crate::userns::idmap::IdMap| map.ranges().first().map_or(0, |range| range.inside);
    user.set_uid(first(&container.maps.uid)).set_gid(first(&container.maps.gid));
    let mut nobody = Process::default();
    nobody.set_args(Some(vec!["none".to_owned()])).set_cwd(PathBuf::from("/")).set_user(user);
    let mut own = Spec::default();
    own.set_version(spec.version().clone())
        .set_root(Some(own_root))
        .set_mounts(Some(mounts))
        .set_process(Some(nobody))
        .set_linux(Some(linux))
        .set_hooks(None)
        .set_hostname(None)
        .set_annotations(None);
    overlay::adapt(&mut own, way, Some(&container.maps))?;
    Ok(own)
}

/// One of the user's: rbox's own are of the kernel's file systems, which are not there.
fn is_bind(mount: &Mount) -> bool {
    let is_own = ["/proc", "/sys", "/dev"].iter().any(|own| mount.destination().starts_with(own));
    let words = mount.options().as_deref().unwrap_or_default();
    !is_own && (mount.typ().as_deref() == Some("bind") || words.iter().any(|word| word == "bind" || word == "rbind"))
}
