//! Subordinate ids: which ranges of the host's ids the caller may map (subuid(5), subgid(5)).

use crate::error::Advise;
use anyhow::{Context, Result};
use std::process::{Command, Stdio};

/// A range of ids of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubRange {
    /// First id.
    pub start: u32,
    /// How many.
    pub count: u32,
}

/// The caller's subordinate ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubIds {
    /// From /etc/subuid or its NSS source.
    pub uid: Vec<SubRange>,
    /// From /etc/subgid or its NSS source.
    pub gid: Vec<SubRange>,
}

impl SubIds {
    /// True if one of the two is missing: then nothing beyond the caller's own ids can be mapped.
    pub fn is_empty(&self) -> bool {
        self.uid.is_empty() || self.gid.is_empty()
    }
}

/// The ranges of user `uid`.
///
/// A `subid:` line of nsswitch.conf names one source for all (subid(5)); a static program cannot load its library, so
/// `getsubids`, which can, is asked then. Otherwise the two files count, where entries are by name or by number.
pub fn find(uid: u32) -> Result<SubIds> {
    if from_nss(&read("/etc/nsswitch.conf")?) {
        let name = name_of(uid).unwrap_or_else(|| uid.to_string());
        return Ok(SubIds { uid: ask_nss(&["getsubids", &name])?, gid: ask_nss(&["getsubids", "-g", &name])? });
    }
    let (subuid, subgid) = (read("/etc/subuid")?, read("/etc/subgid")?);
    let local = name_in(&read("/etc/passwd")?, uid);
    let found = |name: Option<&str>| SubIds { uid: parse(&subuid, uid, name), gid: parse(&subgid, uid, name) };
    let ids = found(local.as_deref());
    if ids.is_empty() && local.is_none() && !(subuid.is_empty() || subgid.is_empty()) {
        // A user of a directory service: only getent knows the name.
        return Ok(found(name_of(uid).as_deref()));
    }
    Ok(ids)
}

/// The name of a user, from /etc/passwd or a directory service.
pub fn user_name(uid: u32) -> Option<String> {
    read("/etc/passwd").ok().and_then(|passwd| name_in(&passwd, uid)).or_else(|| name_of(uid))
}

/// The contents of a file of the host; one that is missing is empty.
fn read(path: &str) -> Result<String> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

/// True if nsswitch.conf names another source than the files.
fn from_nss(nsswitch: &str) -> bool {
    nsswitch
        .lines()
        .filter_map(|line| line.split('#').next()?.trim().strip_prefix("subid:"))
        .any(|sources| sources.split_whitespace().next().is_some_and(|first| first != "files"))
}

/// `NAME|UID:START:COUNT` lines of `text` that belong to the user.
fn parse(text: &str, uid: u32, name: Option<&str>) -> Vec<SubRange> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let (owner, start, count) = (fields.next()?, fields.next()?, fields.next()?);
            let mine = Some(owner) == name || owner.parse() == Ok(uid);
            let range = SubRange { start: start.parse().ok()?, count: count.parse().ok()? };
            (mine && range.count > 0).then_some(range)
        })
        .collect()
}

/// The user's name in the text of a passwd file.
fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The user's name as the host's NSS has it.
fn name_of(uid: u32) -> Option<String> {
    let output = Command::new("getent").args(["passwd", &uid.to_string()]).stderr(Stdio::null()).output().ok()?;
    name_in(&String::from_utf8_lossy(&output.stdout), uid)
}

/// Lines of getsubids(1): `0: NAME START COUNT`. It ends with an error when there is none, which is not one for us.
fn ask_nss(command: &[&str]) -> Result<Vec<SubRange>> {
    let output = Command::new(command[0])
        .args(&command[1..])
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("run {}", command[0]))
        .hint(|| {
            "/etc/nsswitch.conf takes subordinate ids from a service that only getsubids can ask;\n\
             it is in the package uidmap (Debian) or shadow-utils-subid (Fedora)"
                .to_owned()
        })?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.rsplit(' ');
            let (count, start) = (fields.next()?, fields.next()?);
            Some(SubRange { start: start.parse().ok()?, count: count.parse().ok()? })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_by_name_and_number() {
        let text = "ada:100000:65536\n1001:300000:10\nbob:1:1\n# x\nada:x:1\n:::\nada:5:0\n1001:400000:20\n";
        let range = |start, count| SubRange { start, count };
        assert_eq!(parse(text, 1001, Some("ada")), [range(100000, 65536), range(300000, 10), range(400000, 20)]);
        assert_eq!(parse(text, 1001, None), [range(300000, 10), range(400000, 20)]);
        assert_eq!(parse(text, 7, None), []);
    }

    #[test]
    fn nss_only_where_the_line_says_so() {
        assert!(!from_nss("passwd: files\n"));
        assert!(!from_nss("subid: files\n"));
        assert!(!from_nss("# subid: sss\n"));
        assert!(from_nss("passwd: files\nsubid:   sss\n"));
    }

    #[test]
    fn name_by_number() {
        assert_eq!(name_in("root:x:0:0::/:\nada:x:1001:1001::/:\n", 1001).as_deref(), Some("ada"));
        assert_eq!(name_in("broken\n\nada:x:x:\n", 1001), None);
    }
}
