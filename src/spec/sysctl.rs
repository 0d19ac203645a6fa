//! `--sysctl KEY=VALUE`: kernel parameters of the container's own namespaces.

use super::host::Host;
use super::network::Network;
use super::options::{Namespace, Options};
use crate::error::Advise;
use anyhow::{Result, anyhow, bail};
use std::collections::HashMap;

/// Those of an IPC namespace (ipc_namespaces(7); docker/cli, `opts/opts.go`, `ValidateSysctl`).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Reads one `--sysctl`.
pub fn parse(text: &str) -> Result<(String, String)> {
    let Some((key, value)) = text.split_once('=') else { bail!("not of the form KEY=VALUE") };
    let separator = if key.contains('/') { '/' } else { '.' };
    if key.split(separator).any(|part| part.is_empty() || part == "." || part == "..") {
        bail!("not the name of a kernel parameter");
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// The Spec's form: what was asked for, and what a network namespace of the container's own is to have otherwise.
pub fn build(options: &Options, host: &Host) -> Result<Option<HashMap<String, String>>> {
    allowed(options)?;
    let mut all = own(options, host);
    for (key, value) in &options.sysctls {
        // Either form of a name stands for the same parameter.
        all.remove(&dotted(key));
        all.insert(key.clone(), value.clone());
    }
    Ok((!all.is_empty()).then_some(all))
}

/// The names of those that nobody asked for and that a container can do without; not of those that published ports need.
pub fn usual(options: &Options, host: &Host) -> Option<String> {
    let is_asked = |key: &str| options.sysctls.iter().any(|(asked, _)| dotted(asked) == key);
    let all = own(options, host);
    let mut keys: Vec<&str> =
        all.keys().map(String::as_str).filter(|key| !key.contains("fwmark") && !is_asked(key)).collect();
    keys.sort_unstable();
    (!keys.is_empty()).then(|| keys.join(" "))
}

/// Every user of the container may ping and serve any port, as with docker: both are harmless there.
fn own(options: &Options, host: &Host) -> HashMap<String, String> {
    let mut all = HashMap::new();
    if options.network.namespace() != Namespace::Private {
        return all;
    }
    let mut set = |key: String, value: String| all.insert(key, value);
    set("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    // The kernel takes ids that are mapped.
    let groups = host.ids.as_ref().map(|ids| ids.gid.ranges()).unwrap_or_default();
    if let (Some(first), Some(last)) = (groups.first(), groups.last()) {
        set("net.ipv4.ping_group_range".to_owned(), format!("{} {}", first.inside, last.inside + (last.count - 1)));
    }
    // Answers to clients of a published port find the way back by their mark, refusals too.
    if !options.publish.is_empty() || options.publish_all {
        set("net.ipv4.tcp_fwmark_accept".to_owned(), "1".to_owned());
        set("net.ipv4.fwmark_reflect".to_owned(), "1".to_owned());
        if host.v6 {
            set("net.ipv6.fwmark_reflect".to_owned(), "1".to_owned());
        }
    }
    all
}

fn dotted(key: &str) -> String {
    if key.contains('/') { key.replace('/', ".") } else { key.to_owned() }
}

/// A parameter that does not belong to a namespace of the container is refused: it is the host's, and root's there.
fn allowed(options: &Options) -> Result<()> {
    for (key, _) in &options.sysctls {
        let name = dotted(key);
        let (is_hosts, option) = if name.starts_with("net.") {
            (options.network == Network::Host, "network")
        } else if name.starts_with("fs.mqueue.") || IPC.contains(&name.as_str()) {
            (options.ipc == Namespace::Host, "ipc")
        } else if name == "kernel.domainname" {
            (options.uts == Namespace::Host, "uts")
        } else {
            return Err(anyhow!("--sysctl {key}: sysctl '{key}' is not allowed")).hint(|| {
                "a container can have net.*, fs.mqueue.*, kernel.shm*, kernel.msg*, kernel.sem and kernel.domainname of \
                 its own"
                    .to_owned()
            });
        };
        if is_hosts {
            bail!("--sysctl {key}: sysctl '{key}' is not allowed with --{option} host: it is the host's");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, change: fn(&mut Options)) -> Result<()> {
        let mut options = Options { sysctls: vec![(key.to_owned(), "1".to_owned())], ..Options::default() };
        change(&mut options);
        allowed(&options)
    }

    #[test]
    fn forms() {
        assert_eq!(parse("net.core.x=a=b").expect("a pair"), ("net.core.x".to_owned(), "a=b".to_owned()));
        assert_eq!(parse("net/ipv4/conf/a.1/x=").expect("a pair").1, "");
        for text in ["net.core.x", "=1", ".net=1", "net..x=1", "net/../kernel/x=1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_those_of_own_namespaces() {
        for key in
            ["net.ipv4.ip_forward", "net/ipv4/ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "kernel.domainname"]
        {
            check(key, |_| {}).expect(key);
        }
        for key in ["kernel.hostname", "kernel.shmfoo", "vm.swappiness", "network.x", "user.max_user_namespaces"] {
            let error = check(key, |_| {}).expect_err(key);
            let message = crate::error::Failure::from(&error).message;
            assert_eq!(message, format!("--sysctl {key}: sysctl '{key}' is not allowed"));
        }
        assert!(check("net.x", |options| options.network = Network::Host).is_err());
        assert!(check("kernel.sem", |options| options.ipc = Namespace::Host).is_err());
        assert!(check("kernel.domainname", |options| options.uts = Namespace::Host).is_err());
        check("net.x", |options| options.ipc = Namespace::Host).expect("another namespace");
    }
}
