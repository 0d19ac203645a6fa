use super::interpreter::{Call, run};
use super::plain::Plain;
use super::{VALUES, assert_equal};
use crate::seccomp::compile;
use crate::seccomp::filter::{Action, Arch, Condition, Filter, Op, Rule, Syscall, X32_BIT};
use crate::seccomp::syscalls::TABLES;

/// xorshift64 (Marsaglia 2003): the same filters in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn value(&mut self) -> u64 {
        self.of(&VALUES).wrapping_add(self.of(&[0, 0, 1, u64::MAX]))
    }

    fn action(&mut self) -> Action {
        let number = self.below(4096) as u16;
        self.of(&[
            Action::Allow,
            Action::Allow,
            Action::Errno(1),
            Action::Errno(number),
            Action::KillThread,
            Action::KillProcess,
            Action::Trap,
            Action::Trace(number),
            Action::Log,
            Action::Notify,
        ])
    }

    fn condition(&mut self) -> Condition {
        let mask = self.value();
        let ops = [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Ge, Op::Gt, Op::MaskedEq { mask }, Op::MaskedEq { mask: !mask }];
        Condition { arg: self.below(2) as u8, op: self.of(&ops), value: self.value() }
    }

    fn rule(&mut self) -> Rule<'static> {
        let names = TABLES.starts.len() - 1;
        let syscall = match self.below(8) {
            0 => Syscall::Number(self.of(&[0, 1, 500, 0x000f_0003, X32_BIT, X32_BIT + 600, u32::MAX, X32_BIT - 1])),
            // Few names, so that rules meet.
            1..4 => Syscall::Name(TABLES.name((names - 1 - self.below(8)) as u16).expect("a name")),
            _ => Syscall::Name(TABLES.name(self.below(names) as u16).expect("a name")),
        };
        let count = self.of(&[0, 0, 1, 1, 2, 3]);
        Rule { syscall, action: self.action(), conditions: (0..count).map(|_| self.condition()).collect() }
    }

    fn filter(&mut self) -> Filter<'static> {
        let mut arches: Vec<Arch> = Arch::ALL.into_iter().filter(|_| self.below(3) == 0).collect();
        arches.push(self.of(&Arch::ALL));
        let rules = (0..self.of(&[0, 1, 5, 20, 60, 250])).map(|_| self.rule()).collect();
        Filter { foreign: self.action(), newer: self.action(), rules, ..Filter::new(self.action(), arches) }
    }
}

#[test]
fn random_filters() {
    let mut random = Random(0x7262_6f78);
    for _ in 0..100 {
        let filter = random.filter();
        let args: Vec<[u64; 6]> = (0..8).map(|_| std::array::from_fn(|_| random.value())).collect();
        let compiled = compile(&filter).expect("short enough");
        assert_equal(&filter, &compiled.program, &args);
    }
}

/// Every comparison with every value, so that no half of an argument is left out.
#[test]
fn every_comparison() {
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        let base = arch.numbers().0;
        for value in VALUES {
            let mut filter = Filter::new(Action::Errno(1), vec![arch]);
            let masks = [0, 0xffff_ffff, 0xffff_ffff_0000_0000, 0xffff_0000_ffff, u64::MAX, 0x7e02_0000];
            let ops = [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Ge, Op::Gt].into_iter();
            for (number, op) in (base..).zip(ops.chain(masks.map(|mask| Op::MaskedEq { mask }))) {
                let conditions = vec![Condition { arg: 5, op, value }];
                filter.rules.push(Rule { syscall: Syscall::Number(number), action: Action::Allow, conditions });
            }
            let program = compile(&filter).expect("compiles").program;
            let plain = Plain::new(&filter);
            for arg in VALUES {
                let args = [!arg, !arg, !arg, !arg, !arg, arg];
                for number in base..base + 14 {
                    let call = Call { number, audit: arch.audit(), args };
                    let expected = plain.evaluate(&call).encoded();
                    assert_eq!(run(&program, &call), expected, "{call:x?} {value:#x}");
                }
            }
        }
    }
}

/// Bodies of more than 255 instructions, so that conditional jumps do not reach over them.
#[test]
fn far_jumps() {
    let mut random = Random(38);
    for _ in 0..20 {
        let mut filter = Filter::new(Action::Errno(1), vec![Arch::X86_64, Arch::Aarch64, Arch::X86]);
        for number in [1, 2, 3, 150, 151] {
            for value in 0..40 {
                let conditions = (0..random.below(4))
                    .map(|_| random.condition())
                    .chain([Condition { arg: 0, op: Op::Eq, value }])
                    .collect();
                filter.rules.push(Rule { syscall: Syscall::Number(number), action: random.action(), conditions });
            }
        }
        let program = compile(&filter).expect("short enough").program;
        let plain = Plain::new(&filter);
        assert!(program.len() > 1000 && program.iter().any(|instruction| instruction.code == 0x05));
        let args: Vec<[u64; 6]> = (0..50).map(|value| [value, random.value(), 0, 0, 0, 0]).collect();
        assert_equal(&filter, &program, &args[..8]);
        for number in [0, 1, 2, 3, 4, 149, 150, 151, 152] {
            for args in &args {
                let call = Call { number, audit: Arch::X86_64.audit(), args: *args };
                let expected = plain.evaluate(&call).encoded();
                assert_eq!(run(&program, &call), expected, "{call:x?}");
            }
        }
    }
}
