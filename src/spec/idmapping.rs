//! `--uidmap` and `--gidmap`: `CONTAINER:FROM[:AMOUNT]` (podman-run(1)).

use super::options::IdMapRequest;
use super::user::MAX_ID;
use anyhow::{Result, bail};

/// Reads one entry. `@` before FROM makes it an id of the host; without it 0 is the caller and 1 the first subordinate
/// id. podman's flags before CONTAINER are refused: they extend a default mapping, and here the entries are all.
pub fn parse(text: &str) -> Result<IdMapRequest> {
    let parts: Vec<&str> = text.split(':').collect();
    let (inside, from, count) = match parts[..] {
        [inside, from] => (inside, from, "1"),
        [inside, from, count] => (inside, from, count),
        _ => bail!("not of the form CONTAINER:FROM[:AMOUNT]"),
    };
    let end = inside.find(|c: char| c.is_ascii_digit()).unwrap_or(inside.len());
    if end > 0 && inside[..end].chars().all(|c| "+ug".contains(c)) {
        bail!("the flags {} are not there: write the whole mapping", &inside[..end]);
    }
    let host = from.starts_with('@');
    let (inside, from, count) = (id(inside)?, id(from.strip_prefix('@').unwrap_or(from))?, id(count)?);
    if count == 0 {
        bail!("an amount of 0 maps nothing");
    }
    if u64::from(inside.max(from)) + u64::from(count) > u64::from(MAX_ID) + 1 {
        bail!("the range ends beyond the last id, {MAX_ID}");
    }
    Ok(IdMapRequest { inside, from, host, count })
}

fn id(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(id) if id <= MAX_ID && !text.starts_with('+') => Ok(id),
        _ => bail!("{text}: not a number from 0 to {MAX_ID}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, inside, from, host, count) in [
            ("0:1:65536", 0, 1, false, 65536),
            ("1000:0", 1000, 0, false, 1),
            ("0:@1000:1", 0, 1000, true, 1),
            ("4294967294:0:1", 4294967294, 0, false, 1),
        ] {
            assert_eq!(parse(text).expect(text), IdMapRequest { inside, from, host, count });
        }
        for text in [
            "",
            "0",
            "0:1:2:3",
            "a:0:1",
            "0:0:0",
            "-1:0:1",
            "0:0:4294967296",
            "2:0:4294967294",
            "+0:0:1",
            "u0:0:1",
            "0:+1:1",
            "0:@@1:1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let error = parse("+ug0:0:1").expect_err("flags").to_string();
        assert_eq!(error, "the flags +ug are not there: write the whole mapping");
    }
}
