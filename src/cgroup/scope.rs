//! A scope of the user's systemd: a cgroup that is for whoever is in it (org.freedesktop.systemd1(5), `StartTransientUnit`).
//!
//! Whoever comes from a login shell, cron or su is in a cgroup that is root's, and cannot leave it by himself: systemd has to do that.

use super::bus::{Connection, Values};
use crate::paths;
use crate::sys::{ids, process};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As long systemd may take. It is a matter of milliseconds, but for a machine that is just starting.
const PATIENCE: Duration = Duration::from_secs(8);

/// Where a user's systemd listens, if there is one. After su and in cron's jobs no variable says where.
pub fn manager() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let usual = PathBuf::from(format!("/run/user/{}", ids::uid()));
    let dirs = named.into_iter().chain([usual]).filter(|dir| paths::belongs_to_caller(dir));
    dirs.map(|dir| dir.join("systemd/private")).find(|socket| socket.exists())
}

/// A scope that systemd was asked for.
#[derive(Debug)]
pub struct Asked {
    connection: Connection,
    call: u32,
    name: String,
}

/// Asks for one with this process in it. `slice`: where it is to be, if not where usual. `before`: units that
/// end before it does.
pub fn ask(manager: &Path, name: &str, slice: Option<&str>, before: &[&str]) -> Result<Asked> {
    let mut connection = Connection::open(manager)?;
    let call = send(&mut connection, name, slice, before)?;
    Ok(Asked { connection, call, name: name.to_owned() })
}

fn send(connection: &mut Connection, name: &str, slice: Option<&str>, before: &[&str]) -> Result<u32> {
    let mut arguments = Values::default();
    arguments.string(name);
    arguments.string("fail");
    arguments.array(8, |all| {
        all.property("Description", "s", |value| value.string("container of rbox"));
        // While it waits its number cannot become another's, which PIDFDs (systemd 254) are against.
        all.property("PIDs", "au", |value| value.array(4, |all| all.number(process::pid() as u32)));
        all.property("Delegate", "b", |value| value.boolean(true));
        // One that has failed is not kept to be looked at.
        all.property("CollectMode", "s", |value| value.string("inactive-or-failed"));
        if let Some(slice) = slice {
            all.property("Slice", "s", |value| value.string(slice));
        }
        if !before.is_empty() {
            let names = |all: &mut Values| before.iter().for_each(|name| all.string(name));
            all.property("Before", "as", |value| value.array(4, names));
        }
    });
    arguments.array(8, |_| ());
    connection.call("StartTransientUnit", "ssa(sv)a(sa(sv))", &arguments)
}

impl Asked {
    /// Waits until this process is in it.
    pub fn wait(mut self) -> Result<()> {
        let name = std::mem::take(&mut self.name);
        self.entered().with_context(|| format!("start of {name}"))
    }

    fn entered(&mut self) -> Result<()> {
        let mut removed = Vec::new();
        let mut note = |message: super::bus::Message| {
            if message.is_signal("JobRemoved") {
                removed.push(message);
            }
        };
        let began = Instant::now();
        let answer = self.connection.answer(self.call, PATIENCE, &mut note)?;
        let job = answer.values().string()?;
        // Its end may be told before its number.
        let result = match removed.iter().find_map(|message| result_of(message, &job)) {
            Some(result) => result,
            None => self.connection.signal(PATIENCE.saturating_sub(began.elapsed()), |message| {
                message.is_signal("JobRemoved").then(|| result_of(message, &job)).flatten()
            })?,
        };
        if result != "done" {
            bail!("systemd: {result}");
        }
        Ok(())
    }
}

/// True if a unit of the user's systemd says that its cgroup is for whoever is in it.
pub fn is_delegated(manager: &Path, unit: &str) -> Result<bool> {
    let kind = if unit.ends_with(".scope") { "Scope" } else { "Service" };
    let mut connection = Connection::open(manager)?;
    let path = format!("/org/freedesktop/systemd1/unit/{}", escaped(unit));
    let call = connection.property(&path, &format!("org.freedesktop.systemd1.{kind}"), "Delegate")?;
    connection.answer(call, PATIENCE, |_| ())?.values().variant_boolean()
}

/// A unit's name as part of an object's path (sd_bus_path_encode(3)).
fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for (at, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
        if is_plain {
            escaped.push(byte.into());
        } else {
            escaped.push_str(&format!("_{byte:02x}"));
        }
    }
    escaped
}

/// How a job has ended, if it is this one.
fn result_of(message: &super::bus::Message, job: &str) -> Option<String> {
    let mut values = message.values();
    values.number().ok()?;
    if values.string().ok()? != job {
        return None;
    }
    values.string().ok()?;
    values.string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths() {
        assert_eq!(escaped("run-p1.scope"), "run_2dp1_2escope");
        assert_eq!(escaped("1a@é.service"), "_31a_40_c3_a9_2eservice");
    }
}
