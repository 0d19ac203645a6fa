//! The words that qualify a bind mount or a volume, the same in `-v` and `--mount`.

use super::options::{Mount, Propagation, Volume};
use crate::error::Advise;
use anyhow::{Result, anyhow, bail};
use std::path::PathBuf;

/// The words read so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    readonly: Option<bool>,
    recursive: Option<bool>,
    propagation: Option<Propagation>,
    /// For suid, dev and exec: whether the word forbids.
    flags: Vec<(&'static str, bool)>,
    overlay: bool,
    relabel: Option<bool>,
    copy: Option<bool>,
}

impl Words {
    /// Reads a word; false if it is none of these. `selinux`: whether this host enforces labels.
    pub fn read(&mut self, word: &str, selinux: bool) -> Result<bool> {
        match word {
            "ro" | "readonly" => self.readonly(true)?,
            // A read-only bind is so with all that is mounted below it, as in docker since 25.0.
            "rro" => self.readonly(true)?,
            "rw" | "readwrite" => self.readonly(false)?,
            "bind" => self.recursive(false)?,
            "rbind" => self.recursive(true)?,
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => self.propagation(word)?,
            "nosuid" => self.flag("nosuid", true)?,
            "suid" => self.flag("nosuid", false)?,
            "nodev" => self.flag("nodev", true)?,
            "dev" => self.flag("nodev", false)?,
            "noexec" => self.flag("noexec", true)?,
            "exec" => self.flag("noexec", false)?,
            "O" => self.overlay = true,
            "z" | "Z" => self.relabel(word == "Z", selinux)?,
            "U" => {
                return Err(anyhow!("U: the owners of the host's files are not changed"))
                    .hint(|| "--userns keep-id:uid=N,gid=N makes you that user in the container".to_owned());
            }
            "nocopy" => self.copy(false)?,
            "copy" => self.copy(true)?,
            "idmap" => bail!("idmap: id-mapped mounts need privilege over the filesystem, which no user has"),
            "cached" | "delegated" | "consistent" | "default" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `ro` or `rw`.
    pub fn readonly(&mut self, on: bool) -> Result<()> {
        set(&mut self.readonly, on, "ro and rw")
    }

    /// `rbind` or `bind`.
    pub fn recursive(&mut self, on: bool) -> Result<()> {
        set(&mut self.recursive, on, "bind and rbind")
    }

    /// `rprivate` and the others.
    pub fn propagation(&mut self, word: &str) -> Result<()> {
        let kind = match word {
            "private" => Propagation::Private,
            "rprivate" | "" => Propagation::RPrivate,
            "slave" => Propagation::Slave,
            "rslave" => Propagation::RSlave,
            "shared" | "rshared" => {
                // The kernel makes the copy a slave when it crosses into a less privileged mount namespace
                // (mount_namespaces(7), "Restrictions on mount namespaces").
                return Err(anyhow!("{word}: without root no mount gets from a container to the host"))
                    .hint(|| "rslave lets the host's mounts into the container".to_owned());
            }
            _ => bail!("{word}: not a propagation"),
        };
        set(&mut self.propagation, kind, "two kinds of propagation")
    }

    /// `z` or `Z`: new SELinux labels for the source. docker leaves it alone where SELinux is off, since it means
    /// nothing there.
    pub fn relabel(&mut self, own: bool, selinux: bool) -> Result<()> {
        if selinux {
            let word = if own { "Z" } else { "z" };
            return Err(anyhow!("{word}: SELinux labels are not there yet"))
                .hint(|| "`chcon -R -t container_file_t DIR` does what it would do".to_owned());
        }
        set(&mut self.relabel, own, "z and Z")
    }

    /// `copy` or `nocopy`.
    pub fn copy(&mut self, on: bool) -> Result<()> {
        set(&mut self.copy, on, "copy and nocopy")
    }

    fn flag(&mut self, name: &'static str, on: bool) -> Result<()> {
        match self.flags.iter().find(|(known, _)| *known == name) {
            Some((_, other)) if *other != on => bail!("{name} and its opposite exclude each other"),
            Some(_) => {}
            None => self.flags.push((name, on)),
        }
        Ok(())
    }

    /// The bind mount that the words describe. One is never filled from the image: `nocopy` has nothing to leave out.
    pub fn mount(self, source: PathBuf, target: String) -> Result<Mount> {
        if self.copy == Some(true) {
            bail!("copy: only a volume can be filled from the image");
        }
        if self.overlay {
            let rest =
                Words { overlay: false, relabel: None, copy: None, readonly: self.readonly.filter(|on| *on), ..self };
            if rest != Words::default() {
                bail!("O excludes all other words: changes go to an upper layer of its own");
            }
            return Ok(Mount::Overlay { source, target });
        }
        Ok(Mount::Bind {
            source,
            target,
            readonly: self.readonly.unwrap_or(false),
            recursive: self.recursive.unwrap_or(true),
            propagation: self.propagation.unwrap_or_default(),
            flags: self.flags(),
        })
    }

    /// The volume that the words describe.
    pub fn volume(self, name: Option<String>, target: String) -> Result<Volume> {
        if self.overlay {
            return Err(anyhow!("O: a volume keeps its changes"))
                .hint(|| "a directory of the host can be mounted so that changes are thrown away".to_owned());
        }
        if self.propagation.is_some() || self.recursive.is_some() {
            bail!("propagation, bind and rbind are for directories of the host: nothing is mounted below a volume");
        }
        Ok(Volume {
            name,
            target,
            readonly: self.readonly.unwrap_or(false),
            nocopy: self.copy == Some(false),
            flags: self.flags(),
            ..Volume::default()
        })
    }

    fn flags(&self) -> Vec<String> {
        self.flags.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()).collect()
    }
}

/// The same twice is fine, two different ones are not.
fn set<T: PartialEq>(slot: &mut Option<T>, value: T, names: &str) -> Result<()> {
    if slot.as_ref().is_some_and(|known| *known != value) {
        bail!("{names} exclude each other");
    }
    *slot = Some(value);
    Ok(())
}
