//! Signals by name and number (signal(7), the numbers of all architectures that rbox is built for).

use anyhow::{Result, bail};

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The first real-time signal that a program may use with the usual C libraries, which keep two for themselves, and
/// the last one.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// The name of a signal, `SIGTERM`; of one without a name the number.
pub fn name(number: i32) -> String {
    let name = usize::try_from(number).ok().and_then(|number| NAMES.get(number.checked_sub(1)?));
    name.map_or_else(|| number.to_string(), |name| format!("SIG{name}"))
}

/// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3` or `SIGRTMAX-1`.
pub fn parse(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return match number {
            1..=64 if !text.starts_with('+') => Ok(number),
            _ => bail!("not a signal: numbers go from 1 to 64"),
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = (1..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number) {
        return Ok(number);
    }
    let offset = |text: &str, sign: char| match text {
        "" => Some(0),
        text => text
            .strip_prefix(sign)
            .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|n| n.parse::<i32>().ok()),
    };
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => offset(rest, '+').and_then(|n| REAL_TIME.start().checked_add(n)),
        (_, Some(rest)) => offset(rest, '-').and_then(|n| REAL_TIME.end().checked_sub(n)),
        _ => None,
    };
    match (name, real_time) {
        (_, Some(number)) if REAL_TIME.contains(&number) => Ok(number),
        ("IOT", _) => Ok(6),
        ("CLD", _) => Ok(17),
        ("POLL", _) => Ok(29),
        _ => bail!("not a signal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigKill", 9),
            ("15", 15),
            ("64", 64),
            ("HUP", 1),
            ("SYS", 31),
            ("CHLD", 17),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-14", 50),
            ("RTMAX", 64),
            ("POLL", 29),
            ("WINCH", 28),
        ] {
            assert_eq!(parse(text).expect(text), number);
        }
        for text in ["", "0", "65", "-1", "+9", "TERMINATE", "SIGSIGTERM", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN++1"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
