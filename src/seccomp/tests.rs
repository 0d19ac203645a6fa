//! Programs are run by an interpreter and compared with a plain reading of their filter.

mod errors;
mod interpreter;
mod plain;
mod profile;
mod random;
mod tables;

use super::filter::{Action, Arch, Filter, Instruction};
use interpreter::Call;

/// Values where comparisons of halves, signs and masks go wrong.
const VALUES: [u64; 24] = [
    0,
    1,
    8,
    37,
    38,
    39,
    40,
    41,
    63,
    64,
    0x10f00,
    0x20000,
    0x20008,
    0x1000_0000,
    0x7e02_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0026,
    0x1_0000_0027,
    0xffff_ffff_0000_0028,
    0xffff_ffff_ffff_ffff,
    0x8000_0000_1000_0000,
];

/// Numbers to try: all that are near a call, and the ends of the ranges that matter.
fn numbers() -> impl Iterator<Item = u32> {
    let bases = [0, 0x000f_0000, super::filter::X32_BIT, super::filter::X32_BIT + 0x000f_0000, 0x8000_0000];
    let ends = [0x3fff_ffff, 0x7fff_ffff, 0xffff_ffff];
    bases.into_iter().flat_map(|base| base..base + 1000).chain(ends)
}

/// Runs the program on many calls and compares each with the plain reading.
fn assert_equal(filter: &Filter<'_>, program: &[Instruction], args: &[[u64; 6]]) {
    interpreter::check(program);
    let plain = plain::Plain::new(filter);
    let mut audits: Vec<u32> = Arch::ALL.iter().map(|arch| arch.audit()).collect();
    audits.extend([0, 0x8000_0016, u32::MAX]);
    audits.sort_unstable();
    audits.dedup();
    for audit in audits {
        for number in numbers() {
            let reading = plain.read(audit, number);
            for args in args {
                let call = Call { number, audit, args: *args };
                let (expected, got) = (reading.evaluate(args), interpreter::run(program, &call));
                assert_eq!(expected.encoded(), got, "{call:x?}: {expected:?}");
            }
        }
    }
}

/// The same value in all arguments.
fn everywhere(values: &[u64]) -> Vec<[u64; 6]> {
    values.iter().map(|value| [*value; 6]).collect()
}

/// The action that a program's result stands for.
fn action(result: u32) -> Action {
    match (result & 0xffff_0000, result as u16) {
        (0x7fff_0000, _) => Action::Allow,
        (0x0005_0000, errno) => Action::Errno(errno),
        _ => panic!("{result:#x}"),
    }
}
