//! `--preserve-fds`, and the sockets of a service manager: descriptors of the caller that a payload gets.

use super::output;
use crate::error::{Advise, Failure};
use crate::spec::health::OnFailure;
use crate::spec::options::Options;
use crate::spec::restart::Restart;
use crate::sys::{fd, process};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::os::fd::OwnedFd;

/// More than any process may have open by default (proc_sys_fs(5), `nr_open`).
const MOST: u32 = 1 << 20;

/// Reads a number of descriptors.
pub fn parse(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(count) if count <= MOST => Ok(count),
        _ => bail!("a number up to {MOST} is wanted"),
    }
}

/// For `run`: checks that they are open. What rbox opens itself gets higher numbers then. Without the option those of a service
/// manager are passed on, if they are meant for this process (sd_listen_fds(3)).
pub fn pass_on(options: &mut Options) -> Result<()> {
    let handed_over = handed_over(|name| std::env::var(name).ok())?;
    let count = options.extra.descriptors;
    let what = match handed_over {
        Some(_) if count > 0 => {
            let message = "--preserve-fds: what LISTEN_FDS says is not passed on".to_owned();
            output::say(Failure { message, ..Failure::default() });
            format!("--preserve-fds {count}")
        }
        Some((sockets, env)) => {
            options.extra.descriptors = sockets;
            options.extra.env.extend(env);
            options.extra.listens = true;
            format!("LISTEN_FDS={sockets}")
        }
        None => format!("--preserve-fds {count}"),
    };
    if options.extra.descriptors == 0 {
        return Ok(());
    }
    check(options.extra.descriptors).with_context(|| what.clone())?;
    let may_restart = options.restart != Restart::No || options.health.on_failure == OnFailure::Restart;
    ensure!(!may_restart, "{what}: a container that is started again by itself gets no descriptors the second time");
    // For programs that rbox starts on the way.
    Ok(fd::close_on_exec_from(3)?)
}

/// For `exec`: they are this process's no more, but for those that come back.
pub fn take(text: Option<&str>) -> Result<Vec<OwnedFd>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let what = || format!("--preserve-fds {text}");
    let count = parse(text).with_context(what)?;
    // With the standard streams and one for the container they are one message.
    let most = fd::MOST as u32 - 4;
    ensure!(count <= most, "{}: not more than {most}", what());
    check(count).with_context(what)?;
    (3..3 + count).map(|number| Ok(fd::take_over(number, 3 + count)?)).collect()
}

fn check(count: u32) -> Result<()> {
    match (3..3 + count).find(|number| !fd::is_open(*number)) {
        Some(number) => Err(anyhow!("descriptor {number} is not open"))
            .hint(|| format!("all from 3 to {} are wanted; a shell opens one with {number}<FILE", 2 + count)),
        None => Ok(()),
    }
}

/// How many sockets this process was started with, and the variables that tell of them; `None` if those are for another process.
fn handed_over(variable: impl Fn(&str) -> Option<String>) -> Result<Option<(u32, Vec<String>)>> {
    let (Some(count), Some(pid)) = (variable("LISTEN_FDS"), variable("LISTEN_PID")) else { return Ok(None) };
    if pid != process::pid().to_string() {
        return Ok(None);
    }
    let number = parse(&count).with_context(|| format!("LISTEN_FDS={count}"))?;
    let names = variable("LISTEN_FDNAMES").map(|names| format!("LISTEN_FDNAMES={names}"));
    Ok(Some((number, [format!("LISTEN_FDS={number}")].into_iter().chain(names).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_a_service_manager() {
        let own = process::pid().to_string();
        let with = |pid: &str, count: &str, names: Option<&str>| {
            handed_over(|name| match name {
                "LISTEN_PID" => Some(pid.to_owned()),
                "LISTEN_FDS" => Some(count.to_owned()),
                _ => names.map(str::to_owned),
            })
        };
        let variables = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(with(&own, "2", None).expect("sockets"), Some((2, variables(&["LISTEN_FDS=2"]))));
        let both = variables(&["LISTEN_FDS=1", "LISTEN_FDNAMES=web"]);
        assert_eq!(with(&own, "1", Some("web")).expect("sockets"), Some((1, both)));
        // Left by somebody else, or for whoever has started this process.
        assert_eq!(with("1", "2", None).expect("nothing"), None);
        assert_eq!(handed_over(|_| None).expect("nothing"), None);
        for count in ["", "-1", "x", "99999999999"] {
            assert!(with(&own, count, None).is_err(), "{count}");
        }
    }
}
