//! Points in time and spans as text: RFC 3339 as images, records and docker's API have it, spans in Go's form. UTC only:
//! an offset is read and undone, none is written.
//!
//! Own arithmetic, because it is short: a library of calendars would be larger than all that is needed of one.

use anyhow::{Context, Result, bail, ensure};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;
const NANOS: u32 = 1_000_000_000;

/// A point in time of the years 0 to 9999, which are those that RFC 3339 can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time {
    seconds: i64,
    nanos: u32,
}

/// A point in time by the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// 0 to 9999.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
}

impl Time {
    /// The year 1, which Go's programs write where there is no time ("never").
    pub const NEVER: Time = Time { seconds: -62_135_596_800, nanos: 0 };
    const FIRST: i64 = -62_167_219_200;
    const LAST: i64 = 253_402_300_799;

    /// Seconds since 1970, and the nanoseconds (below 1000000000) that come on top of them.
    pub fn new(seconds: i64, nanos: u32) -> Result<Time> {
        ensure!((Time::FIRST..=Time::LAST).contains(&seconds), "a time outside of the years 0 to 9999");
        ensure!(nanos < NANOS, "{nanos} nanoseconds are a second or more");
        Ok(Time { seconds, nanos })
    }

    /// The clock of the system.
    pub fn now() -> Time {
        SystemTime::now().into()
    }

    /// Whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds on top of the seconds, 0 to 999999999.
    pub fn nanos(self) -> u32 {
        self.nanos
    }

    /// This many nanoseconds later; earlier if negative. Stays within the years 0 to 9999.
    pub fn plus(self, nanos: i64) -> Time {
        let sum = i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanos) + i128::from(nanos);
        let seconds = i64::try_from(sum.div_euclid(i128::from(NANOS))).unwrap_or(Time::LAST);
        let nanos = u32::try_from(sum.rem_euclid(i128::from(NANOS))).unwrap_or(0);
        Time { seconds: seconds.clamp(Time::FIRST, Time::LAST), nanos }
    }

    /// Nanoseconds from an earlier time to this one; negative if that is the later one.
    pub fn since(self, earlier: Time) -> i128 {
        let seconds = i128::from(self.seconds) - i128::from(earlier.seconds);
        seconds * i128::from(NANOS) + i128::from(self.nanos) - i128::from(earlier.nanos)
    }

    /// Reads RFC 3339: `2026-11-24T14:35:16.123456789+01:00`. Digits beyond nanoseconds are dropped.
    pub fn parse(text: &str) -> Result<Time> {
        read(text, false).with_context(|| format!("{text:?}: not a time of RFC 3339"))
    }

    /// Reads RFC 3339 with its end left out, as docker's `--since` has it: `2026-11-24`, `2026-11-24T14:35`, with a zone
    /// or without one, which is UTC then.
    pub fn parse_partial(text: &str) -> Result<Time> {
        read(text, true).with_context(|| format!("{text:?}: not a time such as 2006-01-02T15:04:05Z or 2006-01-02"))
    }

    /// By the calendar.
    pub fn civil(self) -> Civil {
        let (days, rest) = (self.seconds.div_euclid(DAY), self.seconds.rem_euclid(DAY));
        // Years are counted from a first of March, so that a leap day is the last one of its year.
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let leaps = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year = (day_of_era - leaps) / 365;
        let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Civil {
            year: era * 400 + year + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

impl From<SystemTime> for Time {
    /// A clock that is wrong by millennia gives the nearest time that can be written.
    fn from(time: SystemTime) -> Time {
        let epoch = Time { seconds: 0, nanos: 0 };
        let nanos = |span: std::time::Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => epoch.plus(nanos(after)),
            Err(before) => epoch.plus(-nanos(before.duration())),
        }
    }
}

impl fmt::Display for Time {
    /// RFC 3339 as Go writes it (time.RFC3339Nano): without zeros at the end of the fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos != 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

impl TryFrom<String> for Time {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Time> {
        Time::parse(&text)
    }
}

fn read(text: &str, partial: bool) -> Result<Time> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    let month = separated(&mut rest, "-")?;
    let day = separated(&mut rest, "-")?;
    ensure!((1..=12).contains(&month), "there is no month {month}");
    ensure!((1..=days_in(year, month)).contains(&day), "there is no day {day} in that month");
    let (mut hour, mut minute, mut second, mut nanos) = (0, 0, 0, 0);
    if !partial || rest.starts_with(['T', 't']) {
        hour = separated(&mut rest, "Tt")?;
        minute = separated(&mut rest, ":")?;
        if !partial || rest.starts_with(':') {
            second = separated(&mut rest, ":")?;
            nanos = fraction(&mut rest)?;
        }
    }
    ensure!(hour < 24 && minute < 60 && second < 60, "there is no {hour:02}:{minute:02}:{second:02}");
    let offset = match rest {
        "" if partial => 0,
        "Z" | "z" => 0,
        _ => offset(rest)?,
    };
    Time::new(days_since_1970(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset, nanos)
}

fn digits(rest: &mut &str, count: usize) -> Result<i64> {
    match rest.split_at_checked(count) {
        Some((number, after)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            *rest = after;
            Ok(number.parse()?)
        }
        _ => bail!("{count} digits are wanted at {rest:?}"),
    }
}

/// One of the characters, then two digits.
fn separated(rest: &mut &str, characters: &str) -> Result<i64> {
    match rest.strip_prefix(|c| characters.contains(c)) {
        Some(after) => *rest = after,
        None => bail!("{:?} is wanted at {rest:?}", characters.chars().next().unwrap_or_default()),
    }
    digits(rest, 2)
}

fn fraction(rest: &mut &str) -> Result<u32> {
    let Some(after) = rest.strip_prefix('.') else {
        return Ok(0);
    };
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    ensure!(end > 0, "digits are wanted at {after:?}");
    let (number, after) = after.split_at(end);
    *rest = after;
    Ok(format!("{:0<9}", &number[..end.min(9)]).parse()?)
}

/// Seconds that a zone such as `+01:00` is before UTC.
fn offset(text: &str) -> Result<i64> {
    let (sign, mut rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        _ => bail!("a zone is wanted at {text:?}: Z or +01:00"),
    };
    let hours = digits(&mut rest, 2)?;
    let minutes = separated(&mut rest, ":")?;
    ensure!(rest.is_empty() && hours < 24 && minutes < 60, "{text:?} is no zone such as +01:00");
    Ok(sign * (hours * 3600 + minutes * 60))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Reads a span as Go does (time.ParseDuration), in nanoseconds: `1h30m`, `1.5s`, `-300ms`, `0`. Units are ns, us, µs, ms,
/// s, m, h; at most 292 years.
pub fn parse_span(text: &str) -> Result<i64> {
    span(text).with_context(|| format!("{text:?}: not a span of time such as 1h30m or 10s"))
}

fn span(text: &str) -> Result<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    ensure!(!rest.is_empty(), "a number is wanted");
    let mut sum = 0i128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        rest = after;
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => bail!("a unit is wanted after {number:?}"),
            _ => bail!("{unit:?} is no unit: ns, us, ms, s, m, h"),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        ensure!(number.matches('.').count() <= 1 && number != "." && !number.is_empty(), "{number:?} is no number");
        // 20 digits overflow nothing here, and nothing that is longer fits the result.
        ensure!(whole.trim_start_matches('0').len() <= 20, "too long");
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse()? };
        let part = &part[..part.len().min(15)];
        let fraction: i128 = if part.is_empty() { 0 } else { part.parse()? };
        sum += whole * scale + fraction * scale / 10i128.pow(u32::try_from(part.len())?);
        ensure!(sum <= i128::from(i64::MAX), "too long");
    }
    Ok(i64::try_from(sum * sign)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let table = [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (1_795_530_916, 123_456_789, "2026-11-24T14:35:16.123456789Z"),
            (951_782_400, 500_000_000, "2000-02-29T00:00:00.5Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59Z"),
            (4_107_542_400, 1000, "2100-03-01T00:00:00.000001Z"),
            (Time::FIRST, 0, "0000-01-01T00:00:00Z"),
            (Time::LAST, 0, "9999-12-31T23:59:59Z"),
            (Time::NEVER.seconds, 0, "0001-01-01T00:00:00Z"),
        ];
        for (seconds, nanos, text) in table {
            let time = Time::new(seconds, nanos).expect(text);
            assert_eq!(time.to_string(), text);
            assert_eq!(Time::parse(text).expect(text), time);
            assert_eq!((time.seconds(), time.nanos()), (seconds, nanos));
        }
    }

    #[test]
    fn every_day_has_its_date() {
        let first = days_since_1970(0, 1, 1);
        let mut days = first;
        for year in 0..=9999 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!(days_since_1970(year, month, day), days);
                    let civil = Time::new(days * DAY, 0).expect("in range").civil();
                    assert_eq!((civil.year, civil.month, civil.day), (year, month, day));
                    days += 1;
                }
            }
        }
        assert_eq!(days - first, 3_652_425);
    }

    #[test]
    fn other_forms() {
        let table = [
            ("2026-11-24T14:35:16+01:30", "2026-11-24T13:05:16Z"),
            ("2026-11-24t14:35:16-00:30", "2026-11-24T15:05:16Z"),
            ("2026-12-31T23:59:59-23:59", "2027-01-01T23:58:59Z"),
            ("2026-11-24T14:35:16.1234567891Z", "2026-11-24T14:35:16.123456789Z"),
            ("2026-11-24T14:35:16.10z", "2026-11-24T14:35:16.1Z"),
        ];
        for (text, same) in table {
            assert_eq!(Time::parse(text).expect(text).to_string(), same);
            assert_eq!(Time::parse_partial(text).expect(text).to_string(), same);
        }
        let table = [
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            ("2026-11-24Z", "2026-11-24T00:00:00Z"),
            ("2026-11-24+02:00", "2026-11-23T22:00:00Z"),
            ("2026-11-24T14:35", "2026-11-24T14:35:00Z"),
            ("2026-11-24T14:35:16", "2026-11-24T14:35:16Z"),
            ("2026-11-24T14:35:16.5", "2026-11-24T14:35:16.5Z"),
        ];
        for (text, same) in table {
            assert!(Time::parse(text).is_err(), "{text}");
            assert_eq!(Time::parse_partial(text).expect(text).to_string(), same);
        }
    }

    #[test]
    fn what_is_no_time() {
        let table = [
            "",
            "2026",
            "2026-13-01",
            "2026-00-01",
            "2026-02-29",
            "2100-02-29",
            "2026-04-31",
            "2026-11-24T24:00:00Z",
            "2026-11-24T14:60:00Z",
            "2026-11-24T14:35:60Z",
            "2026-11-24T14:35:16.Z",
            "2026-11-24T14:35:16ZZ",
            "2026-11-24T14:35:16+24:00",
            "2026-11-24T14:35:16+1:00",
            "2026-11-24T14",
            "2026-1-24",
            "+026-11-24",
            "٢٠٢٦-11-24",
            "2026-11-é4T",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ];
        for text in table {
            assert!(Time::parse(text).is_err() && Time::parse_partial(text).is_err(), "{text}");
        }
        assert!(Time::new(0, NANOS).is_err());
        assert!(Time::new(i64::MIN, 0).is_err());
    }

    #[test]
    fn spans() {
        let second = i64::from(NANOS);
        let table = [
            ("0", 0),
            ("-0", 0),
            ("10s", 10 * second),
            ("+1h30m", 5400 * second),
            ("-1.5h", -5400 * second),
            (".5s", second / 2),
            ("1.s", second),
            ("1m1s1ms1us1\u{b5}s1\u{3bc}s1ns", 61 * second + 1_003_001),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("2562047h47m16.854775807s", i64::MAX),
        ];
        for (text, nanos) in table {
            assert_eq!(parse_span(text).expect(text), nanos, "{text}");
        }
        for text in ["", "-", "1", "s", ".s", "1x", "1d", "1.2.3s", "1 s", "1s ", "--1s", "2562047h47m16.854775808s"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert!(parse_span(&"9".repeat(100)).is_err());
        assert!(parse_span(&format!("{}h", "9".repeat(100))).is_err());
    }

    #[test]
    fn arithmetic() {
        let time = Time::parse("2026-11-24T00:00:00.25Z").expect("valid");
        assert_eq!(time.plus(-500_000_000).to_string(), "2026-11-23T23:59:59.75Z");
        assert_eq!(time.plus(-500_000_000).since(time), -500_000_000);
        assert_eq!(Time { seconds: Time::LAST, nanos: 0 }.plus(i64::MAX).seconds(), Time::LAST);
        assert_eq!(Time { seconds: Time::FIRST, nanos: 0 }.plus(i64::MIN).seconds(), Time::FIRST);
        let clock = Time::now();
        assert!(clock > time && SystemTime::now().duration_since(UNIX_EPOCH).is_ok());
    }

    #[test]
    fn in_json() {
        let time: Time = serde_json::from_str("\"2026-11-24T14:35:16+01:00\"").expect("a time");
        assert_eq!(serde_json::to_string(&time).expect("text"), "\"2026-11-24T13:35:16Z\"");
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
    }
}
