//! What the Spec depends on beside the options and the image: facts that somebody with system calls must find out.

use crate::userns::idmap::IdMaps;
use std::path::PathBuf;

/// The facts, gathered by the engine before [`build`](super::build::build).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The container's id, 64 hexadecimal digits.
    pub id: String,
    /// The host's name (uname(2)): the container's too where it shares the host's UTS or network namespace.
    pub hostname: String,
    /// The caller's user id on the host.
    pub uid: u32,
    /// The caller's group id on the host.
    pub gid: u32,
    /// The id maps of the new user namespace. None: the container joins one that exists.
    pub ids: Option<IdMaps>,
    /// What the root filesystem's /etc/passwd holds, if it has one.
    pub passwd: Option<String>,
    /// What the root filesystem's /etc/group holds, if it has one.
    pub group: Option<String>,
    /// `root.path` of the Spec.
    pub root: PathBuf,
    /// The directories to stack for the root, the topmost first; none if `root` is the root itself.
    pub layers: Vec<PathBuf>,
    /// Scratch directories, one pair per overlay: that of the root first, if it is one, then one for each
    /// [`Mount::Overlay`](super::options::Mount::Overlay) in the order of the options.
    pub overlays: Vec<Overlay>,
    /// One for each [`Mount::Volume`](super::options::Mount::Volume) in the order of the options.
    pub volumes: Vec<Volume>,
    /// The directory with the payload's way to a service manager.
    pub notify: Option<PathBuf>,
    /// Files of the container's /etc.
    pub etc: Etc,
    /// Whether a network of the container's own has IPv6.
    pub v6: bool,
    /// The namespaces of other containers that the options name.
    pub joins: Joins,
    /// The caller's capability bounding set, a bit for each number. What is not in it no container can have.
    pub bounding: u64,
    /// The kernel's version, major and minor, for seccomp profiles with `minKernel`.
    pub kernel: (u32, u32),
}

/// Files of the host that are bound into the container's /etc; where there is none the image's own stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Etc {
    /// hosts(5).
    pub hosts: Option<PathBuf>,
    /// hostname(5).
    pub hostname: Option<PathBuf>,
    /// resolv.conf(5).
    pub resolv_conf: Option<PathBuf>,
}

/// Where the changes of an overlay go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The upper layer.
    pub upper: PathBuf,
    /// The work directory, on the same filesystem.
    pub work: PathBuf,
}

/// A volume that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What is mounted.
    pub content: Content,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A directory of its own, filled from the image as long as it is empty.
    Directory(PathBuf),
    /// A directory of the host.
    Bind {
        /// Where it is.
        path: PathBuf,
        /// Whatever the options say.
        readonly: bool,
    },
    /// A tmpfs with these options.
    Tmpfs(Vec<String>),
}

/// What is shared with others. For `container:NAME`: /proc/PID/ns/… of that container's first process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joins {
    /// `--userns container:NAME`, or the user namespace that owns another one to be joined.
    pub user: Option<PathBuf>,
    /// `--network container:NAME`.
    pub network: Option<PathBuf>,
    /// `--pid container:NAME`.
    pub pid: Option<PathBuf>,
    /// `--ipc container:NAME`.
    pub ipc: Option<PathBuf>,
    /// `--uts container:NAME`.
    pub uts: Option<PathBuf>,
    /// `--cgroupns container:NAME`.
    pub cgroup: Option<PathBuf>,
    /// A directory to bind on /dev/shm with `--ipc container:NAME`: that container's own /dev/shm. None: it cannot be
    /// reached, and the option is refused.
    pub shm: Option<PathBuf>,
    /// The host's /dev/mqueue, to be bound with `--ipc host`. None: the host has none mounted, and the container goes
    /// without; mq_open(3) needs no mount.
    pub mqueue: Option<PathBuf>,
}
