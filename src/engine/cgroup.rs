//! The cgroup of a container: where it is, who makes it, what is known of it while the container runs.
//!
//! ```text
//! the one that is delegated: a scope of systemd, a unit, a subtree that root has given away
//! ├─ rbox-supervisor         rbox, if it was alone up there
//! └─ rbox-ID                 limits; nobody is in it
//!    └─ payload              the container's processes, and the root of its cgroup namespace
//! ```
//!
//! So the container does not see where its limits are, and whoever is root in it cannot lift them, whether the hierarchy is mounted
//! with `nsdelegate` or not.

use super::aside::write_whole;
use super::fence::Fence;
use super::limits::{self, Held, Why};
use super::record;
use super::{container::Found, state};
use crate::cgroup::group::Group;
use crate::cgroup::place::{self, Hierarchy, MOUNTED, Moves, Place};
use crate::cgroup::scope::{self, Asked};
use crate::cgroup::usage::Killings;
use crate::error::{Advise, Failure};
use crate::spec::limits::Cgroups;
use crate::spec::options::Options;
use crate::spec::restart::Restart;
use crate::sys::{self, clone, ids};
use crate::userns::subid;
use anyhow::{Context, Result, anyhow, bail};
use oci_spec::runtime::Spec;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Beside the bundle: where it is.
pub const FILE: &str = "cgroup.json";
/// The one that the processes are in, below the one with the limits.
pub const PAYLOAD: &str = "payload";
/// What is counted of every container that has one.
const COUNTED: [&str; 4] = ["cpu", "memory", "pids", "io"];

/// Who can mend what a container lacks.
const OF_CONTAINER: &str =
    "in a container that is the matter of whoever has started it: it needs /sys/fs/cgroup, writable (--privileged)";

/// Where it can be made.
#[derive(Debug)]
pub enum Where {
    /// Below this one.
    Place(PathBuf),
    /// In a scope that the user's systemd is to be asked for.
    Manager(PathBuf),
    /// Nowhere.
    Nowhere(Why),
}

/// The same when systemd was asked.
#[derive(Debug)]
pub enum Ready {
    /// Below this one.
    Place(PathBuf),
    /// When systemd has answered.
    Asked(Asked),
    /// Nowhere.
    Nowhere(Why),
}

/// What is written down of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Known {
    /// The one with the limits, if there is one.
    pub path: Option<PathBuf>,
    /// What became of each limit.
    pub limits: Vec<Held>,
}

/// Looks where a container's can be. Before any process is made: if rbox itself is in the way, it goes.
///
/// systemd is asked only where there is a reason to: a plain container in the foreground has none. `id`: of a container that was there
/// before.
pub fn look(options: &Options, id: Option<&str>) -> Where {
    if options.cgroups == Cgroups::Split && options.cgroup_parent.is_some() {
        return Where::Nowhere(why("--cgroups split is below where rbox is", None));
    }
    if options.cgroups == Cgroups::Disabled {
        return Where::Nowhere(why("--cgroups disabled", None));
    }
    match place::hierarchy() {
        Hierarchy::Unified => {}
        Hierarchy::Legacy => {
            let hint =
                "root can boot this machine with systemd.unified_cgroup_hierarchy=1 on the kernel's command line";
            return Where::Nowhere(why("this host has cgroup v1, which cannot be delegated", Some(hint.to_owned())));
        }
        Hierarchy::None => {
            return Where::Nowhere(why(
                "no cgroup hierarchy is mounted on /sys/fs/cgroup",
                Some(OF_CONTAINER.to_owned()),
            ));
        }
    }
    if !clone::can_choose_cgroup() {
        let why_not = "a seccomp filter hides clone3(2) here, without which no process begins in another cgroup";
        return Where::Nowhere(why(why_not, Some(OF_CONTAINER.to_owned())));
    }
    let parent = options.cgroup_parent.as_deref();
    if let Some(path) = parent.filter(|parent| parent.starts_with('/')) {
        let parent = Path::new(MOUNTED).join(path.trim_start_matches('/'));
        return match place::may_be_born_in(&parent) {
            true => Where::Place(parent),
            false => Where::Nowhere(why("this user may not have processes there, coming from where rbox is", None)),
        };
    }
    let is_needed = is_needed(options) || id.is_some();
    // Others are moved for a reason only.
    let is_fit = |place: &Place| parent.is_none() && (is_needed || place.moves != Moves::Everybody);
    if let Some(place) = place::find(id.unwrap_or_default(), is_needed).filter(is_fit) {
        return place::enter(place).map_or_else(|error| Where::Nowhere(why(&error.to_string(), None)), Where::Place);
    }
    // Nobody asks why.
    if !is_needed {
        return Where::Nowhere(why("nobody has asked for one", None));
    }
    if options.cgroups == Cgroups::Split {
        return Where::Nowhere(foreign());
    }
    scope::manager().map_or_else(|| Where::Nowhere(foreign()), Where::Manager)
}

fn is_needed(options: &Options) -> bool {
    let may_restart = options.restart != Restart::No;
    options.limits.is_asked() || options.detach || may_restart || options.cgroup_parent.is_some()
}

fn why(said: &str, hint: Option<String>) -> Why {
    Why { said: said.to_owned(), hint }
}

/// rbox is in a cgroup that is not its user's, and nobody is there who could give it one.
fn foreign() -> Why {
    let own = place::own().map_or("one that cannot be seen from here".to_owned(), |path| {
        path.strip_prefix(MOUNTED).map_or(String::new(), |path| format!("/{}", path.display()))
    });
    let user = subid::user_name(ids::uid()).unwrap_or_else(|| ids::uid().to_string());
    if rustix::fs::statvfs(MOUNTED).is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY)) {
        return why(&format!("rbox is in the cgroup {own}, and {MOUNTED} is read-only"), Some(OF_CONTAINER.to_owned()));
    }
    let hint = match Path::new("/run/systemd/system").is_dir() {
        true => format!(
            "systemd gives cgroups to users who have a session or linger: root can run `loginctl enable-linger {user}`"
        ),
        false => format!(
            "root can give you one: `mkdir -p {MOUNTED}/rbox/me; chown {user} {MOUNTED}/rbox {MOUNTED}/rbox/cgroup.procs \
             {MOUNTED}/rbox/cgroup.subtree_control {MOUNTED}/rbox/me {MOUNTED}/rbox/me/cgroup.procs`, and put your shell there: \
             `echo PID >{MOUNTED}/rbox/me/cgroup.procs`"
        ),
    };
    why(&format!("rbox is in the cgroup {own}, in which this user may make no others"), Some(hint))
}

impl Where {
    /// True if there is a place for one.
    pub fn is_somewhere(&self) -> bool {
        !matches!(self, Where::Nowhere(_))
    }

    /// Asks systemd, if that is the way. The answer comes while the container is being put together.
    pub fn ask(self, id: &str, options: &Options) -> Result<Ready> {
        Ok(match self {
            Where::Place(parent) => Ready::Place(parent),
            Where::Nowhere(why) => Ready::Nowhere(why),
            Where::Manager(socket) => {
                let slice = options.cgroup_parent.as_deref();
                // At a shutdown that service stops the containers, each as it wants to be stopped.
                let asked = scope::ask(&socket, &format!("rbox-{id}.scope"), slice, &["rbox-boot.service"]);
                match asked {
                    Ok(asked) => Ready::Asked(asked),
                    // It has ended, and its socket is there still.
                    Err(error) if sys::errno(&error) == Some(Errno::CONNREFUSED) => Ready::Nowhere(foreign()),
                    Err(error) if slice.is_some() => return Err(error.context("--cgroup-parent")),
                    Err(error) => Ready::Nowhere(why(&format!("{error:#}"), None)),
                }
            }
        })
    }
}

/// A container's cgroup. Dropped, all that is in it ends, and it is removed.
#[derive(Debug)]
pub struct Cgroup {
    /// The one with the limits.
    limits: Option<Group>,
    /// How often the kernel had killed somebody in it for want of memory, as far as was told.
    killed: u64,
    /// Where the kernel says how often, if it counts that.
    killings: Option<Killings>,
}

/// What comes of making one.
#[derive(Default)]
pub struct Made {
    /// The cgroup, if there is one.
    pub cgroup: Option<Cgroup>,
    /// The one for its processes.
    pub payload: Option<Group>,
    /// What its user should know.
    pub warning: Option<Failure>,
}

/// Makes it, and sees to the limits. `dir`: the container's runtime directory.
pub fn make(ready: Ready, (id, dir): (&str, &Path), options: &Options, fence: &Fence, spec: &mut Spec) -> Result<Made> {
    let asks = options.cgroup_parent.is_some();
    if matches!(ready, Ready::Nowhere(_)) && !asks && !options.limits.is_asked() {
        return Ok(Made::default());
    }
    let parent = match ready {
        Ready::Place(parent) => Ok(parent),
        Ready::Nowhere(why) if asks => {
            let refused: Result<Made> = Err(anyhow!("--cgroup-parent: {}", why.said));
            return refused.maybe_hint(|| why.hint);
        }
        Ready::Nowhere(why) => Err(why),
        Ready::Asked(asked) => match asked.wait().and_then(|()| of_scope()) {
            Ok(parent) => Ok(parent),
            Err(error) if asks => return Err(error.context("--cgroup-parent")),
            Err(error) => Err(why(&format!("{error:#}"), None)),
        },
    };
    let wanted = limits::wanted(&options.limits)?;
    let made = match parent {
        Err(why) => Err(why),
        Ok(parent) => match build(&parent, id, dir, &wanted.controllers()) {
            Ok(made) => Ok(made),
            Err(error) if asks => return Err(error.context("--cgroup-parent")),
            Err(error) => Err(why(&format!("{error:#}"), None)),
        },
    };
    let (limits, warning, made) = match made {
        Ok((cgroup, group, payload, enabled)) => {
            let (held, warning) = wanted.hold(Ok((&group, &enabled)), options, fence.is_open(), spec)?;
            wanted.show(&payload, &enabled);
            (held, warning, Some((cgroup, group.path().to_owned(), payload)))
        }
        Err(why) => {
            let (held, warning) = wanted.hold(Err(&why), options, false, spec)?;
            (held, warning, None)
        }
    };
    let path = made.as_ref().map(|(_, path, _)| path.clone());
    write_whole(dir, FILE, &Known { path, limits })?;
    let (cgroup, payload) = made.map(|(cgroup, _, payload)| (cgroup, payload)).unzip();
    Ok(Made { cgroup, payload, warning })
}

/// In which this process is now.
fn of_scope() -> Result<PathBuf> {
    let parent = place::own().context("the cgroup of the scope cannot be seen")?;
    place::enter(Place { parent, moves: Moves::Rbox })
}

type Built = (Cgroup, Group, Group, Vec<String>);

fn build(parent: &Path, id: &str, dir: &Path, controllers: &[&str]) -> Result<Built> {
    let mut all = COUNTED.to_vec();
    all.extend(controllers.iter().filter(|controller| !COUNTED.contains(controller)));
    let (parent, enabled) = place::prepare(parent, &all)?;
    let name = format!("rbox-{id}");
    let path = parent.path().join(&name);
    // If this process is killed, whoever comes next finds it.
    write_whole(dir, FILE, &Known { path: Some(path.clone()), limits: Vec::new() })?;
    // Of the container's life before: what was counted then is not this one's.
    remove(&path)?;
    let group = parent.below(&name)?;
    let cgroup = Cgroup { limits: Some(group.again()?), killed: 0, killings: Killings::watch(&group) };
    // What is there to be seen inside is the same as what is counted.
    group.enable(&enabled.iter().map(String::as_str).collect::<Vec<_>>());
    let payload = group.below(PAYLOAD)?;
    Ok((cgroup, group, payload, enabled))
}

/// Ends what is in a cgroup of a container, and removes it, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    let Ok(group) = Group::open(path) else { return Ok(()) };
    group.kill()?;
    Ok(group.remove()?)
}

/// Removes that of a container which nobody is responsible for any more. `dir`: its runtime directory.
pub fn sweep(dir: &Path) -> Result<()> {
    match state::read::<Known>(&dir.join(FILE)) {
        Ok(Some(Known { path: Some(path), .. })) if is_one(&path) => remove(&path),
        _ => Ok(()),
    }
}

/// Nothing else is removed, whatever a file says.
fn is_one(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.starts_with(MOUNTED) && name.strip_prefix("rbox-").is_some_and(|id| id.len() == 64)
}

impl Cgroup {
    /// A file that is ready with POLLPRI when the kernel may have killed somebody for want of memory, until that is asked for.
    pub fn watch_memory(&self) -> Option<BorrowedFd<'_>> {
        self.killings.as_ref().map(AsFd::as_fd)
    }

    /// True if that was so since it was last asked.
    pub fn has_killed(&mut self) -> bool {
        let count = |killings: &Option<Killings>| killings.as_ref().and_then(|killings| killings.count().ok());
        let mut counted = count(&self.killings);
        if counted.is_none() && self.killings.is_some() {
            // It went with its controller, and may be there again. One that is gone would be ready for ever.
            self.killings = self.limits.as_ref().and_then(Killings::watch);
            counted = count(&self.killings);
            self.killings.take_if(|_| counted.is_none());
        }
        let killed = counted.unwrap_or(self.killed);
        std::mem::replace(&mut self.killed, killed) < killed
    }

    /// True if that was ever so.
    pub fn ever_killed(&self) -> bool {
        self.killed > 0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Some(group) = self.limits.take() {
            // What cannot be removed is found by whoever comes next.
            let _ = group.kill();
            let _ = group.remove();
        }
    }
}

/// What is known of the one of a container that runs.
pub fn known(found: &Found) -> Result<Known> {
    let dir = record::runtime_of(&found.container.id)?;
    Ok(state::read(&dir.join(FILE))?.unwrap_or_default())
}

/// Writes down what became of limits that were changed.
pub fn know(found: &Found, mut known: Known, held: Vec<Held>) -> Result<()> {
    known.limits.retain(|limit| !held.iter().any(|held| held.is_instead_of(limit)));
    known.limits.extend(held);
    write_whole(&record::runtime_of(&found.container.id)?, FILE, &known)
}

/// That of a container that runs.
pub fn of(found: &Found) -> Result<Group> {
    if state::of(found)?.pid().is_none() {
        bail!("container {} is not running", found.shown());
    }
    match known(found)? {
        Known { path: Some(path), .. } => Ok(Group::open(&path)?),
        Known { .. } => Err(anyhow!("container {} has no cgroup", found.shown())).hint(|| match place::hierarchy() {
            Hierarchy::Unified => {
                "started with -d or with a limit it has one, where systemd or root gives you any".to_owned()
            }
            _ => "this takes a host with cgroup v2 alone".to_owned(),
        }),
    }
}
