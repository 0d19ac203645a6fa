//! Which namespaces a Spec asks for: new ones, and existing ones by path.

use crate::sys::clone::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS,
};
use anyhow::{Result, bail};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use std::path::PathBuf;

/// The namespaces of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// CLONE_NEW* of those to make.
    pub new: u32,
    /// Those to join: the user namespace first, since the right to join the others comes with it; the mount namespace
    /// last, since the paths are the host's.
    pub join: Vec<(u32, PathBuf)>,
}

impl Namespaces {
    /// Reads `linux.namespaces` of a Spec. The runtime always needs a mount namespace of its own.
    pub fn of(spec: &Spec) -> Result<Namespaces> {
        let mut plan = Namespaces::default();
        let wanted = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
        for namespace in wanted {
            let flag = flag(namespace.typ());
            if plan.has(flag) {
                bail!("linux.namespaces: {} is there twice", namespace.typ());
            }
            match namespace.path() {
                Some(path) => plan.join.push((flag, path.clone())),
                None => plan.new |= flag,
            }
        }
        if plan.new & CLONE_NEWNS == 0 {
            bail!("linux.namespaces: a new mount namespace is needed, and the Spec asks for none");
        }
        plan.join.sort_by_key(|(flag, _)| *flag != CLONE_NEWUSER);
        Ok(plan)
    }

    /// True if the container gets a new namespace of this kind.
    pub fn makes(&self, flag: u32) -> bool {
        self.new & flag != 0
    }

    /// True if the container does not share the runtime's namespace of this kind.
    pub fn has(&self, flag: u32) -> bool {
        self.makes(flag) || self.join.iter().any(|(joined, _)| *joined == flag)
    }

    /// True if one clone cannot do it: a namespace that is joined must be entered before the clone, and the offsets of
    /// a time namespace can only be set while nobody is in it (time_namespaces(7)).
    pub fn need_joiner(&self) -> bool {
        !self.join.is_empty() || self.makes(CLONE_NEWTIME)
    }
}

fn flag(kind: LinuxNamespaceType) -> u32 {
    match kind {
        LinuxNamespaceType::Mount => CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => CLONE_NEWIPC,
        LinuxNamespaceType::User => CLONE_NEWUSER,
        LinuxNamespaceType::Pid => CLONE_NEWPID,
        LinuxNamespaceType::Network => CLONE_NEWNET,
        LinuxNamespaceType::Time => CLONE_NEWTIME,
    }
}
