//! Sizes, ages and times as docker shows and reads them.

use crate::time::{Civil, Time, parse_span};
use anyhow::{Context, Result, anyhow};
use unicode_width::UnicodeWidthChar;

/// A size in decimal units with three digits, as lists show it: `0B`, `1.5kB`, `184MB`.
pub fn size(bytes: u64) -> String {
    size_with_digits(bytes, 3)
}

/// A size in decimal units with so many significant digits; docker's tables have 3, `system df` has 4
/// (docker/go-units, size.go, HumanSizeWithPrecision). Where docker falls to `1e+03kB` this is `1MB`.
pub fn size_with_digits(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    loop {
        // The size is below 1000, or in the last unit, where it is below 20.
        let rounded = if size >= 1000.0 { 1000.0 } else { round(size, digits) };
        if rounded < 1000.0 || unit + 1 == UNITS.len() {
            return format!("{rounded}{}", UNITS[unit]);
        }
        size /= 1000.0;
        unit += 1;
    }
}

/// A size in binary units with four digits, as docker shows memory: `0B`, `1.5MiB`, `15.57GiB` (docker/go-units, size.go,
/// BytesSize).
pub fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{}{}", round(size, 4), UNITS[unit])
}

/// A number with so many significant digits, at least those before the point.
fn round(number: f64, digits: usize) -> f64 {
    let before_the_point = [1.0, 10.0, 100.0, 1000.0].iter().filter(|power| number >= **power).count().max(1);
    format!("{number:.*}", digits.saturating_sub(before_the_point)).parse().unwrap_or(number)
}

/// At most so many places of a terminal wide; what is cut ends in `…` (docker/cli, formatter, `Ellipsis`).
pub fn cut(text: &str, places: usize) -> String {
    // What has no width of its own counts as one, too: control characters are escaped later.
    let width = |c: char| c.width().unwrap_or(1).max(1);
    if text.chars().map(width).sum::<usize>() <= places {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut taken = 0;
    for c in text.chars() {
        taken += width(c);
        if taken >= places {
            break;
        }
        cut.push(c);
    }
    cut + "…"
}

/// A span of time in words (docker/go-units, duration.go): `Less than a second`, `About an hour`, `2 days`.
pub fn span(nanos: i128) -> String {
    let seconds = nanos / 1_000_000_000;
    let minutes = seconds / 60;
    // Hours are rounded, everything above them is cut, and nothing says one day, week, month or year.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long ago that was: `2 days ago`. What is still to come is `Less than a second ago`, as in docker.
pub fn ago(then: Time, now: Time) -> String {
    format!("{} ago", span(now.since(then)))
}

/// docker's CreatedAt: `2026-11-24 14:35:16 +0000 UTC`.
pub fn created_at(time: Time) -> String {
    let Civil { year, month, day, hour, minute, second } = time.civil();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
}

/// A point in time as `--since` and `--until` have it (docker, api/types/time): a span before now (`24h`), seconds since
/// 1970 (`1136073600`, `1136073600.5`), or RFC 3339, whose end may be missing (`2006-01-02`).
pub fn moment(text: &str, now: Time) -> Result<Time> {
    if let Ok(nanos) = parse_span(text) {
        return Ok(now.plus(nanos.saturating_neg()));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if number(seconds) && number(fraction) {
        let nanos = format!("{:0<9.9}", fraction).parse()?;
        return seconds
            .parse()
            .context("too large")
            .and_then(|seconds| Time::new(seconds, nanos))
            .context(text.to_owned());
    }
    Time::parse_partial(text).map_err(|_| {
        anyhow!("{text:?}: not a point in time: 2006-01-02T15:04:05Z, 2006-01-02, a span before now such as 24h, or seconds since 1970")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            (0, "0B", "0B"),
            (1, "1B", "1B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (1024, "1.02kB", "1.024kB"),
            (1500, "1.5kB", "1.5kB"),
            (12_345, "12.3kB", "12.35kB"),
            (999_499, "999kB", "999.5kB"),
            (999_999, "1MB", "1MB"),
            (1_000_000, "1MB", "1MB"),
            (1_005_000, "1MB", "1.005MB"),
            (72_800_000, "72.8MB", "72.8MB"),
            (183_900_123, "184MB", "183.9MB"),
            (2_746_000_000, "2.75GB", "2.746GB"),
            (1_099_511_627_776, "1.1TB", "1.1TB"),
            (u64::MAX, "18.4EB", "18.45EB"),
        ];
        for (bytes, three, four) in table {
            assert_eq!(size(bytes), three, "{bytes}");
            assert_eq!(size_with_digits(bytes, 4), four, "{bytes}");
        }
    }

    #[test]
    fn binary_sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (1_048_575, "1024KiB"),
            (1_052_672, "1.004MiB"),
            (16_718_100_000, "15.57GiB"),
            (u64::MAX, "16EiB"),
        ] {
            assert_eq!(binary_size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn what_is_cut() {
        for (text, shown) in [
            ("", ""),
            ("12345", "12345"),
            ("123456", "1234…"),
            ("日本語", "日本…"),
            ("日本", "日本"),
            ("a日本語", "a日…"),
            ("\u{1b}[31mred", "\u{1b}[31…"),
        ] {
            assert_eq!(cut(text, 5), shown, "{text:?}");
        }
    }

    #[test]
    fn spans() {
        const SECOND: i128 = 1_000_000_000;
        const MINUTE: i128 = 60 * SECOND;
        const HOUR: i128 = 60 * MINUTE;
        const DAY: i128 = 24 * HOUR;
        let table = [
            (-DAY, "Less than a second"),
            (SECOND - 1, "Less than a second"),
            (SECOND, "1 second"),
            (2 * SECOND - 1, "1 second"),
            (59 * SECOND, "59 seconds"),
            (MINUTE, "About a minute"),
            (2 * MINUTE - 1, "About a minute"),
            (3 * MINUTE, "3 minutes"),
            (59 * MINUTE + 59 * SECOND, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 29 * MINUTE, "About an hour"),
            (HOUR + 30 * MINUTE, "2 hours"),
            (3 * HOUR + 31 * MINUTE, "4 hours"),
            (DAY, "24 hours"),
            (2 * DAY - 31 * MINUTE, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY + 5 * HOUR, "13 days"),
            (14 * DAY, "2 weeks"),
            (18 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (700 * DAY, "23 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
            (1155 * DAY, "3 years"),
        ];
        for (nanos, text) in table {
            assert_eq!(span(nanos), text, "{nanos}");
        }
    }

    #[test]
    fn ages() {
        let time = |text| Time::parse(text).expect("valid");
        let now = time("2026-11-24T14:35:16Z");
        assert_eq!(ago(time("2026-11-22T14:00:00Z"), now), "2 days ago");
        assert_eq!(ago(time("2026-11-24T14:35:15.9Z"), now), "Less than a second ago");
        assert_eq!(ago(time("2027-11-24T14:35:15.9Z"), now), "Less than a second ago");
        assert_eq!(created_at(time("2026-01-02T03:04:05.678+01:00")), "2026-01-02 02:04:05 +0000 UTC");
    }

    #[test]
    fn moments() {
        let now = Time::parse("2026-11-24T14:35:16Z").expect("valid");
        let table = [
            ("24h", "2026-11-23T14:35:16Z"),
            ("1h30m", "2026-11-24T13:05:16Z"),
            ("-1h", "2026-11-24T15:35:16Z"),
            ("0", "2026-11-24T14:35:16Z"),
            ("1136073600", "2006-01-01T00:00:00Z"),
            ("1136073600.5", "2006-01-01T00:00:00.5Z"),
            ("1136073600.000000001", "2006-01-01T00:00:00.000000001Z"),
            ("2006-01-02", "2006-01-02T00:00:00Z"),
            ("2006-01-02T15:04:05+07:00", "2006-01-02T08:04:05Z"),
        ];
        for (text, then) in table {
            assert_eq!(moment(text, now).expect(text).to_string(), then, "{text}");
        }
        for text in ["", "yesterday", "1d", "99999999999999999999", "1.5.5", ".5", "2006-13-01"] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }
}
