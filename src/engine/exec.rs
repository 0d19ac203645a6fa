//! `exec`: what one more process of a container is to be.

use super::root::{self, Accounts};
use super::{record, state};
use crate::engine::container;
use crate::seccomp::capability::EVERY;
use crate::spec::{capability, user};
use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::{Process, Spec, User};
use std::path::{Path, PathBuf};

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `-e`; a name without a value is taken away.
    pub env: Vec<(String, Option<String>)>,
    /// `-u`.
    pub user: Option<String>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `--privileged`.
    pub privileged: bool,
    /// `-t`.
    pub tty: bool,
}

/// The directory of a container that runs, in this session, and the process.
pub fn process(name: &str, wanted: &Wanted) -> Result<(PathBuf, Process)> {
    let found = container::find(name)?;
    let Some(run) = state::run(&found)?.filter(|run| run.open().is_some()) else {
        bail!("container {name} is not running");
    };
    if state::of(&found)?.status == state::Status::Paused {
        bail!("container {name} is paused, unpause the container before exec");
    }
    let dir = record::runtime_of(&found.container.id)?;
    let spec: Spec = record::spec_of(&found.container.id)?;
    let mut process = spec.process().clone().with_context(|| format!("container {name}: no process"))?;
    let (uid, home) = match &wanted.user {
        Some(text) => {
            let (visible, _pidfd) = run.visible().with_context(|| format!("container {name} is not running"))?;
            let Accounts { passwd, group } = root::accounts(Path::new(&format!("/proc/{visible}/root")), None)?;
            let account = user::find(text, &passwd.unwrap_or_default(), &group.unwrap_or_default())
                .with_context(|| format!("-u {text}"))?;
            let mut user = User::default();
            user.set_uid(account.uid).set_gid(account.gid).set_umask(process.user().umask());
            user.set_additional_gids(Some(account.groups.clone()).filter(|groups| !groups.is_empty()));
            let uid = account.uid;
            process.set_user(user);
            (uid, Some(account.home))
        }
        None => (process.user().uid(), None),
    };
    let bounding = match wanted.privileged {
        true => EVERY,
        false => process.capabilities().as_ref().map_or(0, |sets| crate::runtime::capability::sets(sets).bounding),
    };
    process.set_capabilities(Some(capability::sets(bounding, uid)));
    let mut env = process.env().clone().unwrap_or_default();
    let mut set = |name: &str, value: Option<&str>| {
        env.retain(|entry| entry.split_once('=').is_none_or(|(known, _)| known != name));
        env.extend(value.map(|value| format!("{name}={value}")));
    };
    if wanted.tty {
        set("TERM", Some("xterm"));
    }
    if let Some(home) = &home {
        set("HOME", Some(home));
    }
    for (name, value) in &wanted.env {
        set(name, value.as_deref());
    }
    process.set_env(Some(env)).set_args(Some(wanted.command.clone())).set_terminal(Some(wanted.tty));
    if let Some(workdir) = &wanted.workdir {
        ensure!(workdir.starts_with('/'), "-w {workdir}: it needs to be an absolute path");
        process.set_cwd(workdir.into());
    }
    // As in docker: it is another process's.
    process.set_oom_score_adj(None);
    Ok((dir, process))
}
