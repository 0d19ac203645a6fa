//! HEALTHCHECK and `--health-*`: how one finds out whether a container does what it is for (moby, `api/types/container`,
//! `HealthConfig`; docker/cli, `container/opts.go`). Pure.

use crate::time;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// What was asked for; `None` is as the image says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// `--no-healthcheck`, or the command `none`.
    pub off: bool,
    /// `--health-cmd`: `Test` in docker's form, `["CMD-SHELL", "…"]`.
    pub test: Option<Vec<String>>,
    /// `--health-interval`, nanoseconds, as all of them.
    pub interval: Option<i64>,
    /// `--health-timeout`.
    pub timeout: Option<i64>,
    /// `--health-start-period`.
    pub start_period: Option<i64>,
    /// `--health-start-interval`.
    pub start_interval: Option<i64>,
    /// `--health-retries`.
    pub retries: Option<u32>,
    /// `--health-on-failure`.
    pub on_failure: OnFailure,
}

/// What happens to a container that is unhealthy, in podman's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It is shown.
    #[default]
    None,
    /// It is killed.
    Kill,
    /// It is killed and started again.
    Restart,
    /// It is stopped.
    Stop,
}

/// How it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// From the end of one to the next.
    pub interval: Duration,
    /// Longer is a failure.
    pub timeout: Duration,
    /// As long failures do not count, as long as none went well.
    pub start_period: Duration,
    /// The interval during that time.
    pub start_interval: Duration,
    /// So many failures in a row are too many.
    pub retries: u32,
    /// And then this happens.
    pub on_failure: OnFailure,
}

/// Key of a container's configuration, as in podman.
const ON_FAILURE: &str = "HealthcheckOnFailureAction";

impl Asked {
    /// What the configuration says of it, given what the image's says: `Healthcheck`, in nanoseconds.
    pub fn merged(&self, image: &Value) -> Value {
        if self.off {
            return json!({ "Test": ["NONE"] });
        }
        let mut merged = image.as_object().cloned().unwrap_or_default();
        if let Some(test) = &self.test {
            merged.insert("Test".to_owned(), json!(test));
        }
        let times = [
            ("Interval", self.interval),
            ("Timeout", self.timeout),
            ("StartPeriod", self.start_period),
            ("StartInterval", self.start_interval),
            ("Retries", self.retries.map(i64::from)),
        ];
        for (key, value) in times {
            if let Some(value) = value {
                merged.insert(key.to_owned(), json!(value));
            }
        }
        if merged.is_empty() { Value::Null } else { merged.into() }
    }

    /// The key and the value beside it, if there is something to say.
    pub fn action(&self) -> Option<(&'static str, Value)> {
        (self.on_failure != OnFailure::None).then(|| (ON_FAILURE, json!(self.on_failure)))
    }
}

impl Check {
    /// What a container's configuration says; `None` if it is not checked.
    pub fn of(config: &Value) -> Option<Check> {
        let about = &config["Healthcheck"];
        let words: Vec<&str> = about["Test"].as_array()?.iter().filter_map(Value::as_str).collect();
        let command = match words.as_slice() {
            ["CMD-SHELL", command, ..] => vec!["/bin/sh", "-c", command],
            ["CMD", command @ ..] if !command.is_empty() => command.to_vec(),
            _ => return None,
        };
        let time = |key: &str, default: u64| match about[key].as_u64() {
            None | Some(0) => Duration::from_secs(default),
            Some(nanos) => Duration::from_nanos(nanos),
        };
        Some(Check {
            command: command.into_iter().map(str::to_owned).collect(),
            interval: time("Interval", 30),
            timeout: time("Timeout", 30),
            start_period: time("StartPeriod", 0),
            start_interval: time("StartInterval", 5),
            retries: about["Retries"]
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
                .filter(|n| *n > 0)
                .unwrap_or(3),
            on_failure: serde_json::from_value(config[ON_FAILURE].clone()).unwrap_or_default(),
        })
    }
}

/// Reads `--health-cmd`: a line for the shell, `none`, or podman's JSON list, whose first word may be one of docker's.
pub fn command(text: &str) -> Result<Option<Vec<String>>> {
    if text == "none" {
        return Ok(None);
    }
    ensure!(!text.is_empty(), "no command");
    if text.starts_with('[') {
        let mut words: Vec<String> = serde_json::from_str(text).context("a JSON list of words")?;
        match words.first().map(String::as_str) {
            Some("NONE" | "none") => return Ok(None),
            Some("CMD" | "CMD-SHELL") if words.len() > 1 => return Ok(Some(words)),
            Some("CMD" | "CMD-SHELL") | None => bail!("no command"),
            Some(_) => {
                words.insert(0, "CMD".to_owned());
                return Ok(Some(words));
            }
        }
    }
    Ok(Some(vec!["CMD-SHELL".to_owned(), text.to_owned()]))
}

/// Reads a span such as `30s` or `1m30s`: nanoseconds. docker wants a millisecond at least, or 0, which is the default.
pub fn span(text: &str) -> Result<i64> {
    let nanos = time::parse_span(text)?;
    ensure!(nanos == 0 || nanos >= 1_000_000, "at least 1ms is wanted, or 0");
    Ok(nanos)
}

/// Reads `--health-on-failure`.
pub fn on_failure(text: &str) -> Result<OnFailure> {
    match text {
        "none" => Ok(OnFailure::None),
        "kill" => Ok(OnFailure::Kill),
        "restart" => Ok(OnFailure::Restart),
        "stop" => Ok(OnFailure::Stop),
        _ => bail!("none, kill, restart or stop is wanted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let words = |text: &str| command(text).expect(text);
        assert_eq!(words("curl -f x || exit 1").expect("one"), ["CMD-SHELL", "curl -f x || exit 1"]);
        assert_eq!(words(r#"["curl", "-f"]"#).expect("one"), ["CMD", "curl", "-f"]);
        assert_eq!(words(r#"["CMD-SHELL", "x"]"#).expect("one"), ["CMD-SHELL", "x"]);
        assert_eq!((words("none"), words(r#"["NONE"]"#)), (None, None));
        for text in ["", "[]", r#"["CMD"]"#, "[1]", "[\"x\""] {
            assert!(command(text).is_err(), "{text}");
        }
        assert!(span("1us").is_err() && span("-1s").is_err() && on_failure("panic").is_err());
    }

    #[test]
    fn options_over_the_image() {
        let image = json!({ "Test": ["CMD", "a"], "Interval": 5_000_000_000_i64, "Retries": 7 });
        let asked = Asked { timeout: Some(2_000_000_000), on_failure: OnFailure::Kill, ..Asked::default() };
        let mut config = json!({ "Healthcheck": asked.merged(&image) });
        let (key, value) = asked.action().expect("one");
        config[key] = value;
        let check = Check::of(&config).expect("one");
        assert_eq!((check.command.as_slice(), check.retries), (&["a".to_owned()][..], 7));
        let seconds = Duration::from_secs;
        assert_eq!((check.interval, check.timeout, check.start_interval), (seconds(5), seconds(2), seconds(5)));
        assert_eq!((check.start_period, check.on_failure), (seconds(0), OnFailure::Kill));
        let off = Asked { off: true, ..Asked::default() };
        assert_eq!(Check::of(&json!({ "Healthcheck": off.merged(&image) })), None);
        assert_eq!(Asked::default().merged(&Value::Null), Value::Null);
        assert_eq!(Check::of(&json!({})), None);
    }
}
