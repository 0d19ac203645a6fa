//! Classic BPF as seccomp runs it (kernel/seccomp.c, net/core/filter.c).

use crate::seccomp::filter::{Instruction, MAX_INSTRUCTIONS};

/// What a filter gets to see: struct seccomp_data, without the instruction pointer.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub number: u32,
    pub audit: u32,
    pub args: [u64; 6],
}

impl Call {
    /// The 32 bits at an offset, on a little-endian machine.
    fn word(&self, offset: u32) -> u32 {
        assert!(offset < 64 && offset % 4 == 0, "load from {offset}");
        match offset {
            0 => self.number,
            4 => self.audit,
            8 | 12 => panic!("the instruction pointer"),
            _ => (self.args[(offset as usize - 16) / 8] >> (8 * (offset & 4))) as u32,
        }
    }
}

/// What the kernel checks when a filter is loaded.
pub fn check(program: &[Instruction]) {
    assert!((1..=MAX_INSTRUCTIONS).contains(&program.len()));
    for (at, Instruction { code, jt, jf, k }) in program.iter().enumerate() {
        let rest = program.len() - at - 1;
        match code {
            0x20 => assert!(*k < 64 && k % 4 == 0),
            0x54 | 0x06 => {}
            0x05 => assert!((*k as usize) < rest),
            0x15 | 0x25 | 0x35 => assert!(usize::from(*jt) < rest && usize::from(*jf) < rest),
            _ => panic!("code {code:#x}"),
        }
    }
    assert_eq!(program.last().map(|last| last.code), Some(0x06));
}

/// What the program returns.
pub fn run(program: &[Instruction], call: &Call) -> u32 {
    trace(program, call).0
}

/// What the program returns, and after how many instructions.
pub fn trace(program: &[Instruction], call: &Call) -> (u32, usize) {
    let mut accumulator = 0;
    let mut at = 0;
    for steps in 1.. {
        let Instruction { code, jt, jf, k } = program[at];
        let jump = |holds| usize::from(if holds { jt } else { jf });
        at += 1;
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return (k, steps),
            _ => panic!("code {code:#x}"),
        }
    }
    unreachable!()
}
