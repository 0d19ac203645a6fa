//! The profile's text format. Only the build script reads it, and the tests do.
//!
//! A line that begins at the margin is a section's head, the lines below it that are indented are its system calls:
//!
//! ```text
//! default errno EPERM
//!
//! allow with SYS_ADMIN on x86_64 x32       # or: errno ENOSYS; without CAP...; all parts but the first may be missing
//!     mount umount2                        # names, as many as fit
//!     clone when arg0 & 0x7e020000 == 0    # one name with a condition
//!     socket when int arg0 in 0-37 39      # a C int: only its 32 bits count
//! ```
//!
//! Several lines with the same name are alternatives.

use super::capability;
use super::filter::{Action, Arch, Condition, ENOSYS, EPERM, Op};
use super::group::Gate;

/// A profile as it is written.
#[derive(Debug)]
pub struct Profile<'t> {
    /// For calls that no section decides.
    pub default: Action,
    /// Its groups; those of equal head and conditions are one.
    pub sections: Vec<Section<'t>>,
}

/// System calls with the same fate.
#[derive(Debug, PartialEq, Eq)]
pub struct Section<'t> {
    pub names: Vec<&'t str>,
    pub action: Action,
    pub conditions: Vec<Condition>,
    pub gate: Gate,
}

/// Reads a profile; an error names the line.
pub fn parse(text: &str) -> Result<Profile<'_>, String> {
    let mut profile = Profile { default: Action::Errno(EPERM), sections: Vec::new() };
    let mut head = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let result = match words.as_slice() {
            [] => Ok(()),
            ["default", action @ ..] if !line.starts_with(' ') => {
                read_action(action).map(|(action, _)| profile.default = action)
            }
            words if !line.starts_with(' ') => read_head(words).map(|read| head = Some(read)),
            words => match head {
                Some(head) => read_calls(words, head, &mut profile.sections),
                None => Err("no section".to_owned()),
            },
        };
        result.map_err(|error| format!("line {}: {error}", number + 1))?;
    }
    Ok(profile)
}

fn read_action<'w, 't>(words: &'w [&'t str]) -> Result<(Action, &'w [&'t str]), String> {
    match words {
        ["allow", rest @ ..] => Ok((Action::Allow, rest)),
        ["errno", "EPERM", rest @ ..] => Ok((Action::Errno(EPERM), rest)),
        ["errno", "ENOSYS", rest @ ..] => Ok((Action::Errno(ENOSYS), rest)),
        _ => Err(format!("{words:?}: not an action")),
    }
}

fn read_head(words: &[&str]) -> Result<(Action, Gate), String> {
    let (action, rest) = read_action(words)?;
    let mut gate = Gate { with: 0, without: 0, arches: 0 };
    let mut part = "";
    for word in rest {
        match (part, *word) {
            (_, "with" | "without" | "on") => part = word,
            ("with", name) => gate.with |= cap(name)?,
            ("without", name) => gate.without |= cap(name)?,
            ("on", name) => gate.arches |= 1 << Arch::from_name(name).ok_or(format!("{name}: no architecture"))? as u8,
            _ => return Err(format!("{word}: not with, without or on")),
        }
    }
    Ok((action, gate))
}

fn cap(name: &str) -> Result<u64, String> {
    capability::number(name).map(|number| 1 << number).ok_or(format!("{name}: no capability"))
}

fn read_calls<'t>(words: &[&'t str], head: (Action, Gate), sections: &mut Vec<Section<'t>>) -> Result<(), String> {
    let (names, alternatives) = match words {
        [_, "when", condition @ ..] => (&words[..1], read_condition(condition)?),
        _ => (words, vec![Vec::new()]),
    };
    let (action, gate) = head;
    for conditions in alternatives {
        let same = |section: &&mut Section<'_>| {
            section.action == action && section.gate == gate && section.conditions == conditions
        };
        match sections.iter_mut().find(same) {
            Some(section) => section.names.extend(names),
            None => sections.push(Section { names: names.to_vec(), action, conditions, gate }),
        }
    }
    Ok(())
}

/// The alternatives that a condition stands for.
fn read_condition(words: &[&str]) -> Result<Vec<Vec<Condition>>, String> {
    let arg = |word: &str| {
        let number = word.strip_prefix("arg").and_then(|number| number.parse::<u8>().ok());
        number.filter(|number| *number < 6).ok_or(format!("{word}: no argument"))
    };
    match words {
        [name, "==", value] => Ok(vec![vec![Condition { arg: arg(name)?, op: Op::Eq, value: number(value)? }]]),
        [name, "&", mask, "==", value] => {
            let op = Op::MaskedEq { mask: number(mask)? };
            Ok(vec![vec![Condition { arg: arg(name)?, op, value: number(value)? }]])
        }
        ["int", name, "in", spans @ ..] => {
            let arg = arg(name)?;
            let mut blocks = Vec::new();
            for span in spans {
                let (first, last) = span.split_once('-').unwrap_or((span, span));
                blocks.extend(aligned(number(first)?, number(last)?)?);
            }
            let condition = |(value, mask)| vec![Condition { arg, op: Op::MaskedEq { mask }, value }];
            Ok(blocks.into_iter().map(condition).collect())
        }
        _ => Err(format!("{words:?}: not a condition")),
    }
}

/// The span as blocks of a power of two, each a value and the bits that all of the block have in common.
///
/// The masks leave out the upper half of the register, which the kernel does not look at when the parameter is an int.
/// With `>` or `!=` on all 64 bits, 0x1_0000_0026 would pass for something other than 38.
fn aligned(mut first: u64, last: u64) -> Result<Vec<(u64, u64)>, String> {
    if first > last || last > u64::from(u32::MAX) {
        return Err(format!("{first}-{last}: not a span of 32-bit numbers"));
    }
    let mut blocks = Vec::new();
    while first <= last {
        let mut size = 1;
        while first % (2 * size) == 0 && first + 2 * size - 1 <= last {
            size *= 2;
        }
        blocks.push((first, u64::from(u32::MAX) & !(size - 1)));
        first += size;
    }
    Ok(blocks)
}

fn number(word: &str) -> Result<u64, String> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| format!("{word}: no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(text: &str) -> Vec<(String, Action, Vec<Condition>)> {
        let profile = parse(text).expect(text);
        profile.sections.into_iter().map(|s| (s.names.join(" "), s.action, s.conditions)).collect()
    }

    #[test]
    fn equal_sections_are_one() {
        let text = "allow # all\n  a b\nerrno ENOSYS\n  c\nallow\n  # none\n  d\n  e when arg1 == 0x10\n";
        let allow = Action::Allow;
        let condition = Condition { arg: 1, op: Op::Eq, value: 16 };
        assert_eq!(
            sections(text),
            [
                ("a b d".to_owned(), allow, vec![]),
                ("c".to_owned(), Action::Errno(38), vec![]),
                ("e".to_owned(), allow, vec![condition]),
            ]
        );
    }

    #[test]
    fn heads() {
        let profile =
            parse("default errno ENOSYS\nallow with SYS_ADMIN BPF without CHOWN on x86_64 arm\n  a").expect("valid");
        assert_eq!(profile.default, Action::Errno(ENOSYS));
        assert_eq!(profile.sections[0].gate, Gate { with: 1 << 21 | 1 << 39, without: 1, arches: 0b10001 });
    }

    #[test]
    fn spans() {
        let blocks = |first, last| aligned(first, last).expect("a span");
        assert_eq!(blocks(39, 39), [(39, 0xffff_ffff)]);
        assert_eq!(blocks(0, 37), [(0, 0xffff_ffe0), (32, 0xffff_fffc), (36, 0xffff_fffe)]);
        assert_eq!(blocks(0, 0xffff_ffff), [(0, 0)]);
        for (first, last) in [(0u64, 0u64), (1, 62), (41, 63), (7, 100)] {
            for value in 0..200 {
                let inside = blocks(first, last).iter().any(|(base, mask)| value & mask == *base);
                assert_eq!(inside, (first..=last).contains(&value), "{value} in {first}-{last}");
            }
        }
    }

    #[test]
    fn mistakes() {
        for (text, message) in [
            ("  a", "line 1: no section"),
            ("deny\n  a", "line 1: [\"deny\"]: not an action"),
            ("allow\n\n  a when b", "line 3: [\"b\"]: not a condition"),
            ("allow\n  a when arg6 == 1", "line 2: arg6: no argument"),
            ("allow\n  a when arg0 == x", "line 2: x: no number"),
            ("allow\n  a when int arg0 in 9-3", "line 2: 9-3: not a span of 32-bit numbers"),
            ("allow with ADMIN", "line 1: ADMIN: no capability"),
            ("allow on vax", "line 1: vax: no architecture"),
            ("allow if x", "line 1: if: not with, without or on"),
        ] {
            assert_eq!(parse(text).expect_err(text), message);
        }
    }
}
