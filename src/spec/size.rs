//! Sizes in docker's units (docker/go-units, `size.go`, `RAMInBytes`): powers of 1024.

use anyhow::{Context, Result, bail};

/// Reads `64m`, `1g`, `65536k`, `1.5GiB`, `4096`.
pub fn parse(text: &str) -> Result<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => bail!("not a size such as 512k, 64m or 2g"),
    };
    let scale = 1u64 << shift;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).filter(|size| *size <= MAX).context("too large a size");
    }
    let number: f64 = match number.parse() {
        Ok(number) => number,
        Err(_) => bail!("not a size such as 512k, 64m or 2g"),
    };
    let size = number * scale as f64;
    if size > MAX as f64 {
        bail!("too large a size");
    }
    Ok(size as u64)
}

/// The kernel's sizes are signed.
const MAX: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let table = [
            ("0", 0),
            ("4096", 4096),
            ("32b", 32),
            ("65536k", 64 << 20),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64 MB", 64 << 20),
            ("1g", 1 << 30),
            ("1GiB", 1 << 30),
            ("1.5g", 3 << 29),
            ("1t", 1 << 40),
            ("8191p", 8191 << 50),
        ];
        for (text, size) in table {
            assert_eq!(parse(text).expect(text), size, "{text}");
        }
    }

    #[test]
    fn what_is_no_size() {
        for text in
            ["", "m", "-1", "1x", "1mx", "1 2", "1..5m", ".", "0x10", "1e3", "inf", "8192p", "99999999999999999999"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
