//! Makes Rust of `syscalls.table` and `default.profile`. Only for the build script; not a module of the crate.

use super::capability;
use super::compile::compile;
use super::filter::{Action, Arch, Instruction, X32_BIT};
use super::group::{self, Group};
use super::tables::{NONE, Tables};
use super::text;
use std::fmt::Write;

/// The first of the numbers that x32 has for itself: 512 to 547.
const X32_OWN: u32 = 512;
/// The first of arm's private calls (`__ARM_NR_BASE`).
const ARM_PRIVATE: u32 = 0x000f_0000;

/// What a [`Tables`] borrows.
#[derive(Default)]
pub struct Source {
    text: String,
    starts: Vec<u16>,
    numbers: [Vec<u32>; Arch::ALL.len()],
    by_number: [Vec<u16>; Arch::ALL.len()],
    newest: [u32; Arch::ALL.len()],
}

impl Source {
    /// Reads `syscalls.table`.
    pub fn read(table: &str) -> Result<Source, String> {
        let mut source = Source::default();
        let mut before = "";
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.split_whitespace();
            let name = columns.next().unwrap_or_default();
            if name <= before {
                return Err(format!("{name} after {before}: not sorted"));
            }
            source.add(name, columns).ok_or_else(|| format!("{line}: not six numbers or -"))?;
            before = name;
        }
        source.starts.push(u16::try_from(source.text.len()).map_err(|_| "more than 64 KiB of names")?);
        for arch in Arch::ALL {
            source.index(arch).map_err(|number| format!("{}: {number} is there twice", arch.name()))?;
        }
        Ok(source)
    }

    fn add<'t>(&mut self, name: &str, mut columns: impl Iterator<Item = &'t str>) -> Option<()> {
        self.starts.push(u16::try_from(self.text.len()).ok()?);
        self.text.push_str(name);
        for arch in Arch::ALL {
            let number = match columns.next()? {
                "-" => NONE,
                number if arch == Arch::X32 => number.parse::<u32>().ok()? | X32_BIT,
                number => number.parse().ok()?,
            };
            self.numbers[arch as usize].push(number);
        }
        columns.next().is_none().then_some(())
    }

    /// Sorts by number; `Err` with a number that two names have.
    fn index(&mut self, arch: Arch) -> Result<(), u32> {
        let numbers = &self.numbers[arch as usize];
        let mut pairs: Vec<(u32, u16)> =
            numbers.iter().copied().zip(0..).filter(|(number, _)| *number != NONE).collect();
        pairs.sort_unstable();
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(pair[0].0);
        }
        let is_special = |number: u32| match arch {
            Arch::X32 => number - X32_BIT >= X32_OWN,
            Arch::Arm => number >= ARM_PRIVATE,
            _ => false,
        };
        self.newest[arch as usize] =
            pairs.iter().map(|(number, _)| *number).filter(|number| !is_special(*number)).max().unwrap_or_default();
        self.by_number[arch as usize] = pairs.into_iter().map(|(_, index)| index).collect();
        Ok(())
    }

    /// The tables.
    pub fn tables(&self) -> Tables<'_> {
        Tables {
            text: &self.text,
            starts: &self.starts,
            numbers: self.numbers.each_ref().map(Vec::as_slice),
            by_number: self.by_number.each_ref().map(Vec::as_slice),
            newest: self.newest,
        }
    }
}

/// The tables as a static.
pub fn tables_source(tables: &Tables<'_>) -> String {
    format!(
        "/// All tables.\npub static TABLES: Tables<'static> = Tables {{\n    text: {:?},\n    starts: &{:?},\n    \
         numbers: {:?},\n    by_number: {:?},\n    newest: {:?},\n}};\n",
        tables.text,
        tables.starts,
        References(&tables.numbers),
        References(&tables.by_number),
        tables.newest,
    )
}

/// The profile's groups and programs as statics.
pub fn profile_source(profile: &str, tables: &Tables<'_>, native: Arch) -> Result<String, String> {
    let profile = text::parse(profile)?;
    let mut indices = Vec::new();
    for section in &profile.sections {
        let find = |name: &&str| tables.index(name).ok_or_else(|| format!("{name}: not in the tables"));
        indices.push(section.names.iter().map(find).collect::<Result<Vec<u16>, _>>()?);
    }
    let groups: Vec<Group<'_>> = (profile.sections.iter().zip(&indices))
        .map(|(section, indices)| Group {
            indices,
            action: section.action,
            conditions: &section.conditions,
            gate: section.gate,
        })
        .collect();
    let caps_that_matter = groups.iter().fold(0, |caps, group| caps | group.gate.with | group.gate.without);
    let program = |caps| {
        let groups = groups.iter().filter(|group| group.gate.opens(caps, native));
        let filter = group::filter(profile.default, vec![native], groups, tables);
        compile(&filter, tables).map(|compiled| compiled.program).map_err(|error| error.to_string())
    };
    let mut source = format!("pub const DEFAULT: Action = Action::{:?};\n", profile.default);
    source += &format!("pub const CAPS_THAT_MATTER: u64 = {caps_that_matter:#x};\n");
    source += &groups_source(&groups);
    source += &program_source("DEFAULT_PROGRAM", &program(capability::DEFAULT)?);
    source += &program_source("NO_CAPS_PROGRAM", &program(0)?);
    Ok(source)
}

fn groups_source(groups: &[Group<'_>]) -> String {
    let mut source = "pub static GROUPS: &[Group<'static>] = &[\n".to_owned();
    for Group { indices, action, conditions, gate } in groups {
        let action = match action {
            Action::Allow => "Allow".to_owned(),
            other => format!("{other:?}"),
        };
        source += &format!("    Group {{ indices: &{indices:?}, action: Action::{action}, conditions: &[");
        for condition in *conditions {
            source += &format!(
                "Condition {{ arg: {}, op: Op::{:?}, value: {:#x} }},",
                condition.arg, condition.op, condition.value
            );
        }
        source += &format!("], gate: {gate:?} }},\n");
    }
    source + "];\n"
}

fn program_source(name: &str, program: &[Instruction]) -> String {
    let mut source = format!("pub static {name}: &[Instruction] = &[\n");
    for instruction in program {
        source += &format!("    {instruction:?},\n");
    }
    source + "];\n"
}

/// An array of slices, written as one of references to arrays.
struct References<'a, T, const N: usize>(&'a [&'a [T]; N]);

impl<T: std::fmt::Debug, const N: usize> std::fmt::Debug for References<'_, T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_char('[')?;
        for slice in self.0 {
            write!(f, "&{slice:?}, ")?;
        }
        f.write_char(']')
    }
}
