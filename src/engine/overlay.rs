//! Root filesystems where the kernel refuses an overlay: on NFS, in an outer container, before Linux 5.11.
//!
//! Nothing is asked beforehand: the first container that is refused tells, and is started again in the next way. What
//! holds for the whole data directory is remembered in the runtime directory, so that a session finds out once.

use super::record;
use super::{said, scratch};
use crate::error::Failure;
use crate::paths;
use crate::runtime::fuse;
use crate::runtime::mount_options::MountOptions;
use crate::runtime::overlay::{self, FUSE, Refused};
use crate::spec::options::Overlays;
use crate::storage::layers::Layers;
use crate::sys::{Alone, mount};
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result};
use oci_spec::runtime::{Mount, Spec};
use std::path::{Path, PathBuf};

/// The file of the runtime directory: the way, and the data directory that it is for.
const FOUND: &str = "overlays";
/// Beside the upper directory of an overlay: the copy that takes its place.
const COPY: &str = "root";

/// Makes of the Spec's overlays what works here. `wanted`: a way that is to be taken; none is as this session has found
/// out. `maps`: the ids of files, none for those that containers usually have.
///
/// A copy that is there already, of a container that was started before, is the one that is used.
pub fn adapt(spec: &mut Spec, wanted: Option<Overlays>, maps: Option<&IdMaps>) -> Result<()> {
    if !spec.mounts().iter().flatten().any(overlay::is_overlay) {
        return Ok(());
    }
    let way = wanted.unwrap_or_else(found);
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in mounts.iter_mut().filter(|mount| overlay::is_overlay(mount)) {
        let dirs = Directories::of(mount)?;
        match way {
            _ if dirs.copy().exists() => copied(mount, &dirs, maps)?,
            Overlays::Kernel => drop(mount.set_typ(Some("overlay".to_owned()))),
            Overlays::Fuse if dirs.are_plain() => drop(mount.set_typ(Some(FUSE.to_owned()))),
            Overlays::Fuse | Overlays::Copies => copied(mount, &dirs, maps)?,
        }
    }
    // The root is no mount: it is what the others are made in.
    if let Some(root) = mounts.iter().position(|mount| is_bind(mount) && mount.destination() == Path::new("/")) {
        let copy = mounts.remove(root).source().clone();
        if let (Some(root), Some(copy)) = (spec.root_mut(), copy) {
            root.set_path(copy);
        }
    }
    spec.set_mounts(Some(mounts));
    Ok(())
}

fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind")
}

/// The directories of one overlay.
struct Directories {
    /// The topmost first.
    lower: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
}

impl Directories {
    fn of(mount: &Mount) -> Result<Directories> {
        let options = MountOptions::parse(mount.options().as_deref().unwrap_or_default())?;
        let value = |key: &str| {
            let found = options.data.iter().find(|(known, _)| known == key).and_then(|(_, value)| value.as_deref());
            found.with_context(|| format!("mount {}: no {key}", mount.destination().display()))
        };
        Ok(Directories {
            lower: overlay::layers(value("lowerdir")?),
            upper: overlay::unescaped(value("upperdir")?),
            work: overlay::unescaped(value("workdir")?),
        })
    }

    fn copy(&self) -> PathBuf {
        self.upper.with_file_name(COPY)
    }

    /// True if fuse-overlayfs, which knows no escapes, can be told of them.
    fn are_plain(&self) -> bool {
        let is_plain = |dir: &PathBuf| dir.to_str().is_some_and(|text| !text.contains([':', ',', '\\']));
        self.lower.iter().chain([&self.upper, &self.work]).all(is_plain)
    }
}

/// Makes the copy, if it is not there, and a bind of it.
fn copied(mount: &mut Mount, dirs: &Directories, maps: Option<&IdMaps>) -> Result<()> {
    let copy = dirs.copy();
    if !copy.exists() {
        let maps = maps.cloned().map_or_else(super::images::default_maps, Ok)?;
        let layers = dirs.lower.iter().rev().cloned().collect();
        let parent = copy.parent().context("no directory for a copy")?;
        Layers::flatten(layers, parent, COPY, maps)
            .with_context(|| format!("copy what is to be mounted on {}", mount.destination().display()))?;
    }
    let words = ["bind", "rprivate"].map(str::to_owned).to_vec();
    mount.set_typ(Some("bind".to_owned())).set_source(Some(copy)).set_options(Some(words));
    Ok(())
}

/// Takes away what overlay left of an earlier mount whose changes could have been lost: the kernel refuses the work
/// directory otherwise (overlayfs.rst, "Volatile mount"). For a container that is started again.
pub fn renew(spec: &Spec) -> Result<()> {
    for mount in spec.mounts().iter().flatten().filter(|mount| overlay::is_overlay(mount)) {
        let work = Directories::of(mount)?.work;
        scratch::remove(&work)?;
        fs_err::create_dir(work)?;
    }
    Ok(())
}

/// What to do about an error of a start: the next way, if an overlay was refused, and what the user is told of it the
/// first time. `used`: the way that was asked for.
pub fn next(error: &anyhow::Error, used: Option<Overlays>) -> Result<Option<(Overlays, Option<Failure>)>> {
    if !error.chain().any(|cause| cause.is::<Refused>()) {
        return Ok(None);
    }
    let used = used.unwrap_or_else(found);
    let way = match used {
        Overlays::Kernel if fuse::is_there() => Overlays::Fuse,
        Overlays::Kernel | Overlays::Fuse => Overlays::Copies,
        Overlays::Copies => return Ok(None),
    };
    // One container may have lower directories of a kind that is refused where others are not.
    if used != Overlays::Kernel || !works_here()? {
        remember(way)?;
    }
    let note = said::first_time(said::NO_OVERLAY).then(|| said_of(error, used, way));
    Ok(Some((way, note)))
}

fn said_of(error: &anyhow::Error, used: Overlays, way: Overlays) -> Failure {
    let failure = Failure::from(error);
    // The call with all its directories says nothing to a user.
    let reason = failure.message.rsplit(": ").next().unwrap_or_default();
    let message = match used {
        Overlays::Kernel => format!("the kernel refuses an overlay ({reason})"),
        _ => format!("fuse-overlayfs fails ({reason})"),
    };
    let hint = match way {
        Overlays::Fuse => "fuse-overlayfs takes its place, which is slower",
        _ => {
            "each container gets a copy of what it runs, which takes time and space;\nfuse-overlayfs, if it is installed and /dev/fuse can be used, takes neither"
        }
    };
    Failure { message, hints: [failure.hints, vec![hint.to_owned()]].concat(), ..failure }
}

/// The way that was found out, for this data directory.
pub(super) fn found() -> Overlays {
    let read = || -> Option<Overlays> {
        let text = fs_err::read_to_string(paths::runtime_dir().ok()?.join(FOUND)).ok()?;
        let (way, data) = text.split_once(' ')?;
        let is_ours = Path::new(data) == paths::data_dir().ok()?;
        match way {
            "fuse" if is_ours => Some(Overlays::Fuse),
            "copies" if is_ours => Some(Overlays::Copies),
            _ => None,
        }
    };
    read().unwrap_or(Overlays::Kernel)
}

fn remember(way: Overlays) -> Result<()> {
    let word = match way {
        Overlays::Kernel => return Ok(()),
        Overlays::Fuse => "fuse",
        Overlays::Copies => "copies",
    };
    let runtime = paths::runtime_dir()?;
    // Aside, then renamed: nobody reads half of it.
    let aside = runtime.join(format!(".{FOUND}-{}", crate::sys::process::pid()));
    fs_err::write(&aside, format!("{word} {}", paths::data_dir()?.display()))?;
    Ok(fs_err::rename(aside, runtime.join(FOUND))?)
}

/// Mounts an overlay in the data directory, in a namespace that is thrown away, and deletes a file in it.
fn works_here() -> Result<bool> {
    let [_, base] = super::container::places()?;
    scratch::base(&base)?;
    let (dir, held) = scratch::make(&base.join(record::random_id()?))?;
    for name in ["lower", "upper", "work", "merged"] {
        fs_err::create_dir(dir.join(name))?;
    }
    fs_err::write(dir.join("lower/file"), "")?;
    let maps = super::images::default_maps()?;
    let works = crate::userns::run::run(&Alone::check()?, &maps, || {
        rustix::process::chdir(&dir)?;
        let mounted = mount::overlay(Path::new("merged"), "lowerdir=lower,upperdir=upper,workdir=work,userxattr");
        let works = mounted.is_ok() && fs_err::remove_file("merged/file").is_ok();
        Ok(u8::from(works))
    });
    // What stays is swept.
    let _ = scratch::remove(&dir);
    drop(held);
    Ok(works? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::MountBuilder;

    fn spec(dir: &Path) -> Spec {
        let option = |key: &str, name: &str| format!("{key}={}", dir.join(name).display());
        let options = vec![option("lowerdir", "low"), option("upperdir", "0/upper"), option("workdir", "0/work")];
        let overlay = MountBuilder::default().destination("/").typ("overlay").options(options).build();
        let mut spec = Spec::default();
        spec.set_mounts(Some(vec![overlay.expect("a mount")]));
        spec
    }

    #[test]
    fn ways() {
        let dir = tempfile::tempdir().expect("a directory");
        fs_err::create_dir_all(dir.path().join("0")).expect("made");
        let kind = |spec: &Spec| spec.mounts().iter().flatten().next().and_then(|mount| mount.typ().clone());
        let mut made = spec(dir.path());
        adapt(&mut made, Some(Overlays::Kernel), None).expect("nothing to do");
        assert_eq!(made, spec(dir.path()));
        adapt(&mut made, Some(Overlays::Fuse), None).expect("a word");
        assert_eq!(kind(&made).as_deref(), Some(FUSE));
        adapt(&mut made, Some(Overlays::Kernel), None).expect("a word");
        assert_eq!(kind(&made).as_deref(), Some("overlay"));
        // A copy that is there is used, whatever the way.
        let copy = dir.path().join("0/root");
        fs_err::create_dir(&copy).expect("made");
        adapt(&mut made, Some(Overlays::Kernel), None).expect("a root");
        assert_eq!(made.root().as_ref().map(|root| root.path()), Some(&copy));
        assert_eq!(made.mounts().as_deref(), Some(&[][..]));
    }

    #[test]
    fn what_a_volatile_mount_leaves() {
        let dir = tempfile::tempdir().expect("a directory");
        let work = dir.path().join("0/work");
        fs_err::create_dir_all(work.join("work/incompat/volatile/dirty")).expect("made");
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs_err::set_permissions(work.join("work/incompat"), closed).expect("a mode");
        renew(&spec(dir.path())).expect("renewed");
        assert_eq!(fs_err::read_dir(&work).expect("there").count(), 0);
    }

    #[test]
    fn what_is_no_refusal() {
        let other = anyhow::anyhow!("something else");
        assert!(next(&other, None).expect("an answer").is_none());
        let refused = anyhow::Error::from(Refused { said: "mount: no".to_owned() }).context("rootfs");
        assert!(next(&refused, Some(Overlays::Copies)).expect("an answer").is_none(), "there is no way after that");
    }
}
