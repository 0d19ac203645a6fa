//! From a [`Filter`] to a program: names to numbers, numbers to ranges with the same verdict (`ranges.rs`), ranges to a
//! tree of comparisons (`writer.rs`).

use super::filter::{Action, Filter, MAX_INSTRUCTIONS, Program, Syscall};
use super::ranges::Ranges;
use super::tables::Tables;
use super::writer::Writer;
use std::fmt;

/// What became of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled<'a> {
    /// What the kernel takes.
    pub program: Program,
    /// Names of system calls that no architecture has; their rules were left out.
    pub unknown: Vec<&'a str>,
}

/// Why a filter has no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// No architecture is listed.
    NoArchitecture,
    /// A condition is about an argument that does not exist.
    Argument(u8),
    /// An errno is larger than the kernel can return (4095).
    Errno(u16),
    /// This many instructions came out, more than [`MAX_INSTRUCTIONS`].
    TooLong(usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoArchitecture => f.write_str("the filter lists no architecture"),
            Error::Argument(number) => write!(f, "argument {number}: system calls have arguments 0 to 5"),
            Error::Errno(number) => write!(f, "errno {number}: above 4095"),
            Error::TooLong(count) => write!(f, "{count} instructions: the kernel takes {MAX_INSTRUCTIONS}"),
        }
    }
}

impl std::error::Error for Error {}

/// Compiles a filter with the numbers from `tables`.
pub fn compile<'a>(filter: &Filter<'a>, tables: &Tables<'_>) -> Result<Compiled<'a>, Error> {
    check(filter)?;
    let mut names = Vec::with_capacity(filter.rules.len());
    let mut unknown = Vec::new();
    for rule in &filter.rules {
        let index = match rule.syscall {
            Syscall::Number(_) => None,
            Syscall::Name(name) => {
                let index = tables.index(name);
                if index.is_none() && !unknown.contains(&name) {
                    unknown.push(name);
                }
                index
            }
        };
        names.push(index);
    }
    let mut ranges = Ranges::new(filter, tables, names);
    let audits = ranges.of_all();
    let program = Writer::new(&ranges.verdicts).program(&audits, filter.foreign);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(Error::TooLong(program.len()));
    }
    Ok(Compiled { program, unknown })
}

fn check(filter: &Filter<'_>) -> Result<(), Error> {
    if filter.arches.is_empty() {
        return Err(Error::NoArchitecture);
    }
    if let Some(condition) = filter.rules.iter().flat_map(|rule| &rule.conditions).find(|condition| condition.arg > 5) {
        return Err(Error::Argument(condition.arg));
    }
    let actions = [filter.default, filter.foreign, filter.newer];
    for action in actions.into_iter().chain(filter.rules.iter().map(|rule| rule.action)) {
        if let Action::Errno(errno @ 4096..) = action {
            return Err(Error::Errno(errno));
        }
    }
    Ok(())
}
