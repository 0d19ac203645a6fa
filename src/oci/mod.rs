//! `rbox-runtime`: the same engine as an OCI runtime, for podman, containerd and whoever else drives one.
//!
//! The command line follows runc's. There is no supervisor: the container's first process belongs to whoever called,
//! and the state directory says what became of it.

pub mod command;
pub mod container;
pub mod verbs;

use crate::error::Failure;
use clap::Parser;
use command::{Cli, LogFormat, Verb};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, the rest to standard error; if that is closed nobody can be told.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 1 } else { 0 });
        }
    };
    let result = crate::sys::signal::prepare().map_err(Into::into).and_then(|()| run(&cli));
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let failure = Failure::from(&error);
            report(&cli, &failure);
            ExitCode::from(1)
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    crate::sys::process::set_plain_umask();
    let root = match &cli.root {
        Some(root) => root.clone(),
        None => crate::paths::runtime_dir()?.join("oci"),
    };
    match &cli.verb {
        Verb::Create(create) => verbs::create(&root, create).map(|()| 0),
        Verb::Run(create) => verbs::run(&root, create),
        Verb::Start { id } => verbs::start(&root, id).map(|()| 0),
        Verb::State { id } => {
            let text = serde_json::to_string_pretty(&container::Container::open(&root, id)?.state()?)?;
            writeln!(std::io::stdout(), "{text}")?;
            Ok(0)
        }
        Verb::Kill { id, signal, .. } => verbs::kill(&root, id, signal).map(|()| 0),
        Verb::Delete { id, force } => verbs::delete(&root, id, *force).map(|()| 0),
    }
}

/// Says what went wrong and ends nothing.
fn note(error: &anyhow::Error) {
    let failure = Failure::from(error);
    let message = format!("note: {}", failure.message);
    // With standard error closed nobody can be told.
    let _ = std::io::stderr().write_all(Failure { message, ..failure }.render().as_bytes());
}

/// Engines read the error from the log that they name; people read standard error.
fn report(cli: &Cli, failure: &Failure) {
    // With standard error closed nobody can be told.
    let _ = std::io::stderr().write_all(failure.render().as_bytes());
    let Some(path) = &cli.log else { return };
    let line = match cli.log_format {
        LogFormat::Json => {
            let line = serde_json::json!({ "level": "error", "msg": failure.message, "time": now() });
            format!("{line}\n")
        }
        LogFormat::Text => failure.render(),
    };
    if let Err(error) = append(path, &line) {
        let _ = writeln!(std::io::stderr(), "rbox: --log: {error}");
    }
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    fs_err::OpenOptions::new().append(true).create(true).open(path)?.write_all(line.as_bytes())
}

/// The time as RFC 3339 has it, in UTC.
pub(crate) fn now() -> String {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (time.as_secs() / 86_400, time.as_secs() % 86_400);
    let (year, month, day) = date(days as i64);
    let (hour, minute) = (second / 3600, second % 3600 / 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:09}Z", second % 60, time.subsec_nanos())
}

/// The Gregorian date of a day counted from 1970-01-01. The year is taken to begin in March, so that the leap day is
/// its last: then the month follows from the day by one division.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        assert_eq!(super::date(0), (1970, 1, 1));
        assert_eq!(super::date(11_016), (2000, 2, 29));
        assert_eq!(super::date(20_781), (2026, 11, 24));
    }
}
