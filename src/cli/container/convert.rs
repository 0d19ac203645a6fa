//! From text to [`Options`]: each option by the grammar in `spec` that is its own.

use super::ContainerArgs;
use crate::cli::descriptors;
use crate::image::find;
use crate::spec::options::{IdMode, IdOverflow, Mount, Options, Pull, Root};
use crate::spec::{
    annotation, capability, conflicts, device, env, foreground, health, idmapping, keys, log, mount, name, namespace,
    path, restart, sdnotify, security, signal, size, sysctl, tmpfs, ulimit, userns, volume,
};
use anyhow::{Context, Result, bail};
use std::path::Path;

impl ContainerArgs {
    /// Reads everything. Relative paths are those of `cwd`; files that options name are read.
    ///
    /// The text beside them is a note for the user: what was asked for and does not count.
    pub fn options(self, cwd: &Path) -> Result<(Options, Option<String>)> {
        let mut options = Options::default();
        self.general(&mut options)?;
        self.keeping(&mut options, cwd)?;
        self.health(&mut options)?;
        self.process(&mut options)?;
        self.files(&mut options, cwd)?;
        self.namespaces(&mut options)?;
        self.network.read(&mut options)?;
        self.ids(&mut options)?;
        self.security(&mut options)?;
        self.limits.read(&mut options.limits)?;
        self.cgroup.read(&mut options)?;
        self.root(&mut options, cwd)?;
        let note = conflicts::settle(&mut options)?;
        Ok((options, note))
    }

    /// docker's `run IMAGE`, podman's `run --rootfs DIR`: either way the first word is what runs.
    fn root(self, options: &mut Options, cwd: &Path) -> Result<()> {
        let mut words = self.words.into_iter();
        let pull = one("--pull", &self.general.pull, pull)?;
        let dir = match self.general.rootfs {
            Some(dir) if !dir.is_empty() => dir,
            Some(_) => words.next().context("--rootfs: no directory")?,
            None => {
                let name = words.next().context("no image")?;
                find::check(&name)?;
                options.root = Root::Image { name, pull: pull.unwrap_or_default() };
                options.command = words.collect();
                return Ok(());
            }
        };
        options.command = words.collect();
        if pull.is_some() {
            bail!("--pull: --rootfs is no image");
        }
        let (dir, overlay) = dir.strip_suffix(":O").map_or((dir.as_str(), false), |dir| (dir, true));
        if dir.is_empty() {
            bail!("--rootfs: no directory");
        }
        options.root = Root::Directory { path: path::source(dir, cwd), overlay };
        Ok(())
    }

    fn general(&self, options: &mut Options) -> Result<()> {
        let args = &self.general;
        if let Some(text) = &args.name {
            name::container(text).with_context(|| format!("--name {text}"))?;
        }
        options.name.clone_from(&args.name);
        options.remove = args.rm.unwrap_or(false);
        options.detach = args.detach.unwrap_or(false);
        options.interactive = args.interactive.unwrap_or(false);
        options.tty = args.tty.unwrap_or(false);
        options.labels = each("--label", &args.label, |text| annotation::parse(text, false))?;
        Ok(())
    }

    fn keeping(&self, options: &mut Options, cwd: &Path) -> Result<()> {
        let args = &self.keeping;
        options.replace = args.replace.unwrap_or(false);
        if options.replace && options.name.is_none() {
            bail!("--replace: without --name there is nothing to replace");
        }
        options.annotations.clone_from(&options.labels);
        options.annotations.extend(each("--annotation", &args.annotation, |text| annotation::parse(text, true))?);
        options.pidfile = args.pidfile.as_ref().map(|file| path::source(file, cwd));
        options.timeout = one("--timeout", &args.timeout, |text| number(text, 0, u64::MAX))?.unwrap_or(0);
        options.stop_signal = one("--stop-signal", &args.stop_signal, signal::parse)?;
        options.stop_timeout = one("--stop-timeout", &args.stop_timeout, |text| number(text, -1, i64::from(i32::MAX)))?;
        options.cidfile = args.cidfile.as_ref().map(|file| path::source(file, cwd));
        foreground::check(options.detach, &args.attach)?;
        options.foreground.streams = foreground::streams(&args.attach)?;
        if let Some(keys) = one("--detach-keys", &args.detach_keys, keys::parse)? {
            options.foreground.keys = keys;
        }
        options.foreground.proxy = args.sig_proxy.unwrap_or(true);
        options.restart = one("--restart", &args.restart, restart::parse)?.unwrap_or_default();
        options.sdnotify = one("--sdnotify", &args.sdnotify, sdnotify::parse)?;
        options.extra.descriptors = one("--preserve-fds", &args.preserve_fds, descriptors::parse)?.unwrap_or(0);
        options.log.driver = one("--log-driver", &args.log_driver, log::driver)?.unwrap_or_default();
        for text in &args.log_opt {
            options.log.set(text).with_context(|| format!("--log-opt {text}"))?;
        }
        Ok(())
    }

    fn health(&self, options: &mut Options) -> Result<()> {
        let args = &self.health;
        let span = |option: &str, text: &Option<String>| one(option, text, health::span);
        let command = one("--health-cmd", &args.health_cmd, health::command)?;
        options.health = health::Asked {
            off: args.no_healthcheck.unwrap_or(false) || command == Some(None),
            test: command.flatten(),
            interval: span("--health-interval", &args.health_interval)?,
            timeout: span("--health-timeout", &args.health_timeout)?,
            start_period: span("--health-start-period", &args.health_start_period)?,
            start_interval: span("--health-start-interval", &args.health_start_interval)?,
            retries: one("--health-retries", &args.health_retries, |text| number(text, 1, u32::MAX))?,
            on_failure: one("--health-on-failure", &args.health_on_failure, health::on_failure)?.unwrap_or_default(),
        };
        let asks = options.health != health::Asked { off: true, ..health::Asked::default() };
        if options.health.off && asks {
            bail!("conflicting options: --no-healthcheck and --health-*");
        }
        Ok(())
    }

    fn process(&self, options: &mut Options) -> Result<()> {
        let (args, more) = (&self.process, &self.attributes);
        if more.init_path.is_some() {
            bail!("--init-path: rbox has an init of its own and runs no other: use --init");
        }
        for file in &more.env_file {
            let pairs = read(file).and_then(|contents| env::parse_file(&contents, of_caller));
            options.env.extend(pairs.with_context(|| format!("--env-file {file}"))?);
        }
        for (name, value) in each("-e", &args.env, |text| env::parse(text, of_caller))? {
            match value {
                Some(value) => options.env.push((name, value)),
                None => {
                    options.env.retain(|(known, _)| *known != name);
                    options.unset_env.push(name);
                }
            }
        }
        // As in docker, an empty word is none.
        options.workdir = args.workdir.clone().filter(|dir| !dir.is_empty());
        options.user.clone_from(&args.user);
        options.group_add.clone_from(&more.group_add);
        options.entrypoint = one("--entrypoint", &args.entrypoint, entrypoint)?;
        options.init = args.init.unwrap_or(false);
        options.umask = one("--umask", &more.umask, umask)?;
        options.ulimits = each("--ulimit", &more.ulimit, ulimit::parse)?;
        options.oom_score_adj = one("--oom-score-adj", &more.oom_score_adj, |text| number(text, -1000, 1000))?;
        Ok(())
    }

    fn files(&self, options: &mut Options, cwd: &Path) -> Result<()> {
        let (args, more) = (&self.files, &self.places);
        let selinux = args.volume.len() + args.mount.len() + more.volumes_from.len() > 0
            && Path::new("/sys/fs/selinux/enforce").exists();
        options.mounts = each("-v", &args.volume, |text| volume::parse(text, cwd, selinux))?;
        options.mounts.extend(each("--mount", &args.mount, |text| mount::parse(text, cwd, selinux))?);
        options.volumes_from =
            each("--volumes-from", &more.volumes_from, |text| volume::from_container(text, selinux))?;
        options.mounts.extend(each("--tmpfs", &more.tmpfs, tmpfs::parse)?);
        options.read_only = more.read_only.unwrap_or(false);
        if more.read_only_tmpfs.unwrap_or(false) {
            if !options.read_only {
                bail!("--read-only-tmpfs: only with --read-only: without it those directories are writable anyway");
            }
            add_tmpfs(&mut options.mounts);
        }
        options.shm_size = one("--shm-size", &more.shm_size, |text| match size::parse(text)? {
            0 => bail!("must be greater than 0"),
            size => Ok(size),
        })?;
        options.devices = each("--device", &more.device, device::parse)?;
        Ok(())
    }

    fn namespaces(&self, options: &mut Options) -> Result<()> {
        let args = &self.namespaces;
        options.pid = one("--pid", &args.pid, namespace::pid)?.unwrap_or_default();
        (options.ipc, options.no_shm) = one("--ipc", &args.ipc, namespace::ipc)?.unwrap_or_default();
        options.uts = one("--uts", &args.uts, namespace::uts)?.unwrap_or_default();
        options.hostname = args.hostname.clone().filter(|name| !name.is_empty());
        one("--hostname", &options.hostname, name::host)?;
        one("--domainname", &args.domainname, name::host)?;
        options.domainname.clone_from(&args.domainname);
        options.sysctls = each("--sysctl", &args.sysctl, sysctl::parse)?;
        Ok(())
    }

    fn ids(&self, options: &mut Options) -> Result<()> {
        let args = &self.ids;
        options.uidmap = each("--uidmap", &args.uidmap, idmapping::parse)?;
        options.gidmap = each("--gidmap", &args.gidmap, idmapping::parse)?;
        if args.userns.is_some() && !(options.uidmap.is_empty() && options.gidmap.is_empty()) {
            bail!("--userns: excludes --uidmap and --gidmap: each says what is mapped");
        }
        options.userns = one("--userns", &args.userns, userns::parse)?.unwrap_or_default();
        options.id_overflow = args.id_overflow.as_deref().map(id_overflow).transpose()?.unwrap_or_default();
        options.id_mode = args.id_mode.as_deref().map(id_mode).transpose()?.unwrap_or_default();
        Ok(())
    }

    fn security(&self, options: &mut Options) -> Result<()> {
        let args = &self.security;
        options.cap_add = each("--cap-add", &args.cap_add, capability::parse)?;
        options.cap_drop = each("--cap-drop", &args.cap_drop, capability::parse)?;
        options.privileged = args.privileged.unwrap_or(false);
        options.security = security::parse(&args.security_opt, |file| {
            String::from_utf8(read(file)?).ok().with_context(|| format!("{file}: not UTF-8"))
        })?;
        Ok(())
    }
}

/// Reads `--id-mode`.
pub fn id_mode(text: &str) -> Result<IdMode> {
    match text {
        "auto" => Ok(IdMode::Auto),
        "range" => Ok(IdMode::Range),
        "single" => Ok(IdMode::Single),
        _ => bail!("--id-mode {text}: not one of auto, range, single"),
    }
}

/// Reads `--id-overflow`.
pub fn id_overflow(text: &str) -> Result<IdOverflow> {
    match text {
        "error" => Ok(IdOverflow::Error),
        "squash" => Ok(IdOverflow::Squash),
        _ => bail!("--id-overflow {text}: not one of error, squash"),
    }
}

/// Reads an option that is there once; errors name it.
pub fn one<T>(option: &str, text: &Option<String>, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    text.as_deref().map(|text| parse(text).with_context(|| format!("{option} {text}"))).transpose()
}

/// Reads an option that may be there many times; errors name it.
pub fn each<T>(option: &str, texts: &[String], parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    texts.iter().map(|text| parse(text).with_context(|| format!("{option} {text}"))).collect()
}

fn of_caller(name: &str) -> Result<Option<String>> {
    match std::env::var_os(name).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => bail!("the value of {name} is not UTF-8"),
    }
}

/// A file that an option names; the option is in the error already.
fn read(file: &str) -> Result<Vec<u8>> {
    let max: u64 = 16 << 20;
    let mut contents = Vec::new();
    let mut limited = std::io::Read::take(fs_err::File::open(file)?, max);
    std::io::Read::read_to_end(&mut limited, &mut contents)?;
    if contents.len() as u64 == max {
        bail!("{file}: larger than 16 MiB");
    }
    Ok(contents)
}

/// podman's list, less /dev and /dev/shm, which are there in any case; what the user mounts stays.
fn add_tmpfs(mounts: &mut Vec<Mount>) {
    for (target, mode) in [("/run", "755"), ("/tmp", "1777"), ("/var/tmp", "1777")] {
        if !mounts.iter().any(|mount| mount.target() == target) {
            let options = ["exec".to_owned(), format!("mode={mode}")].into();
            mounts.push(Mount::Tmpfs { target: target.to_owned(), options });
        }
    }
}

/// docker takes one word, the empty one for no entrypoint; podman also a JSON list.
fn entrypoint(text: &str) -> Result<Vec<String>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.starts_with('[') {
        if let Ok(words) = serde_json::from_str(text) {
            return Ok(words);
        }
    }
    Ok(vec![text.to_owned()])
}

fn pull(text: &str) -> Result<Pull> {
    match text {
        "always" => Ok(Pull::Always),
        "missing" => Ok(Pull::Missing),
        "never" => Ok(Pull::Never),
        "newer" => Ok(Pull::Newer),
        _ => bail!("always, missing, never or newer is wanted"),
    }
}

fn umask(text: &str) -> Result<u32> {
    match u32::from_str_radix(text, 8) {
        Ok(mask) if mask <= 0o777 && !text.starts_with('+') => Ok(mask),
        _ => bail!("not an octal number up to 0777"),
    }
}

/// Reads a whole number from `first` to `last`.
pub fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(text: &str, first: T, last: T) -> Result<T> {
    match text.parse() {
        Ok(number) if number >= first && number <= last => Ok(number),
        Ok(_) => bail!("not from {first} to {last}"),
        Err(_) => bail!("not a number"),
    }
}
