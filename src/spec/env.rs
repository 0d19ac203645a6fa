//! `-e` and `--env-file` (docker/cli, `opts/env.go`, `pkg/kvfile`).

use anyhow::{Context, Result, bail};

/// One setting: the name and its value, or none if the name is to be taken out of the image's environment.
pub type Setting = (String, Option<String>);

/// Reads one `-e`: `NAME=VALUE`, or `NAME` for the caller's value, which `lookup` gives. A name that the caller has not
/// is unset, as in docker.
pub fn parse(text: &str, lookup: impl Fn(&str) -> Result<Option<String>>) -> Result<Setting> {
    match text.split_once('=') {
        Some(("", _)) => bail!("no name before the ="),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None if text.is_empty() => bail!("no name"),
        None => Ok((text.to_owned(), lookup(text)?)),
    }
}

/// Reads the contents of an `--env-file`: `NAME=VALUE` or `NAME` on a line, `#` at the start of one for a comment,
/// white space before a name left out. Nothing is quoted and nothing expanded: a value is the rest of the line. A name
/// alone that the caller does not have is left out.
pub fn parse_file(contents: &[u8], lookup: impl Fn(&str) -> Result<Option<String>>) -> Result<Vec<(String, String)>> {
    let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
    let mut settings = Vec::new();
    for (number, line) in (1..).zip(contents.split(|byte| *byte == b'\n')) {
        let line = std::str::from_utf8(line).ok().with_context(|| format!("line {number}: not UTF-8"))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, lookup(line).with_context(|| format!("line {number}"))?),
        };
        if name.is_empty() {
            bail!("line {number}: no name before the =");
        }
        if name.contains(char::is_whitespace) {
            bail!("line {number}: white space in the name '{name}'");
        }
        if line.contains('\0') {
            bail!("line {number}: a NUL byte");
        }
        if let Some(value) = value {
            settings.push((name.to_owned(), value));
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Result<Option<String>> {
        Ok((name == "LANG").then(|| "C".to_owned()))
    }

    fn set(name: &str, value: &str) -> Setting {
        (name.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn options() {
        for (text, setting) in [
            ("A=1", set("A", "1")),
            ("A=", set("A", "")),
            ("A=b=c", set("A", "b=c")),
            ("A=\"x y\"", set("A", "\"x y\"")),
            ("LANG", set("LANG", "C")),
            ("SECRET", ("SECRET".to_owned(), None)),
            ("HOME*", ("HOME*".to_owned(), None)),
        ] {
            assert_eq!(parse(text, lookup).expect(text), setting);
        }
        assert!(parse("=1", lookup).is_err() && parse("", lookup).is_err());
    }

    #[test]
    fn files() {
        let file = b"\xef\xbb\xbf# comment\r\n\n  A=1 \r\nB='x' # not a comment\n\tLANG\nSECRET\nC=\n #D=1\nE=b=c";
        let settings = parse_file(file, lookup).expect("a good file");
        let pairs: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("A", "1 "), ("B", "'x' # not a comment"), ("LANG", "C"), ("C", ""), ("E", "b=c")]);
        for (file, message) in [
            (&b"A=1\n=2"[..], "line 2: no name before the ="),
            (b"export A=1", "line 1: white space in the name 'export A'"),
            (b"A\t=1", "line 1: white space in the name 'A\t'"),
            (b"A=1\nB=\xff", "line 2: not UTF-8"),
            (b"A=\0", "line 1: a NUL byte"),
        ] {
            assert_eq!(parse_file(file, lookup).expect_err(message).to_string(), message);
        }
    }
}
