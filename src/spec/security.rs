//! `--security-opt`, in docker's and podman's words.

use super::options::{Seccomp, Security};
use super::path;
use crate::error::Advise;
use anyhow::{Context, Result, anyhow, bail};

/// Reads all `--security-opt`s; `read` gives the contents of a seccomp profile.
pub fn parse(options: &[String], read: impl Fn(&str) -> Result<String>) -> Result<Security> {
    let mut security = Security::default();
    for option in options {
        add(&mut security, option, &read).with_context(|| format!("--security-opt {option}"))?;
    }
    Ok(security)
}

fn add(security: &mut Security, option: &str, read: &impl Fn(&str) -> Result<String>) -> Result<()> {
    // docker took a colon before it took an equals sign and still does.
    let at = option.find(['=', ':']);
    let (key, value) = at.map_or((option, None), |at| (&option[..at], Some(&option[at + 1..])));
    match (key, value) {
        ("no-new-privileges", None | Some("true")) => security.no_new_privileges = true,
        ("no-new-privileges", Some("false")) => security.no_new_privileges = false,
        ("no-new-privileges", Some(_)) => bail!("neither true nor false"),
        ("seccomp", Some("unconfined")) => security.seccomp = Seccomp::Unconfined,
        ("seccomp", Some("builtin" | "default")) => security.seccomp = Seccomp::Builtin,
        ("seccomp", Some("")) => bail!("no profile"),
        ("seccomp", Some(file)) => security.seccomp = Seccomp::Profile(read(file)?),
        ("seccomp-arch", Some(list)) => {
            for arch in list.split(',') {
                match arch.strip_prefix('+') {
                    Some("x86" | "x32") => security.seccomp_arch.push(arch[1..].to_owned()),
                    _ => bail!("{arch}: not +x86 or +x32"),
                }
            }
        }
        ("systempaths", Some("unconfined")) => security.unmask_all = true,
        ("systempaths", Some(_)) => bail!("only unconfined is possible"),
        ("unmask", Some(list)) if list.eq_ignore_ascii_case("all") => security.unmask_all = true,
        ("unmask", Some(list)) => security.unmask.extend(paths(list)?),
        ("mask", Some(list)) => security.mask.extend(paths(list)?),
        // No profile is ever applied.
        ("apparmor", Some("unconfined")) => {}
        ("apparmor", Some(_)) => {
            return Err(anyhow!("an AppArmor profile is not there yet"))
                .hint(|| "leave it out, or say apparmor=unconfined, which is how containers run".to_owned());
        }
        // No label is ever set: the container keeps the caller's.
        ("label", Some("disable")) => {}
        ("label", Some(_)) => {
            return Err(anyhow!("SELinux labels are not there yet"))
                .hint(|| "leave it out, or say label=disable, which is how containers run".to_owned());
        }
        ("proc-opts" | "writable-cgroups", Some(_)) => bail!("{key} is not there yet"),
        _ => bail!("not a security option"),
    }
    Ok(())
}

fn paths(list: &str) -> Result<Vec<String>> {
    list.split(':').map(path::target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<Security> {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        parse(&options, |file| if file == "p.json" { Ok("{}".to_owned()) } else { bail!("{file}: no such file") })
    }

    #[test]
    fn forms() {
        let paths = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let none = Security::default;
        let table: [(&[&str], Security); 13] = [
            (&[], none()),
            (&["no-new-privileges"], Security { no_new_privileges: true, ..none() }),
            (&["no-new-privileges:true"], Security { no_new_privileges: true, ..none() }),
            (&["no-new-privileges", "no-new-privileges=false"], none()),
            (&["seccomp=unconfined"], Security { seccomp: Seccomp::Unconfined, ..none() }),
            (&["seccomp:unconfined", "seccomp=builtin"], none()),
            (&["seccomp=p.json"], Security { seccomp: Seccomp::Profile("{}".into()), ..none() }),
            (&["seccomp-arch=+x86,+x32"], Security { seccomp_arch: paths(&["x86", "x32"]), ..none() }),
            (&["systempaths=unconfined"], Security { unmask_all: true, ..none() }),
            (&["unmask=ALL"], Security { unmask_all: true, ..none() }),
            (&["unmask=/proc/*:/sys/firmware"], Security { unmask: paths(&["/proc/*", "/sys/firmware"]), ..none() }),
            (&["mask=/proc/a", "mask=/b"], Security { mask: paths(&["/proc/a", "/b"]), ..none() }),
            (&["apparmor=unconfined", "label=disable"], none()),
        ];
        for (options, security) in table {
            assert_eq!(read(options).expect("valid"), security, "{options:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (option, message) in [
            ("seccomp", "not a security option"),
            ("seccomp=", "no profile"),
            ("seccomp=x", "x: no such file"),
            ("seccomp-arch=x86", "x86: not +x86 or +x32"),
            ("no-new-privileges=maybe", "neither true nor false"),
            ("apparmor=docker-default", "an AppArmor profile is not there yet"),
            ("label=type:x", "SELinux labels are not there yet"),
            ("mask=proc", "proc: a path in the container must be absolute"),
            ("proc-opts=hidepid=2", "proc-opts is not there yet"),
            ("foo=bar", "not a security option"),
        ] {
            let error = read(&[option]).expect_err(option);
            let text = crate::error::Failure::from(&error).message;
            assert_eq!(text, format!("--security-opt {option}: {message}"));
        }
    }
}
