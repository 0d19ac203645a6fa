//! Writes the BPF program.
//!
//! First comes the architecture, then for each a balanced tree of comparisons of the call's number, whose leaves are
//! ranges of numbers with the same verdict. When a filter is loaded, the kernel runs it once for each number that it
//! knows, to find the calls that are always allowed (since 5.11); a tree costs a logarithm for each where a list costs
//! the length.
//!
//! Jumps go forward only, so the program is written from its end: what is jumped to is there before the jump.

use super::filter::{Action, Condition, Instruction, Op, Program};
use super::ranges::{Audit, Range, Verdict};

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GT: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_GE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// An instruction: how many there were behind it when it was written.
type Label = usize;

/// Writes a program from its end.
pub struct Writer<'v, 'r> {
    reversed: Vec<Instruction>,
    verdicts: &'v [Verdict<'r>],
    /// Where each verdict with conditions is.
    written: Vec<Option<Label>>,
    /// Where each action was written last.
    returns: Vec<(Action, Label)>,
}

impl<'v, 'r> Writer<'v, 'r> {
    /// For ranges with these verdicts.
    pub fn new(verdicts: &'v [Verdict<'r>]) -> Writer<'v, 'r> {
        let written = vec![None; verdicts.len()];
        Writer { reversed: Vec::with_capacity(256), verdicts, written, returns: Vec::new() }
    }

    /// The program for these architectures; all others are foreign.
    pub fn program(mut self, audits: &[Audit], foreign: Action) -> Program {
        let mut labels = Vec::with_capacity(audits.len());
        for audit in audits.iter().rev() {
            self.tree(&audit.ranges);
            labels.push((audit.number, self.write(LOAD, NUMBER)));
        }
        let mut next = self.done(foreign);
        for (number, tree) in labels {
            next = self.branch(JUMP_EQ, number, tree, next);
        }
        self.write(LOAD, ARCH);
        self.reversed.reverse();
        self.reversed
    }

    /// Finds the range of the number in the accumulator.
    fn tree(&mut self, ranges: &[Range]) -> Label {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        match (low, high) {
            (_, []) => self.done(Action::KillProcess), // no architecture is without a range
            ([], [only, ..]) => self.verdict(only.verdict),
            // Written last, a single range is near its jump and may share its verdict with others nearby.
            (_, [only]) => {
                let no = self.tree(low);
                let yes = self.verdict(only.verdict);
                self.branch(JUMP_GE, only.first, yes, no)
            }
            (_, [first, ..]) => {
                let yes = self.tree(high);
                let no = self.tree(low);
                self.branch(JUMP_GE, first.first, yes, no)
            }
        }
    }

    fn verdict(&mut self, index: usize) -> Label {
        let verdicts = self.verdicts;
        let verdict = &verdicts[index];
        if let Some(label) = self.written[index] {
            return label;
        }
        let mut label = self.done(verdict.otherwise);
        for (conditions, action) in verdict.rules.iter().rev() {
            let no = label;
            label = self.done(*action);
            for condition in conditions.iter().rev() {
                label = self.condition(condition, verdict.wide, label, no);
            }
        }
        if !verdict.rules.is_empty() {
            self.written[index] = Some(label);
        }
        label
    }

    /// A return: one that is near, or a new one, which is no longer than a jump to one that is far.
    fn done(&mut self, action: Action) -> Label {
        let known = self.returns.iter().position(|(known, _)| *known == action);
        if let Some((_, label)) = known.map(|at| self.returns[at]).filter(|(_, label)| self.is_near(*label)) {
            return label;
        }
        let label = self.write(RETURN, action.encoded());
        match known {
            Some(at) => self.returns[at].1 = label,
            None => self.returns.push((action, label)),
        }
        label
    }

    fn condition(&mut self, condition: &Condition, wide: bool, yes: Label, no: Label) -> Label {
        let (compare, mask, yes, no) = match condition.op {
            Op::Eq => (JUMP_EQ, u64::MAX, yes, no),
            Op::Ne => (JUMP_EQ, u64::MAX, no, yes),
            Op::Ge => (JUMP_GE, u64::MAX, yes, no),
            Op::Lt => (JUMP_GE, u64::MAX, no, yes),
            Op::Gt => (JUMP_GT, u64::MAX, yes, no),
            Op::Le => (JUMP_GT, u64::MAX, no, yes),
            Op::MaskedEq { mask } => (JUMP_EQ, mask, yes, no),
        };
        let value = condition.value & mask;
        let offset = ARGS + 8 * u32::from(condition.arg);
        let low = self.branch(compare, value as u32, yes, no);
        let low = self.load(offset, mask as u32, low);
        let mask_high = (mask >> 32) as u32;
        if !wide || mask_high == 0 {
            return low;
        }
        // The upper half decides unless it is equal.
        let value_high = (value >> 32) as u32;
        let mut high = self.branch(JUMP_EQ, value_high, low, no);
        if compare != JUMP_EQ {
            high = self.branch(JUMP_GT, value_high, yes, high);
        }
        self.load(offset + 4, mask_high, high)
    }

    /// Half an argument goes into the accumulator, before what was written last.
    fn load(&mut self, offset: u32, mask: u32, next: Label) -> Label {
        debug_assert_eq!(next + 1, self.reversed.len(), "falls through to the comparison");
        if mask != u32::MAX {
            self.write(AND, mask);
        }
        self.write(LOAD, offset)
    }

    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let (yes, no) = (self.within_reach(yes), self.within_reach(no));
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(Instruction { code, jt, jf, k })
    }

    /// The label itself, or a jump to it if it is too far for a conditional jump.
    fn within_reach(&mut self, label: Label) -> Label {
        if self.is_near(label) { label } else { self.write(JUMP, self.distance(label) as u32) }
    }

    /// Less than the 255 that fit in a conditional jump: for its other arm there may come one more instruction between.
    fn is_near(&self, label: Label) -> bool {
        self.distance(label) < 255
    }

    /// How many instructions the one that is written next would skip.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label - 1
    }

    fn write(&mut self, code: u16, k: u32) -> Label {
        self.push(Instruction { code, jt: 0, jf: 0, k })
    }

    fn push(&mut self, instruction: Instruction) -> Label {
        self.reversed.push(instruction);
        self.reversed.len() - 1
    }
}
