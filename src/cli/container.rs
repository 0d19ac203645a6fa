//! The options of a new container, in docker's and podman's words.

pub mod convert;
pub mod limits;
mod network;

pub use convert::{id_mode, id_overflow};

use super::boolean;
use super::rare::Rare;
use super::remote::RemoteArgs;
use clap::Args;
use limits::{CgroupArgs, LimitArgs};
use network::NetworkArgs;

/// What is typed, still text: docker's grammars are read by `spec`, so that their errors are rbox's.
#[derive(Debug, Default, Args)]
pub struct ContainerArgs {
    /// Image to run, unless --rootfs names a directory; then the command and its arguments. The first word that is no
    /// option begins it
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    words: Vec<String>,
    #[command(flatten)]
    general: General,
    #[command(flatten)]
    keeping: Rare<Keeping>,
    #[command(flatten)]
    health: Rare<Health>,
    #[command(flatten)]
    process: Process,
    #[command(flatten)]
    attributes: Rare<Attributes>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    places: Rare<Places>,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    namespaces: Rare<Namespaces>,
    #[command(flatten)]
    ids: Ids,
    #[command(flatten)]
    security: Rare<Security>,
    #[command(flatten)]
    limits: Rare<LimitArgs>,
    #[command(flatten)]
    cgroup: Rare<CgroupArgs>,
    /// How the registry is spoken to.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "General options")]
struct General {
    /// Run this directory as the root filesystem. With :O after it the directory stays as it is, and changes go
    /// when the container does
    #[arg(long, value_name = "DIR[:O]", num_args = 0..=1, default_missing_value = "")]
    rootfs: Option<String>,
    /// When to ask the registry: always, missing, never, newer [default: missing]
    #[arg(long, value_name = "WHEN")]
    pull: Option<String>,
    /// Assign a name to the container
    #[arg(long)]
    name: Option<String>,
    /// Remove the container when it exits
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    rm: Option<bool>,
    /// Run the container in the background and print its id
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    detach: Option<bool>,
    /// Keep STDIN open even if nothing is attached
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    interactive: Option<bool>,
    /// Allocate a pseudo-TTY
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    tty: Option<bool>,
    /// Set metadata on the container
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "General options")]
struct Keeping {
    /// If there is a container of that name, remove it first
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    replace: Option<bool>,
    /// Attach to STDIN, STDOUT or STDERR only
    #[arg(short, long, value_name = "STREAM")]
    attach: Vec<String>,
    /// Override the key sequence for detaching a container [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Proxy received signals to the process [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    sig_proxy: Option<bool>,
    /// Add an annotation to the container's Spec
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    /// Write the process number of the container's first process to a file
    #[arg(long, value_name = "FILE")]
    pidfile: Option<String>,
    /// Kill the container after so many seconds; 0 is never
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<String>,
    /// Signal to stop the container
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds between that signal and a kill; -1 is for ever [default: 10]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    stop_timeout: Option<String>,
    /// Pass so many further descriptors on, from 3 on
    #[arg(long, value_name = "N")]
    preserve_fds: Option<String>,
    /// Who tells the service manager of NOTIFY_SOCKET that it is ready: container, conmon, healthy, ignore
    /// [default: container]
    #[arg(long, value_name = "WHO")]
    sdnotify: Option<String>,
    /// Start it again when it has ended: no, on-failure[:COUNT], always, unless-stopped [default: no]
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Write the container's id to a file, which must not be there
    #[arg(long, value_name = "FILE")]
    cidfile: Option<String>,
    /// What becomes of a detached container's output: json-file, k8s-file, journald, none,
    /// passthrough [default: json-file]
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Option of the log driver: max-size=SIZE of a file [default: 10m], max-file=COUNT [default: 3];
    /// tag=TEXT of the journal [default: {{.ID}}]
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Health check")]
struct Health {
    /// Command that tells whether the container does what it is for: a line for its shell, a JSON list, or none
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    health_cmd: Option<String>,
    /// Time from one check to the next [default: 30s]
    #[arg(long, value_name = "SPAN")]
    health_interval: Option<String>,
    /// Longer is a failure [default: 30s]
    #[arg(long, value_name = "SPAN")]
    health_timeout: Option<String>,
    /// So many failures in a row make it unhealthy [default: 3]
    #[arg(long, value_name = "COUNT")]
    health_retries: Option<String>,
    /// Time for the container to start, in which failures do not count [default: 0s]
    #[arg(long, value_name = "SPAN")]
    health_start_period: Option<String>,
    /// Time from one check to the next while it starts [default: 5s]
    #[arg(long, value_name = "SPAN")]
    health_start_interval: Option<String>,
    /// What happens to it when it is unhealthy: none, kill, restart, stop [default: none]
    #[arg(long, value_name = "WHAT")]
    health_on_failure: Option<String>,
    /// No check, whatever the image says
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    no_healthcheck: Option<bool>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Process options")]
struct Process {
    /// Set an environment variable; without a value that of the caller
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    env: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR", allow_hyphen_values = true)]
    workdir: Option<String>,
    /// Name or id of the user and of the group, to run as
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<String>,
    /// Overwrite the entrypoint of the image: a program, or a JSON list of words
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    entrypoint: Option<String>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    init: Option<bool>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Process options")]
struct Attributes {
    /// Read in a file of environment variables
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Add a group to join; keep-groups keeps those of the caller
    #[arg(long, value_name = "GROUP", allow_hyphen_values = true)]
    group_add: Vec<String>,
    #[arg(long, hide = true, value_name = "PATH")]
    init_path: Option<String>,
    /// File mode creation mask, octal
    #[arg(long, value_name = "MASK")]
    umask: Option<String>,
    /// Limit of a resource, as in `nofile=1024:2048`; -1 is no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// Tune the host's preferences for killing when memory is short (-1000 to 1000; without root it can only rise)
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    oom_score_adj: Option<String>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Files")]
struct Files {
    /// Bind mount a directory or file, or mount a volume: SRC is a path, or a name; without it the volume is anonymous.
    /// WORDS: ro, rw, nosuid, nodev, noexec; for a path O (changes are thrown away), bind, rbind, private, rprivate,
    /// slave, rslave; for a volume nocopy (an empty one is not filled from the image)
    #[arg(short, long, value_name = "[SRC:]DST[:WORDS]")]
    volume: Vec<String>,
    /// Attach a filesystem: type=bind,src=…,dst=…[,ro], type=tmpfs,dst=…[,tmpfs-size=…],
    /// type=volume[,src=NAME],dst=…[,volume-nocopy][,volume-opt=…], or the form of -v
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Files")]
struct Places {
    /// Mount the volumes and directories that another container has
    #[arg(long, value_name = "CONTAINER[:ro]")]
    volumes_from: Vec<String>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "DST[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Mount the container's root filesystem as read only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    read_only: Option<bool>,
    /// With --read-only a tmpfs on /run, /tmp and /var/tmp
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    read_only_tmpfs: Option<bool>,
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// Add a host device to the container
    #[arg(long, value_name = "HOST[:CONTAINER]")]
    device: Vec<String>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Namespaces")]
struct Namespaces {
    /// PID namespace to use: private, host, container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    pid: Option<String>,
    /// IPC mode to use: private, shareable, none, host, container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    ipc: Option<String>,
    /// UTS namespace to use: private, host, container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    uts: Option<String>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Container NIS domain name
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Kernel parameter of a namespace of the container
    #[arg(long, value_name = "KEY=VALUE")]
    sysctl: Vec<String>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "User and group ids")]
struct Ids {
    /// User namespace to use: private, keep-id[:uid=,gid=,size=], nomap, auto[:size=], host, container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// Map user ids: FROM counts the caller (0) and the subordinate ids (1 and on), with @ before it the host's ids
    #[arg(long, value_name = "CONTAINER:FROM[:AMOUNT]")]
    uidmap: Vec<String>,
    /// Map group ids; without it they are mapped like user ids
    #[arg(long, value_name = "CONTAINER:FROM[:AMOUNT]")]
    gidmap: Vec<String>,
    /// Where ids come from: the subordinate range, the caller's own id alone, or what there is (auto, range, single)
    /// [default: auto]
    #[arg(long, value_name = "MODE")]
    id_mode: Option<String>,
    /// What becomes of files in the image whose owner is not mapped: error, or squash: they belong to 65534, or to root
    /// if that is not mapped, either [default: error]
    #[arg(long, value_name = "WHAT")]
    id_overflow: Option<String>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Security")]
struct Security {
    /// Add a Linux capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a Linux capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Give extended privileges to this container: every capability over its own namespaces, no filter, no masked
    /// paths. It is still the caller's rights that count outside; devices come with --device
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    privileged: Option<bool>,
    /// Security option: no-new-privileges, seccomp=unconfined|builtin|FILE, seccomp-arch=+x86,+x32,
    /// systempaths=unconfined, mask=PATH, unmask=PATH|ALL
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
}
