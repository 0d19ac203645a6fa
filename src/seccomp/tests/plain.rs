//! What a filter says, read rule by rule.

use super::interpreter::Call;
use crate::seccomp::filter::{Action, Arch, Condition, Filter, Op, Rule, Syscall};
use crate::seccomp::syscalls;

/// What a filter says of one number.
pub struct Reading<'f> {
    arch: Option<Arch>,
    rules: Vec<&'f Rule<'f>>,
    otherwise: Action,
}

/// A filter whose names are looked up once.
pub struct Plain<'f> {
    filter: &'f Filter<'f>,
    /// For each architecture the number of each rule.
    numbers: [Vec<Option<u32>>; 6],
}

impl<'f> Plain<'f> {
    pub fn new(filter: &'f Filter<'f>) -> Plain<'f> {
        let number = |rule: &Rule<'_>, arch| match rule.syscall {
            Syscall::Name(name) => syscalls::number(arch, name),
            Syscall::Number(number) => Some(number),
        };
        Plain { filter, numbers: Arch::ALL.map(|arch| filter.rules.iter().map(|rule| number(rule, arch)).collect()) }
    }

    /// What happens to a call.
    pub fn evaluate(&self, call: &Call) -> Action {
        self.read(call.audit, call.number).evaluate(&call.args)
    }

    pub fn read(&self, audit: u32, number: u32) -> Reading<'f> {
        let filter = self.filter;
        let arch = match audit {
            0xc000_003e if number >= 0x4000_0000 => Some(Arch::X32),
            0xc000_003e => Some(Arch::X86_64),
            0x4000_0003 => Some(Arch::X86),
            0xc000_00b7 => Some(Arch::Aarch64),
            0x4000_0028 => Some(Arch::Arm),
            0xc000_00f3 => Some(Arch::Riscv64),
            _ => None,
        };
        let Some(arch) = arch.filter(|arch| filter.arches.contains(arch)) else {
            return Reading { arch: None, rules: Vec::new(), otherwise: filter.foreign };
        };
        let rules: Vec<&Rule<'_>> = (filter.rules.iter().zip(&self.numbers[arch as usize]))
            .filter(|(_, has)| **has == Some(number))
            .map(|(rule, _)| rule)
            .collect();
        let is_newer = number > syscalls::newest(arch) && syscalls::name(arch, number).is_none();
        let otherwise = if is_newer && rules.is_empty() { filter.newer } else { filter.default };
        Reading { arch: Some(arch), rules, otherwise }
    }
}

impl Reading<'_> {
    pub fn evaluate(&self, args: &[u64; 6]) -> Action {
        let Some(arch) = self.arch else { return self.otherwise };
        let rule = self.rules.iter().find(|rule| rule.conditions.iter().all(|condition| holds(condition, arch, args)));
        rule.map_or(self.otherwise, |rule| rule.action)
    }
}

fn holds(condition: &Condition, arch: Arch, args: &[u64; 6]) -> bool {
    let cut = |value: u64| match arch {
        Arch::X86 | Arch::X32 | Arch::Arm => u64::from(value as u32),
        Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64 => value,
    };
    let (arg, value) = (cut(args[usize::from(condition.arg)]), cut(condition.value));
    match condition.op {
        Op::Eq => arg == value,
        Op::Ne => arg != value,
        Op::Lt => arg < value,
        Op::Le => arg <= value,
        Op::Ge => arg >= value,
        Op::Gt => arg > value,
        Op::MaskedEq { mask } => cut(arg & mask) == cut(value & mask),
    }
}
