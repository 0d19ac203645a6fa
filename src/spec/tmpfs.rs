//! `--tmpfs DST[:OPTIONS]` and the options of tmpfs(5).

use super::options::Mount;
use super::{path, size};
use anyhow::{Result, bail};

/// Reads one `--tmpfs`.
pub fn parse(text: &str) -> Result<Mount> {
    let (target, words) = text.split_once(':').unwrap_or((text, ""));
    let target = path::target(target)?;
    let options = words.split(',').filter(|word| !word.is_empty()).map(option).collect::<Result<_>>()?;
    Ok(Mount::Tmpfs { target, options })
}

/// Checks one option. Sizes are left as the kernel takes them: with `k`, `m`, `g` or `%`.
pub fn option(word: &str) -> Result<String> {
    let fine = match word.split_once('=') {
        Some(("size", value)) => value.strip_suffix('%').map_or_else(|| size::parse(value).is_ok(), is_number),
        Some(("mode", value)) => u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777),
        Some(("uid" | "gid", value)) => is_number(value),
        Some(("nr_inodes" | "nr_blocks", value)) => size::parse(value).is_ok(),
        Some(("mpol" | "huge", value)) => !value.is_empty(),
        Some(_) => false,
        None => FLAGS.iter().any(|(yes, no)| word == *yes || word == *no) || matches!(word, "defaults" | "relatime"),
    };
    if fine {
        return Ok(match word.split_once('=') {
            // docker's units are more than the kernel's.
            Some(("size", value)) if !value.ends_with('%') => format!("size={}", size::parse(value)?),
            _ => word.to_owned(),
        });
    }
    match word {
        // An empty tmpfs is what --tmpfs is; podman's default of a copy is not there.
        "notmpcopyup" => Ok("defaults".to_owned()),
        "tmpcopyup" => bail!("tmpcopyup: a tmpfs filled from the image is not there yet"),
        _ => bail!("invalid tmpfs option {word}"),
    }
}

/// Words that undo each other.
const FLAGS: [(&str, &str); 7] = [
    ("rw", "ro"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("atime", "noatime"),
    ("diratime", "nodiratime"),
    ("strictatime", "nostrictatime"),
];

/// What a tmpfs has unless its options say otherwise, in docker.
const DEFAULTS: [&str; 4] = ["noexec", "nosuid", "nodev", "rprivate"];

/// The options with docker's defaults; later words replace earlier ones and their opposites.
pub fn merge(options: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    for option in DEFAULTS.iter().copied().chain(options.iter().map(String::as_str)).filter(|word| *word != "defaults")
    {
        let opposite = FLAGS.iter().find_map(|(a, b)| match option {
            _ if option == *a => Some(*b),
            _ if option == *b => Some(*a),
            _ => None,
        });
        let key = |word: &str| word.split_once('=').map(|(key, _)| key.to_owned());
        merged.retain(|known| {
            known != option && Some(known.as_str()) != opposite && (key(known).is_none() || key(known) != key(option))
        });
        merged.push(option.to_owned());
    }
    merged
}

fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, Vec<String>)> {
        match parse(text)? {
            Mount::Tmpfs { target, options } => Ok((target, options)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn forms() {
        let table: [(&str, &str, &[&str]); 5] = [
            ("/t", "/t", &[]),
            ("/t:", "/t", &[]),
            ("/t/:rw,exec,mode=1777", "/t", &["rw", "exec", "mode=1777"]),
            ("/t:size=64m,uid=1000", "/t", &["size=67108864", "uid=1000"]),
            ("/t:size=50%", "/t", &["size=50%"]),
        ];
        for (text, target, options) in table {
            let options = options.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(read(text).expect(text), (target.to_owned(), options), "{text}");
        }
        for text in ["t", "/", "/t:foo", "/t:size=x", "/t:mode=9", "/t:uid=ada", "/t:tmpcopyup", "/t:bind", "/t:a=b"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn later_words_win() {
        let table: [(&[&str], &[&str]); 3] = [
            (&[], &["noexec", "nosuid", "nodev", "rprivate"]),
            (&["exec", "size=1", "rw", "ro"], &["nosuid", "nodev", "rprivate", "exec", "size=1", "ro"]),
            (&["size=1", "mode=700", "size=2"], &["noexec", "nosuid", "nodev", "rprivate", "mode=700", "size=2"]),
        ];
        for (options, merged) in table {
            assert_eq!(merge(&options.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()), merged);
        }
    }
}
