//! The option words of a Spec's mount: what is an attribute of the mount, what goes to the filesystem.

use crate::sys::mount::{Attr, Propagation};
use anyhow::{Result, bail};

/// A word of a bind that other runtimes know nothing of (to mount(8) what begins with `x-` is a comment, and the kernel
/// reads no options of a bind): if the source is an empty directory, it first gets what the root filesystem has at the
/// target, as docker fills a new volume.
pub const COPY_UP: &str = "x-rbox.copyup";

/// What the words of one mount come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Attributes to set on the mount itself.
    pub set: Attr,
    /// Attributes to set on it and on all below it: `rro`, `rnosuid` and so on.
    pub set_recursive: Attr,
    /// `bind` or `rbind`.
    pub bind: Option<Bind>,
    /// [`COPY_UP`].
    pub copy_up: bool,
    /// The propagation, and whether it reaches below.
    pub propagation: Option<(Propagation, bool)>,
    /// `key=value` and flags for the filesystem.
    pub data: Vec<(String, Option<String>)>,
}

/// The kind of a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    /// What is mounted below the source stays away.
    Plain,
    /// With what is mounted below the source.
    Recursive,
}

impl MountOptions {
    /// Reads option words in the vocabulary of runtime-spec config-linux.md ("Linux mount options"). Later words undo
    /// earlier ones.
    pub fn parse(words: &[String]) -> Result<MountOptions> {
        let mut options = MountOptions {
            set: Attr::empty(),
            set_recursive: Attr::empty(),
            bind: None,
            copy_up: false,
            propagation: None,
            data: Vec::new(),
        };
        for word in words {
            options.read(word)?;
        }
        Ok(options)
    }

    fn read(&mut self, word: &str) -> Result<()> {
        if let Some((attr, on)) = attribute(word) {
            // The access time modes are one field of two bits, not flags (mount_setattr(2)).
            self.set.set(attr, on);
            return Ok(());
        }
        if let Some((attr, on)) = word.strip_prefix('r').filter(|_| word != "ro" && word != "rw").and_then(attribute) {
            self.set_recursive.set(attr, on);
            return Ok(());
        }
        match word {
            "defaults" | "async" | "loud" | "nomand" | "auto" | "noauto" | "user" | "nouser" => {}
            "bind" => self.bind = Some(Bind::Plain),
            "rbind" => self.bind = Some(Bind::Recursive),
            COPY_UP => self.copy_up = true,
            "private" => self.propagation = Some((Propagation::PRIVATE, false)),
            "rprivate" => self.propagation = Some((Propagation::PRIVATE, true)),
            "slave" => self.propagation = Some((Propagation::DOWNSTREAM, false)),
            "rslave" => self.propagation = Some((Propagation::DOWNSTREAM, true)),
            "shared" => self.propagation = Some((Propagation::SHARED, false)),
            "rshared" => self.propagation = Some((Propagation::SHARED, true)),
            "unbindable" => self.propagation = Some((Propagation::UNBINDABLE, false)),
            "runbindable" => self.propagation = Some((Propagation::UNBINDABLE, true)),
            "idmap" | "ridmap" => {
                bail!("mount option {word}: id-mapped mounts need privilege over the filesystem, which no user has")
            }
            "tmpcopyup" | "copy-symlink" | "src-nofollow" | "dest-nofollow" => {
                bail!("mount option {word}: an extension of another runtime that rbox does not have")
            }
            _ => self.data.push(match word.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            }),
        }
        Ok(())
    }

    /// The pairs for fsconfig(2).
    pub fn pairs(&self) -> Vec<(&str, Option<&str>)> {
        self.data.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect()
    }

    /// The words as mount(2) takes them.
    pub fn joined(&self) -> String {
        let word = |(key, value): &(String, Option<String>)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        };
        self.data.iter().map(word).collect::<Vec<_>>().join(",")
    }
}

/// The attribute that a word names and whether it turns it on.
fn attribute(word: &str) -> Option<(Attr, bool)> {
    Some(match word {
        "ro" => (Attr::MOUNT_ATTR_RDONLY, true),
        "rw" => (Attr::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (Attr::MOUNT_ATTR_NOSUID, true),
        "suid" => (Attr::MOUNT_ATTR_NOSUID, false),
        "nodev" => (Attr::MOUNT_ATTR_NODEV, true),
        "dev" => (Attr::MOUNT_ATTR_NODEV, false),
        "noexec" => (Attr::MOUNT_ATTR_NOEXEC, true),
        "exec" => (Attr::MOUNT_ATTR_NOEXEC, false),
        "nosymfollow" => (Attr::MOUNT_ATTR_NOSYMFOLLOW, true),
        "symfollow" => (Attr::MOUNT_ATTR_NOSYMFOLLOW, false),
        "nodiratime" => (Attr::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (Attr::MOUNT_ATTR_NODIRATIME, false),
        "noatime" => (Attr::MOUNT_ATTR_NOATIME, true),
        "atime" => (Attr::MOUNT_ATTR_NOATIME, false),
        "strictatime" => (Attr::MOUNT_ATTR_STRICTATIME, true),
        "nostrictatime" => (Attr::MOUNT_ATTR_STRICTATIME, false),
        // The kernel's default.
        "relatime" | "norelatime" => (Attr::empty(), true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> MountOptions {
        MountOptions::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).expect("valid")
    }

    #[test]
    fn words_become_attributes_and_data() {
        let options = parse(&["nosuid", "rbind", "rro", "rslave", "mode=755", "size=64k", "noswap", "ro", "rw"]);
        assert_eq!(options.set, Attr::MOUNT_ATTR_NOSUID);
        assert_eq!(options.set_recursive, Attr::MOUNT_ATTR_RDONLY);
        assert_eq!(options.bind, Some(Bind::Recursive));
        assert_eq!(options.propagation, Some((Propagation::DOWNSTREAM, true)));
        assert_eq!(options.joined(), "mode=755,size=64k,noswap");
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for word in ["idmap", "tmpcopyup"] {
            assert!(MountOptions::parse(&[word.to_owned()]).is_err(), "{word}");
        }
    }
}
