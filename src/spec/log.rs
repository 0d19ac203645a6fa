//! `--log-driver` and `--log-opt`: what becomes of a container's output.

use super::size;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is kept of a container's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// In which form.
    pub driver: Driver,
    /// How long a file gets, bytes, before the next one begins; 0 is no limit.
    pub max_size: u64,
    /// How many files there are, the one that is written to among them; at least 1.
    pub max_file: u32,
    /// What an entry of the journal is called; docker's placeholders are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// What a tag's placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub struct Tagged<'a> {
    /// 64 hexadecimal digits.
    pub id: &'a str,
    /// The container's name.
    pub name: &'a str,
    /// The image's, as it was typed; empty if there is none.
    pub image: &'a str,
    /// Its id, with its algorithm.
    pub image_id: &'a str,
}

/// The form, in docker's and podman's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// docker's: a JSON object for each line.
    #[default]
    JsonFile,
    /// podman's, which is Kubernetes' (CRI): time, stream, whether the line is whole, the line.
    K8sFile,
    /// systemd's journal.
    Journald,
    /// Nothing is kept.
    None,
    /// Nothing is kept, and rbox's own standard streams are the container's.
    Passthrough,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::JsonFile => "json-file",
            Driver::K8sFile => "k8s-file",
            Driver::Journald => "journald",
            Driver::None => "none",
            Driver::Passthrough => "passthrough",
        })
    }
}

impl Default for Log {
    /// docker keeps all for ever by default, and its users' disks are full of it.
    fn default() -> Log {
        Log { driver: Driver::default(), max_size: 10 << 20, max_file: 3, tag: None }
    }
}

/// Reads `--log-driver`.
pub fn driver(text: &str) -> Result<Driver> {
    match text {
        "json-file" => Ok(Driver::JsonFile),
        "k8s-file" => Ok(Driver::K8sFile),
        "journald" => Ok(Driver::Journald),
        "none" => Ok(Driver::None),
        "passthrough" => Ok(Driver::Passthrough),
        _ => bail!("not one of json-file, k8s-file, journald, none, passthrough"),
    }
}

impl Log {
    /// Takes one `--log-opt KEY=VALUE` in.
    pub fn set(&mut self, text: &str) -> Result<()> {
        let has_options = matches!(self.driver, Driver::JsonFile | Driver::K8sFile | Driver::Journald);
        ensure!(has_options, "the driver {} has no options", self.driver);
        let (key, value) = text.split_once('=').context("KEY=VALUE is wanted")?;
        if self.driver == Driver::Journald {
            return self.set_of_journal(key, value);
        }
        match key {
            "max-size" if value == "-1" => self.max_size = 0,
            "max-size" => {
                self.max_size = size::parse(value)?;
                ensure!(self.max_size > 0, "max-size must be a positive number, or -1 for no limit");
            }
            "max-file" => {
                self.max_file = value.parse().ok().filter(|count| (1..=1000).contains(count)).context("1 to 1000")?;
            }
            // What it says is so.
            "mode" if value == "blocking" => {}
            _ => {
                bail!("there is no such option, or not with this value: max-size, max-file and mode=blocking are there")
            }
        }
        Ok(())
    }

    fn set_of_journal(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "tag" => {
                tag(value, &Tagged { id: "", name: "", image: "", image_id: "" })?;
                self.tag = Some(value.to_owned());
            }
            // What it says is so.
            "mode" if value == "non-blocking" => {}
            _ => bail!("there is no such option, or not with this value: tag and mode=non-blocking are there"),
        }
        Ok(())
    }

    /// What its entries in the journal are called.
    pub fn tag(&self, about: &Tagged<'_>) -> String {
        // It was read before.
        tag(self.tag.as_deref().unwrap_or("{{.ID}}"), about).unwrap_or_default()
    }
}

/// Puts words in the places of docker's placeholders (moby, `daemon/logger/loginfo.go`).
fn tag(text: &str, about: &Tagged<'_>) -> Result<String> {
    let short = |id: &str| id.rsplit(':').next().unwrap_or_default().chars().take(12).collect::<String>();
    let mut all = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (inside, after) = behind.split_once("}}").context("{{ without an end")?;
        all += before;
        all += &match inside.trim() {
            ".ID" => short(about.id),
            ".FullID" => about.id.to_owned(),
            ".Name" => about.name.to_owned(),
            ".ImageName" => about.image.to_owned(),
            ".ImageID" => short(about.image_id),
            ".ImageFullID" => about.image_id.to_owned(),
            ".DaemonName" => "rbox".to_owned(),
            _ => bail!(
                "{{{{{inside}}}}}: .ID, .FullID, .Name, .ImageName, .ImageID, .ImageFullID, .DaemonName are there"
            ),
        };
        rest = after;
    }
    Ok(all + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_and_options() {
        for name in ["json-file", "k8s-file", "journald", "none", "passthrough"] {
            assert_eq!(driver(name).unwrap().to_string(), name);
        }
        assert!(driver("syslog").is_err());
        let mut log = Log::default();
        for text in ["max-size=1k", "max-file=5", "mode=blocking"] {
            log.set(text).unwrap();
        }
        assert_eq!(log, Log { driver: Driver::JsonFile, max_size: 1024, max_file: 5, tag: None });
        log.set("max-size=-1").unwrap();
        assert_eq!(log.max_size, 0);
        for text in [
            "max-size",
            "max-size=x",
            "max-size=0",
            "max-size=-2",
            "max-size=0k",
            "max-file=0",
            "max-file=1001",
            "mode=non-blocking",
            "tag=x",
            "",
        ] {
            assert!(log.set(text).is_err(), "{text}");
        }
        let mut journal = Log { driver: Driver::Journald, ..Log::default() };
        let id = "0123456789abcdef";
        let about = Tagged { id, name: "web", image: "nginx", image_id: "sha256:fedcba9876543210" };
        assert_eq!(journal.tag(&about), "0123456789ab");
        journal.set("tag={{.Name}}/{{ .ImageName }}/{{.ImageID}}/{{.FullID}}{").unwrap();
        assert_eq!(journal.tag(&about), format!("web/nginx/fedcba987654/{id}{{"));
        for text in ["tag={{.Nonsense}}", "tag={{.ID", "max-size=1k", "mode=blocking"] {
            assert!(journal.set(text).is_err(), "{text}");
        }
        assert!(Log { driver: Driver::None, ..Log::default() }.set("max-size=1k").is_err());
    }
}
