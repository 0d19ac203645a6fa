//! netavark(1), which makes bridges and connects containers to them. Names are not its business: docs/design/016 says why.
//!
//! Runs in: the user, network, mount and pid namespaces of all networks; [`Programs::find`] in the host's.

use super::message::Work;
use crate::error::Advise;
use crate::paths;
use crate::sys::process;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// Where it finds programs of its own: iptables and nft are in directories that users' PATHs leave out.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What it does in a tenth of a second may take so long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What podman's packages put where users do not look, in this order; then PATH.
const DIRECTORIES: [&str; 4] =
    ["/usr/lib/podman", "/usr/libexec/podman", "/usr/local/lib/podman", "/usr/local/libexec/podman"];

/// It, as it is installed.
#[derive(Debug, Clone)]
pub struct Programs {
    netavark: PathBuf,
}

impl Programs {
    /// Looks for it and for what it needs.
    pub fn find() -> Result<Programs> {
        let missing = |program: &str| {
            Err(anyhow!("networks that containers share need {program}, which is not installed")).hint(|| {
                "an administrator can install all they need: apt install netavark iptables; dnf install netavark \
                 iptables-nft\n--network pasta, a network of the container's own, needs none of it"
                    .to_owned()
            })
        };
        let Some(netavark) = find("netavark") else { return missing("netavark") };
        if !has("iptables") && !has("nft") {
            return missing("iptables");
        }
        Ok(Programs { netavark })
    }

    /// Connects: the hardware address of the container's interface. `dir` is for files of theirs.
    pub fn setup(&self, work: &Work, namespace: &Path, dir: &Path) -> Result<String> {
        let said = self.run("setup", work, namespace, dir)?;
        let mac = &said[&work.network.name]["interfaces"][&work.interface]["mac_address"];
        mac.as_str().map(str::to_owned).context("netavark: no hardware address")
    }

    /// Takes away what [`Programs::setup`] made.
    pub fn teardown(&self, work: &Work, namespace: &Path, dir: &Path) -> Result<()> {
        self.run("teardown", work, namespace, dir).map(drop)
    }

    fn run(&self, verb: &str, work: &Work, namespace: &Path, dir: &Path) -> Result<Value> {
        let mut command = Command::new(&self.netavark);
        command.arg("--config").arg(dir).args(["--rootless", "true"]);
        command.arg(verb).arg(namespace).env_clear().env("PATH", PATH);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start netavark")?;
        let pidfd = process::open_pidfd(child.id() as i32)?;
        // One that ends without reading says why.
        let _ = child.stdin.take().context("netavark: no standard input")?.write_all(&input(work)?);
        let output = std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let watch = std::thread::Builder::new().name("netavark".to_owned()).spawn_scoped(scope, move || {
                // Nothing is sent: the other end goes when it has ended.
                if told.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    return process::send_signal(pidfd.as_fd(), libc::SIGKILL).is_ok();
                }
                false
            });
            let watch = watch.context("thread")?;
            let output = child.wait_with_output().context("netavark");
            drop::<std::sync::mpsc::Sender<()>>(tell);
            match watch.join() {
                Ok(true) => bail!("netavark: no answer after {} seconds", PATIENCE.as_secs()),
                _ => output,
            }
        })?;
        let said: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if output.status.success() {
            return Ok(said.unwrap_or_default());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let why = said.as_ref().and_then(|said| said["error"].as_str()).map(str::to_owned);
        let why = why.or_else(|| errors.lines().last().map(str::to_owned)).unwrap_or_else(|| output.status.to_string());
        if has("iptables") {
            bail!("netavark: {why}");
        }
        Err(anyhow!("netavark: {why}; iptables is not installed")).hint(|| {
            "an administrator can install iptables: apt install iptables; dnf install iptables-nft\n--network pasta, a \
             network of the container's own, does without"
                .to_owned()
        })
    }
}

/// Its standard input (containers/netavark, `src/network/types.rs`).
fn input(work: &Work) -> Result<Vec<u8>> {
    let mut network = work.network.clone();
    network.options.insert("metric".to_owned(), work.metric.to_string());
    // It is to start nobody who answers names.
    network.dns_enabled = false;
    let mut part = json!({
        "static_ips": work.addresses,
        "aliases": work.aliases,
        "interface_name": work.interface,
    });
    if let Some(mac) = &work.mac {
        part["static_mac"] = mac.as_str().into();
    }
    let all = json!({
        "container_id": work.container.id,
        "container_name": work.container.name,
        "port_mappings": Value::Null,
        "networks": { network.name.as_str(): part },
        "network_info": { network.name.as_str(): network },
    });
    Ok(serde_json::to_vec(&all)?)
}

fn find(name: &str) -> Option<PathBuf> {
    let known = DIRECTORIES.iter().map(|dir| Path::new(dir).join(name));
    known.into_iter().find(|path| paths::is_program(path)).or_else(|| paths::program(name))
}

fn has(name: &str) -> bool {
    std::env::split_paths(PATH).any(|dir| paths::is_program(&dir.join(name)))
}
