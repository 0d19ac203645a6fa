//! What a user can ask of a container, in docker's and podman's words.
//!
//! This is the "low" form: what was typed, checked for grammar only. [`build`](super::build) turns it into the
//! "high" form, the OCI Spec, together with the image's configuration and facts about the host.

use super::extra_host::ExtraHost;
use super::foreground::Foreground;
use super::health;
use super::limits::{Cgroups, Limits};
use super::log::Log;
use super::network::Network;
use super::port::{Exposed, Publish};
use super::resolver::Resolver;
use super::restart::Restart;
use super::sdnotify::SdNotify;
use crate::runtime::extra::Extra;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that `rbox run` and `rbox create` can be asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// What the container runs.
    pub root: Root,
    /// `--name`.
    pub name: Option<String>,
    /// `--rm`.
    pub remove: bool,
    /// `-i`: keep standard input open.
    pub interactive: bool,
    /// `-t`: give the payload a pseudo-terminal.
    pub tty: bool,
    /// `--env-file`, then `-e`, each in the order given; later ones win. Names without a value were looked up in the
    /// caller's environment by the command line.
    pub env: Vec<(String, String)>,
    /// Names that `-e` gave without a value and that the caller does not have: the image's values are dropped.
    pub unset_env: Vec<String>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `-u NAME|UID[:GROUP|GID]`, as typed.
    pub user: Option<String>,
    /// `--group-add`, as typed: names, numbers or `keep-groups`.
    pub group_add: Vec<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--domainname`.
    pub domainname: Option<String>,
    /// `--entrypoint`: `Some(vec![])` clears the image's.
    pub entrypoint: Option<Vec<String>>,
    /// The command after the image or rootfs.
    pub command: Vec<String>,
    /// `-v`, `--mount` and `--tmpfs` in the order given.
    pub mounts: Vec<Mount>,
    /// `--volumes-from`.
    pub volumes_from: Vec<VolumesFrom>,
    /// `--read-only`.
    pub read_only: bool,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--device`.
    pub devices: Vec<Device>,
    /// `--network`, with the options that say more of the container's own.
    pub network: Network,
    /// `-p`, a single port each. Empty with the host's network, where there is nothing to publish.
    pub publish: Vec<Publish>,
    /// `-P`: also whatever the image exposes, see [`port::publish_all`](super::port::publish_all).
    pub publish_all: bool,
    /// `--expose`.
    pub exposed: Vec<Exposed>,
    /// `--dns`, `--dns-search` and `--dns-option`.
    pub resolver: Resolver,
    /// `--add-host`, in the order given.
    pub extra_hosts: Vec<ExtraHost>,
    /// `--no-hosts`: the image's /etc/hosts stays as it is.
    pub no_hosts: bool,
    /// `--no-hostname`: the image's /etc/hostname stays as it is.
    pub no_hostname: bool,
    /// `--pid`.
    pub pid: Namespace,
    /// `--ipc`.
    pub ipc: Namespace,
    /// `--ipc none`: no /dev/shm.
    pub no_shm: bool,
    /// `--uts`.
    pub uts: Namespace,
    /// `--userns`.
    pub userns: Userns,
    /// `--uidmap`; needs no `--userns`.
    pub uidmap: Vec<IdMapRequest>,
    /// `--gidmap`; empty with `uidmap` given: the same as `uidmap`.
    pub gidmap: Vec<IdMapRequest>,
    /// `--id-mode`.
    pub id_mode: IdMode,
    /// `--id-overflow`.
    pub id_overflow: IdOverflow,
    /// How overlays are made; none is as this session has found out. Nobody types it.
    pub overlays: Option<Overlays>,
    /// `--cap-add`, upper case without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`, likewise.
    pub cap_drop: Vec<String>,
    /// `--privileged`.
    pub privileged: bool,
    /// `--security-opt`.
    pub security: Security,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--sysctl KEY=VALUE`, keys with dots.
    pub sysctls: Vec<(String, String)>,
    /// `--init`: run rbox's own reaper as pid 1.
    pub init: bool,
    /// `--timeout` in seconds; the container is killed when it passes. 0 is none.
    pub timeout: u64,
    /// `--pidfile`: where to write the host's number for the container's pid 1.
    pub pidfile: Option<PathBuf>,
    /// `--umask`, 0 to 0o777.
    pub umask: Option<u32>,
    /// `--memory` and the like.
    pub limits: Limits,
    /// `--cgroups`.
    pub cgroups: Cgroups,
    /// `--cgroup-parent`: the name of a slice, or an absolute path.
    pub cgroup_parent: Option<String>,
    /// `--cgroupns`.
    pub cgroupns: Namespace,
    /// `--oom-score-adj`, -1000 to 1000. An unprivileged user can only raise it.
    pub oom_score_adj: Option<i32>,
    /// `--label`.
    pub labels: Vec<(String, String)>,
    /// `--label` and `--annotation` alike end in the Spec's annotations.
    pub annotations: Vec<(String, String)>,
    /// `--stop-signal`, a number from 1 to 64.
    pub stop_signal: Option<i32>,
    /// `--stop-timeout`, seconds; negative is for ever.
    pub stop_timeout: Option<i64>,
    /// `--log-driver` and `--log-opt`.
    pub log: Log,
    /// `--restart`.
    pub restart: Restart,
    /// `--sdnotify`.
    pub sdnotify: Option<SdNotify>,
    /// `--health-*`.
    pub health: health::Asked,
    /// `-d`: nobody waits for it.
    #[serde(skip)]
    pub detach: bool,
    /// `--cidfile`: where to write the id.
    #[serde(skip)]
    pub cidfile: Option<PathBuf>,
    /// `create`: it is started later, so that something of it is kept until then even with `--rm`.
    #[serde(skip)]
    pub later: bool,
    /// `--replace`: one of its name is removed first.
    #[serde(skip)]
    pub replace: bool,
    /// `--preserve-fds`, and what a service manager hands over: with this start only.
    #[serde(skip)]
    pub extra: Extra,
    /// What whoever starts it has of it.
    #[serde(skip)]
    pub foreground: Foreground,
}

impl Options {
    /// True if the process that makes the container can be its supervisor: what the payload says passes through nobody's hands.
    pub fn runs_here(&self) -> bool {
        !self.detach && !self.tty && self.foreground.is_plain()
    }
}

/// Where the root filesystem comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// `--rootfs DIR[:O]`.
    Directory {
        /// Absolute path.
        path: PathBuf,
        /// `:O`: changes go to an upper layer, which goes with the container; `DIR` stays as it is.
        overlay: bool,
    },
    /// An image, whose layers are stacked below an upper one.
    Image {
        /// A name or the beginning of an id, as it was typed.
        name: String,
        /// `--pull`.
        pull: Pull,
    },
}

impl Default for Root {
    fn default() -> Root {
        Root::Directory { path: PathBuf::new(), overlay: false }
    }
}

/// `--pull`: when a registry is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pull {
    /// Every time; without an answer nothing runs.
    Always,
    /// If the image is not there.
    #[default]
    Missing,
    /// Not at all.
    Never,
    /// Every time; if the registry has the same or does not answer, what is there runs.
    Newer,
}

/// One mount that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A directory or file of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// Absolute path in the container.
        target: String,
        /// `ro`.
        readonly: bool,
        /// `rbind` (the default): also what is mounted below the source.
        recursive: bool,
        /// Mount propagation, `rprivate` by default.
        propagation: Propagation,
        /// `nosuid`, `nodev`, `noexec` as asked.
        flags: Vec<String>,
    },
    /// A fresh tmpfs.
    Tmpfs {
        /// Absolute path in the container.
        target: String,
        /// Mount options such as `size=65536k`, `mode=1777`, `ro`.
        options: Vec<String>,
    },
    /// `-v SRC:DST:O`: the source with changes thrown away at the end.
    Overlay {
        /// Absolute path on the host.
        source: PathBuf,
        /// Absolute path in the container.
        target: String,
    },
    /// A volume, which stays when the container goes, unless it has no name.
    Volume(Volume),
}

impl Mount {
    /// Absolute path in the container.
    pub fn target(&self) -> &str {
        match self {
            Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } | Mount::Overlay { target, .. } => target,
            Mount::Volume(volume) => &volume.target,
        }
    }
}

/// A volume that is to be mounted; made if there is none of that name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name; none for an anonymous one.
    pub name: Option<String>,
    /// Absolute path in the container.
    pub target: String,
    /// `ro`.
    pub readonly: bool,
    /// `nocopy`: an empty one stays empty, whatever the image has there.
    pub nocopy: bool,
    /// `nosuid`, `nodev`, `noexec` as asked.
    pub flags: Vec<String>,
    /// `volume-opt`, for one that is made.
    pub options: BTreeMap<String, String>,
    /// `volume-label`, likewise.
    pub labels: BTreeMap<String, String>,
}

/// `--volumes-from CONTAINER[:ro]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Name or id.
    pub container: String,
    /// Read-only, whatever they are there.
    pub readonly: bool,
}

/// Mount propagation of a bind (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// `private`, not below.
    Private,
    /// `rprivate`.
    #[default]
    RPrivate,
    /// `slave`.
    Slave,
    /// `rslave`.
    RSlave,
    /// `shared`.
    Shared,
    /// `rshared`.
    RShared,
}

impl Propagation {
    /// The word of `-v`, and of mount(8).
    pub fn word(self) -> &'static str {
        match self {
            Propagation::Private => "private",
            Propagation::RPrivate => "rprivate",
            Propagation::Slave => "slave",
            Propagation::RSlave => "rslave",
            Propagation::Shared => "shared",
            Propagation::RShared => "rshared",
        }
    }
}

/// `--device HOST[:CONTAINER]`; permissions other than `rwm` cannot be enforced without root and are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path on the host: a device node, or a directory of them.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: String,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// A new one: `private`.
    #[default]
    Private,
    /// The host's.
    Host,
    /// `container:NAME`: that of another container.
    Container(String),
    /// `ns:PATH`.
    Path(PathBuf),
}

/// `--userns`, in podman's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Userns {
    /// The caller is root inside, the subordinate range follows. Also what `host` means without root.
    #[default]
    Private,
    /// The caller keeps its ids inside, or has those given.
    KeepId {
        /// `uid=`: the caller's uid inside.
        uid: Option<u32>,
        /// `gid=`.
        gid: Option<u32>,
        /// `size=`: how many ids are mapped in all.
        size: Option<u32>,
    },
    /// The caller is not mapped: the container's root is the first subordinate id.
    NoMap,
    /// `auto[:size=N]`: a part of the range.
    Auto {
        /// How many ids.
        size: Option<u32>,
    },
    /// `container:NAME`.
    Container(String),
    /// `ns:PATH`.
    Path(PathBuf),
}

/// One `--uidmap` or `--gidmap` entry, `INSIDE:FROM:COUNT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapRequest {
    /// First id in the container.
    pub inside: u32,
    /// First id outside: of the caller's own map (0 is the caller, 1 the first subordinate id), or of the host with `@`.
    pub from: u32,
    /// `@`: `from` counts the host's ids.
    pub host: bool,
    /// How many, at least 1.
    pub count: u32,
}

/// `--id-mode`: where ids come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdMode {
    /// The subordinate range if there is one that works, else the caller's own id alone.
    #[default]
    Auto,
    /// The subordinate range, or an error that says what is missing.
    Range,
    /// The caller's own id alone.
    Single,
}

/// `--id-overflow`: what becomes of files in an image whose owner is not mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdOverflow {
    /// The image is refused.
    #[default]
    Error,
    /// They belong to the overflow id, 65534, or to root if that is not mapped, either.
    Squash,
}

/// How overlays are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overlays {
    /// By the kernel.
    Kernel,
    /// By fuse-overlayfs.
    Fuse,
    /// Not at all: what would be stacked is copied.
    Copies,
}

/// `--security-opt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `seccomp=`.
    pub seccomp: Seccomp,
    /// `seccomp-arch=+x86,+x32`: further architectures that the built-in profile lets in, `x86` or `x32`.
    pub seccomp_arch: Vec<String>,
    /// `unmask=ALL` or `systempaths=unconfined`.
    pub unmask_all: bool,
    /// `unmask=PATH[:PATH…]`; a trailing `*` matches any ending.
    pub unmask: Vec<String>,
    /// `mask=PATH[:PATH…]`.
    pub mask: Vec<String>,
}

/// `--security-opt seccomp=`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The profile built into rbox; also `builtin`.
    #[default]
    Builtin,
    /// No filter.
    Unconfined,
    /// A profile in docker's JSON format, read by the command line.
    Profile(String),
}

/// `--ulimit NAME=SOFT[:HARD]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Lower case without `rlimit_`, for instance `nofile`.
    pub name: String,
    /// `u64::MAX` is unlimited.
    pub soft: u64,
    /// Likewise.
    pub hard: u64,
}
