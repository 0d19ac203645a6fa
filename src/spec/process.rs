//! The Spec's process: what runs, as whom, with which environment and rights.

use super::host::Host;
use super::options::{Options, Userns};
use super::user::{self, Account};
use super::{annotation, capability, defaults, ulimit};
use crate::error::Advise;
use crate::userns::idmap::IdMap;
use anyhow::{Context, Result, anyhow, bail};
use oci_spec::image::Config;
use oci_spec::runtime::{Process, User};
use std::collections::{HashMap, HashSet};

/// Puts the process together. `name` is the value of HOSTNAME, `capabilities` the bounding set.
pub fn build(
    options: &Options,
    image: Option<&Config>,
    host: &Host,
    name: Option<&str>,
    capabilities: u64,
) -> Result<Process> {
    let account = account(options, image, host)?;
    let mut process = Process::default();
    process
        .set_terminal(Some(options.tty))
        .set_console_size(None)
        .set_user(user(options, host, &account)?)
        .set_args(Some(args(options, image)?))
        .set_env(Some(env(options, image, name, &account.home)))
        .set_cwd(cwd(options, image)?.into())
        .set_capabilities(Some(capability::sets(capabilities, account.uid)))
        .set_rlimits((!options.ulimits.is_empty()).then(|| ulimit::rlimits(&options.ulimits)).transpose()?)
        .set_no_new_privileges(Some(options.security.no_new_privileges))
        .set_oom_score_adj(options.oom_score_adj);
    check_nul(&process)?;
    Ok(process)
}

/// docker's rules (moby, `daemon/commit.go`, `merge`): a command replaces the image's; an entrypoint replaces the
/// image's entrypoint and drops its command.
fn args(options: &Options, image: Option<&Config>) -> Result<Vec<String>> {
    let of_image = |list: fn(&Config) -> &Option<Vec<String>>| image.and_then(|i| list(i).clone()).unwrap_or_default();
    let mut args = match &options.entrypoint {
        Some(entrypoint) => entrypoint.clone(),
        None => of_image(Config::entrypoint),
    };
    if options.command.is_empty() && options.entrypoint.is_none() {
        args.extend(of_image(Config::cmd));
    } else {
        args.extend(options.command.iter().cloned());
    }
    if args.is_empty() {
        bail!("no command specified");
    }
    Ok(args)
}

/// The environment in a stable order; a later value of a name takes the place of an earlier one.
fn env(options: &Options, image: Option<&Config>, hostname: Option<&str>, home: &str) -> Vec<String> {
    let mut env = Environment::default();
    env.set("PATH", defaults::PATH);
    if let Some(hostname) = hostname {
        env.set("HOSTNAME", hostname);
    }
    if options.tty {
        env.set("TERM", "xterm");
    }
    env.add(options, image.and_then(|image| image.env().as_deref()).unwrap_or_default());
    if !env.places.contains_key("HOME") {
        env.set("HOME", home);
    }
    env.entries.into_iter().flatten().collect()
}

/// The part of the environment that the image and the options say, without what every container has.
pub fn kept_env(options: &Options, of_image: &[String]) -> Vec<String> {
    let mut env = Environment::default();
    env.add(options, of_image);
    env.entries.into_iter().flatten().collect()
}

#[derive(Default)]
struct Environment {
    entries: Vec<Option<String>>,
    places: HashMap<String, usize>,
}

impl Environment {
    /// What the image says, then what the options say.
    fn add(&mut self, options: &Options, of_image: &[String]) {
        // An entry without `=` is nothing: whoever takes it for "the caller's value" hands the caller's secrets to the
        // image (CVE-2020-14370).
        let pairs = of_image.iter().filter_map(|entry| entry.split_once('='));
        pairs.filter(|(name, _)| !name.is_empty()).for_each(|(name, value)| self.set(name, value));
        options.unset_env.iter().for_each(|name| self.unset(name));
        options.env.iter().for_each(|(name, value)| self.set(name, value));
    }

    fn set(&mut self, name: &str, value: &str) {
        let entry = Some(format!("{name}={value}"));
        match self.places.get(name) {
            Some(place) => self.entries[*place] = entry,
            None => {
                self.places.insert(name.to_owned(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    fn unset(&mut self, name: &str) {
        if let Some(place) = self.places.remove(name) {
            self.entries[place] = None;
        }
    }
}

fn cwd<'a>(options: &'a Options, image: Option<&'a Config>) -> Result<&'a str> {
    let of_image = || image.and_then(|image| image.working_dir().as_deref()).filter(|dir| !dir.is_empty());
    let cwd = options.workdir.as_deref().or_else(of_image).unwrap_or("/");
    if !cwd.starts_with('/') {
        bail!("the working directory '{cwd}' is invalid, it needs to be an absolute path");
    }
    Ok(cwd)
}

/// `-u`, else the image's user, else with `--userns keep-id` the caller, else root.
fn account(options: &Options, image: Option<&Config>, host: &Host) -> Result<Account> {
    let files = (host.passwd.as_deref().unwrap_or_default(), host.group.as_deref().unwrap_or_default());
    let of_image = image.and_then(|image| image.user().as_deref()).filter(|user| !user.is_empty());
    let (what, text) = match (&options.user, of_image, &options.userns, &host.ids) {
        (Some(user), ..) => (format!("-u {user}"), user.clone()),
        (None, Some(user), ..) => (format!("the image's user {user}"), user.to_owned()),
        (None, None, Userns::KeepId { .. }, Some(ids)) => {
            let (uid, gid) = (ids.uid.inside(host.uid), ids.gid.inside(host.gid));
            let (uid, gid) = (uid.unwrap_or_default(), gid.unwrap_or_default());
            let mut account = user::find(&uid.to_string(), files.0, files.1)?;
            account.gid = gid;
            return Ok(account);
        }
        _ => ("user 0".to_owned(), String::new()),
    };
    let account = user::find(&text, files.0, files.1).with_context(|| what.clone())?;
    if let Some(ids) = &host.ids {
        mapped(&ids.uid, account.uid, "user").with_context(|| what.clone())?;
        mapped(&ids.gid, account.gid, "group").with_context(|| what.clone())?;
    }
    Ok(account)
}

/// The kernel answers an id without a counterpart on the host with a bare EINVAL.
fn mapped(map: &IdMap, id: u32, kind: &str) -> Result<()> {
    if map.outside(id).is_some() {
        return Ok(());
    }
    Err(anyhow!("{kind} id {id} is not mapped: the container has {map}")).hint(|| {
        format!(
            "a subordinate range in /etc/sub{}id gives it more (--id-mode range); --userns keep-id:uid=N,gid=N makes \
             you the user N",
            if kind == "user" { 'u' } else { 'g' }
        )
    })
}

fn user(options: &Options, host: &Host, account: &Account) -> Result<User> {
    let mut user = User::default();
    user.set_uid(account.uid)
        .set_gid(account.gid)
        .set_umask(options.umask)
        .set_additional_gids(Some(groups(options, host, account)?).filter(|groups| !groups.is_empty()));
    Ok(user)
}

/// The supplementary groups: as in docker the primary one, so that a change of group cannot shake off what it is denied
/// (CVE-2022-36109), those that the group file gives the user, and `--group-add`.
fn groups(options: &Options, host: &Host, account: &Account) -> Result<Vec<u32>> {
    if keeps_groups(options)? {
        return Ok(Vec::new());
    }
    let file = host.group.as_deref().unwrap_or_default();
    let map = host.ids.as_ref().map(|ids| &ids.gid);
    // Where one id is mapped the kernel denies setgroups(2) (CVE-2014-8989); in a joined namespace it may.
    let may_set = map.is_some_and(|map| map.ranges().iter().map(|range| u64::from(range.count)).sum::<u64>() > 1);
    let mut groups = if may_set { vec![account.gid] } else { Vec::new() };
    let is_mapped = |gid: &u32| map.is_some_and(|map| map.outside(*gid).is_some());
    groups.extend(account.groups.iter().copied().filter(|gid| may_set && is_mapped(gid)));
    for text in &options.group_add {
        let what = || format!("--group-add {text}");
        let gid = user::find_group(text, file).with_context(what)?;
        if let Some(map) = map {
            mapped(map, gid, "group").with_context(what)?;
        }
        if may_set || map.is_none() {
            groups.push(gid);
        }
    }
    // A group file may name a user in tens of thousands of them.
    let mut seen = HashSet::new();
    groups.retain(|gid| seen.insert(*gid));
    Ok(groups)
}

/// `--group-add keep-groups`, which excludes all others, as in podman: the kernel keeps all of the caller's groups or
/// none.
pub fn keeps_groups(options: &Options) -> Result<bool> {
    let keeps = options.group_add.iter().any(|group| group == "keep-groups");
    if keeps && options.group_add.iter().any(|group| group != "keep-groups") {
        bail!("--group-add keep-groups excludes other groups: they can be kept or set, not both");
    }
    if keeps && options.annotations.iter().any(|(key, value)| key == annotation::KEEP_GROUPS && value != "1") {
        bail!("--group-add keep-groups: the annotation {} says otherwise", annotation::KEEP_GROUPS);
    }
    Ok(keeps)
}

/// An image can hold what no command line can; execve(2) would see half of it.
fn check_nul(process: &Process) -> Result<()> {
    let lists = [("argument", process.args()), ("environment", process.env())];
    for (what, list) in lists {
        if let Some(entry) = list.iter().flatten().find(|entry| entry.contains('\0')) {
            bail!("{what} {entry:?}: a NUL byte in it");
        }
    }
    if process.cwd().as_os_str().as_encoded_bytes().contains(&0) {
        bail!("the working directory {:?}: a NUL byte in it", process.cwd());
    }
    Ok(())
}
