//! Who runs in the container: `-u`, and the accounts in the root filesystem's passwd(5) and group(5).
//!
//! The rules are docker's (moby/sys, `user/user.go`, `GetExecUser`), with two exceptions on purpose: a number that is
//! no id is an error and never looked up as a name (CVE-2026-46680), and a line of the file that is not well formed is
//! no account at all instead of one with the id 0.

use anyhow::{Result, bail};

/// The largest id; the one after it means "no change" to the kernel (chown(2), setresuid(2)).
pub const MAX_ID: u32 = u32::MAX - 1;

/// What a `-u` comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// The groups that list the user as a member; none if the group was given.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
}

/// A name or an id.
enum Key<'a> {
    Id(u32),
    Name(&'a str),
}

/// Finds `NAME|UID[:GROUP|GID]`; the empty text is root.
pub fn find(text: &str, passwd: &str, group: &str) -> Result<Account> {
    let (user, wanted_group) = text.split_once(':').unwrap_or((text, ""));
    if wanted_group.contains(':') {
        bail!("not of the form USER[:GROUP]");
    }
    let key = if user.is_empty() { Key::Id(0) } else { key(user)? };
    let entry = users(passwd).find(|entry| match key {
        Key::Id(id) => entry.uid == id,
        Key::Name(name) => entry.name == name,
    });
    let mut account = match (&entry, key) {
        (Some(entry), _) => {
            let home = if entry.home.is_empty() { "/" } else { entry.home };
            Account { uid: entry.uid, gid: entry.gid, groups: Vec::new(), home: home.to_owned() }
        }
        (None, Key::Id(uid)) => Account { uid, gid: 0, groups: Vec::new(), home: "/".to_owned() },
        (None, Key::Name(name)) => bail!("unable to find user {name}: no matching entries in passwd file"),
    };
    if !wanted_group.is_empty() {
        account.gid = find_group(wanted_group, group)?;
    } else if let Some(entry) = entry {
        account.groups = groups(group)
            .filter(|line| line.members.split(',').any(|m| m == entry.name))
            .map(|line| line.gid)
            .collect();
    }
    Ok(account)
}

/// Finds `NAME|GID`.
pub fn find_group(text: &str, group: &str) -> Result<u32> {
    match key(text)? {
        Key::Id(id) => Ok(id),
        Key::Name(name) => match groups(group).find(|line| line.name == name) {
            Some(line) => Ok(line.gid),
            None => bail!("unable to find group {name}: no matching entries in group file"),
        },
    }
}

/// Whatever starts like a number must be an id.
fn key(text: &str) -> Result<Key<'_>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Key::Name(text));
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID && digits == text => Ok(Key::Id(id)),
        _ => bail!("{text} is not an id: ids go from 0 to {MAX_ID}"),
    }
}

/// A line of passwd(5): `name:password:uid:gid:comment:home:shell`.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        Some(User { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// A line of group(5): `name:password:gid:member,member`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let gid = id(fields.nth(1)?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= MAX_ID && !text.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        # a comment\n\
        bin:x:1:1:bin:/bin:/sbin/nologin\n\
        broken:x::\n\
        huge:x:4294967296:0::/:\n\
        4294967296:x:0:0:a number as a name:/root:/bin/sh\n\
        7:x:0:0:likewise:/root:/bin/sh\n\
        ada:x:1000:1000:Ada,,,:/home/ada:/bin/bash\n\
        homeless:x:1001:1001\n";
    const GROUP: &str = "root:x:0:root\nbin:x:1:root,bin,daemon\nwheel:x:10:root,ada\naudio:x:29:ada\nstaff:x:50:\n";

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>)> {
        find(text, PASSWD, GROUP).map(|account| (account.uid, account.gid, account.groups))
    }

    #[test]
    fn forms() {
        let table: [(&str, u32, u32, &[u32]); 12] = [
            ("", 0, 0, &[0, 1, 10]),
            ("1", 1, 1, &[1]),
            ("1:1", 1, 1, &[]),
            (":1", 0, 1, &[]),
            ("1:", 1, 1, &[1]),
            ("ada", 1000, 1000, &[10, 29]),
            ("1000", 1000, 1000, &[10, 29]),
            ("ada:staff", 1000, 50, &[]),
            ("ada:4711", 1000, 4711, &[]),
            ("4711", 4711, 0, &[]),
            ("7", 7, 0, &[]),
            ("4294967294:4294967294", 4294967294, 4294967294, &[]),
        ];
        for (text, uid, gid, groups) in table {
            assert_eq!(ids(text).expect(text), (uid, gid, groups.to_vec()), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_user() {
        for (text, message) in [
            ("4294967295", "4294967295 is not an id: ids go from 0 to 4294967294"),
            ("4294967296", "4294967296 is not an id: ids go from 0 to 4294967294"),
            ("-1", "-1 is not an id: ids go from 0 to 4294967294"),
            ("+1", "+1 is not an id: ids go from 0 to 4294967294"),
            ("1:-1", "-1 is not an id: ids go from 0 to 4294967294"),
            ("1:1:1", "not of the form USER[:GROUP]"),
            ("eve", "unable to find user eve: no matching entries in passwd file"),
            ("broken", "unable to find user broken: no matching entries in passwd file"),
            ("huge", "unable to find user huge: no matching entries in passwd file"),
            ("1x", "unable to find user 1x: no matching entries in passwd file"),
            ("ada:eve", "unable to find group eve: no matching entries in group file"),
        ] {
            assert_eq!(ids(text).expect_err(text).to_string(), message);
        }
    }

    #[test]
    fn homes() {
        for (text, home) in [("ada", "/home/ada"), ("homeless", "/"), ("4711", "/"), ("", "/root")] {
            assert_eq!(find(text, PASSWD, GROUP).expect(text).home, home);
        }
        assert_eq!(find("", "", "").expect("root").home, "/");
    }
}
