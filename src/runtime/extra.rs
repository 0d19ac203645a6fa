//! What a payload has beyond its Spec, and once only: descriptors of the caller, and variables that tell of them.
//!
//! Runs in: the container's namespaces, the process that becomes the payload.

use crate::sys::{Result, fd, process};
use anyhow::Context;
use std::ffi::CString;

/// Empty for most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// So many descriptors of the caller, from 3 on, are the payload's under the same numbers.
    pub descriptors: u32,
    /// `NAME=VALUE`; they count more than the Spec's.
    pub env: Vec<String>,
    /// The descriptors are sockets of a service manager: LISTEN_PID says whose (sd_listen_fds(3)).
    pub listens: bool,
}

impl Extra {
    /// Called right before the payload is executed: no other program has them.
    pub fn keep(&self) -> Result<()> {
        (3..3 + self.descriptors).try_for_each(fd::keep_number_on_exec)
    }

    /// The payload's environment, in the process that executes it.
    pub fn complete(&self, env: &[CString]) -> anyhow::Result<Vec<CString>> {
        let number = self.listens.then(|| format!("LISTEN_PID={}", process::pid()));
        let own: Vec<&str> = self.env.iter().chain(&number).map(String::as_str).collect();
        let name = |entry: &[u8]| entry.iter().take_while(|byte| **byte != b'=').copied().collect::<Vec<u8>>();
        let is_own = |entry: &CString| own.iter().any(|other| name(other.as_bytes()) == name(entry.as_bytes()));
        let mut all: Vec<CString> = env.iter().filter(|entry| !is_own(entry)).cloned().collect();
        for entry in own {
            all.push(CString::new(entry).with_context(|| format!("environment {entry:?}: contains a NUL byte"))?);
        }
        Ok(all)
    }
}
