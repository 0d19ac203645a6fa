//! `--change`: lines of a Dockerfile that change an image's configuration (docs.docker.com, "Dockerfile reference").

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

/// Applies one line to the value of `config` in an image's configuration.
pub fn apply(config: &mut Map<String, Value>, line: &str) -> Result<()> {
    change(config, line.trim()).with_context(|| format!("--change {line:?}"))
}

fn change(config: &mut Map<String, Value>, line: &str) -> Result<()> {
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let rest = rest.trim();
    let word = word.to_ascii_uppercase();
    ensure!(!rest.is_empty() || matches!(word.as_str(), "CMD" | "ENTRYPOINT"), "{word}: no value");
    match word.as_str() {
        "CMD" => drop(config.insert("Cmd".to_owned(), command(rest))),
        "ENTRYPOINT" => drop(config.insert("Entrypoint".to_owned(), command(rest))),
        "USER" => drop(config.insert("User".to_owned(), json!(single(rest)?))),
        "STOPSIGNAL" => drop(config.insert("StopSignal".to_owned(), json!(single(rest)?))),
        "WORKDIR" => {
            let dir = single(rest)?;
            let known = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/");
            let dir = if dir.starts_with('/') { dir } else { format!("{}/{dir}", known.trim_end_matches('/')) };
            config.insert("WorkingDir".to_owned(), json!(dir));
        }
        "ENV" => {
            for (name, value) in pairs(rest)? {
                let mut env: Vec<Value> = config.get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
                let is_it =
                    |entry: &Value| entry.as_str().and_then(|e| e.split_once('=')).is_some_and(|(n, _)| n == name);
                let entry = json!(format!("{name}={value}"));
                match env.iter_mut().find(|known| is_it(known)) {
                    Some(known) => *known = entry,
                    None => env.push(entry),
                }
                config.insert("Env".to_owned(), env.into());
            }
        }
        "LABEL" => {
            for (name, value) in pairs(rest)? {
                put(config, "Labels", name, json!(value));
            }
        }
        "EXPOSE" => {
            for port in words(rest)? {
                let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
                let (first, last) = number.split_once('-').unwrap_or((number, number));
                let well = [first, last].iter().all(|n| n.parse::<u16>().is_ok_and(|n| n > 0));
                ensure!(well && matches!(protocol, "tcp" | "udp" | "sctp"), "{port}: not a port");
                put(config, "ExposedPorts", format!("{number}/{protocol}"), json!({}));
            }
        }
        "VOLUME" => {
            for path in list(rest).map_or_else(|| words(rest), Ok)? {
                put(config, "Volumes", path, json!({}));
            }
        }
        "ONBUILD" => {
            let mut all = config.get("OnBuild").and_then(Value::as_array).cloned().unwrap_or_default();
            all.push(json!(rest));
            config.insert("OnBuild".to_owned(), all.into());
        }
        "HEALTHCHECK" => drop(config.insert("Healthcheck".to_owned(), healthcheck(rest)?)),
        _ => bail!(
            "{word}: not one of CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR"
        ),
    }
    Ok(())
}

/// A JSON list of words, or a line for the shell.
fn command(text: &str) -> Value {
    match list(text) {
        Some(words) => json!(words),
        None if text.is_empty() => json!([]),
        None => json!(["/bin/sh", "-c", text]),
    }
}

fn list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// Adds to an object that may be missing, or be something else.
fn put(config: &mut Map<String, Value>, key: &str, name: String, value: Value) {
    let mut object = config.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    object.insert(name, value);
    config.insert(key.to_owned(), object.into());
}

fn single(text: &str) -> Result<String> {
    let mut words = words(text)?.into_iter();
    match (words.next(), words.next()) {
        (Some(word), None) => Ok(word),
        _ => bail!("one word is wanted"),
    }
}

/// `NAME=VALUE…`, or the old form `NAME VALUE`.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let words = words(text)?;
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (name, value) = text.split_once([' ', '\t']).context("no value")?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    words
        .into_iter()
        .map(|word| {
            let (name, value) = word.split_once('=').with_context(|| format!("{word}: no ="))?;
            ensure!(!name.is_empty(), "{word}: no name");
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Words with quotes and backslashes as the shell has them.
fn words(text: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\\', open) if open != Some('\'') => {
                word.get_or_insert_default().push(chars.next().context("a backslash at the end")?);
            }
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => all.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    ensure!(quote.is_none(), "a quote without its end");
    all.extend(word);
    Ok(all)
}

/// `NONE`, or options and then `CMD` and a command. Durations are nanoseconds in an image.
fn healthcheck(text: &str) -> Result<Value> {
    if text.eq_ignore_ascii_case("NONE") {
        return Ok(json!({ "Test": ["NONE"] }));
    }
    let mut check = Map::new();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once([' ', '\t']).context("HEALTHCHECK: no CMD")?;
        rest = after.trim_start();
        let (name, value) = option.split_once('=').with_context(|| format!("--{option}: no value"))?;
        let span = || crate::time::parse_span(value).with_context(|| format!("--{option}"));
        let (key, value) = match name {
            "interval" => ("Interval", json!(span()?)),
            "timeout" => ("Timeout", json!(span()?)),
            "start-period" => ("StartPeriod", json!(span()?)),
            "start-interval" => ("StartInterval", json!(span()?)),
            "retries" => ("Retries", json!(value.parse::<u32>().with_context(|| format!("--{option}"))?)),
            _ => bail!("--{name}: not an option of HEALTHCHECK"),
        };
        check.insert(key.to_owned(), value);
    }
    let (word, command) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    ensure!(
        word.eq_ignore_ascii_case("CMD") && !command.trim().is_empty(),
        "HEALTHCHECK: CMD and a command are wanted"
    );
    let test = match list(command.trim()) {
        Some(words) => ["CMD".to_owned()].into_iter().chain(words).collect(),
        None => vec!["CMD-SHELL".to_owned(), command.trim().to_owned()],
    };
    check.insert("Test".to_owned(), json!(test));
    Ok(check.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> Value {
        let mut config = Map::new();
        for line in lines {
            apply(&mut config, line).expect(line);
        }
        config.into()
    }

    #[test]
    fn lines() {
        for (lines, expected) in [
            (&["CMD [\"a\", \"b c\"]"][..], json!({ "Cmd": ["a", "b c"] })),
            (&["cmd a  b"], json!({ "Cmd": ["/bin/sh", "-c", "a  b"] })),
            (&["ENTRYPOINT []"], json!({ "Entrypoint": [] })),
            (&["ENV A=1 B='x y'", "ENV A 2 3"], json!({ "Env": ["A=2 3", "B=x y"] })),
            (&["LABEL a=\"b\\\"c\" d=e"], json!({ "Labels": { "a": "b\"c", "d": "e" } })),
            (&["EXPOSE 80 53/udp 1-5"], json!({ "ExposedPorts": { "80/tcp": {}, "53/udp": {}, "1-5/tcp": {} } })),
            (&["VOLUME /a /b", "VOLUME [\"/c d\"]"], json!({ "Volumes": { "/a": {}, "/b": {}, "/c d": {} } })),
            (&["WORKDIR /a/", "WORKDIR b"], json!({ "WorkingDir": "/a/b" })),
            (&["USER app:1", "STOPSIGNAL INT"], json!({ "User": "app:1", "StopSignal": "INT" })),
            (&["ONBUILD RUN x", "ONBUILD RUN y"], json!({ "OnBuild": ["RUN x", "RUN y"] })),
            (&["HEALTHCHECK NONE"], json!({ "Healthcheck": { "Test": ["NONE"] } })),
            (
                &["HEALTHCHECK --interval=5s --retries=2 CMD curl x"],
                json!({ "Healthcheck": { "Test": ["CMD-SHELL", "curl x"], "Interval": 5_000_000_000i64, "Retries": 2 } }),
            ),
        ] {
            assert_eq!(changed(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        for line in [
            "",
            "RUN x",
            "ENV",
            "ENV A",
            "ENV =1",
            "ENV A='1",
            "EXPOSE 0",
            "EXPOSE x",
            "EXPOSE 80/x",
            "USER a b",
            "LABEL \\",
            "HEALTHCHECK x",
            "HEALTHCHECK CMD",
            "HEALTHCHECK --x=1 CMD y",
        ] {
            assert!(apply(&mut Map::new(), line).is_err(), "{line:?}");
        }
    }
}
