//! Which numbers of which architecture get which verdict.

use super::filter::{Action, Arch, Condition, Filter, Rule, Syscall};
use super::tables::Tables;

/// What happens to a system call: the first rule whose conditions hold, or else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// Conditions, all of which must hold, and what happens then.
    pub rules: Vec<(&'r [Condition], Action)>,
    /// What happens if no rule's do.
    pub otherwise: Action,
    /// Whether arguments are compared in 64 bits.
    pub wide: bool,
}

/// Numbers from `first` on (until the next range) and the index of their verdict.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The first number.
    pub first: u32,
    /// Which verdict.
    pub verdict: usize,
}

/// All numbers of what the kernel calls one architecture.
pub struct Audit {
    /// The kernel's number for the architecture.
    pub number: u32,
    /// Never empty; the first begins at 0.
    pub ranges: Vec<Range>,
}

/// Finds the ranges of numbers with the same verdict.
pub struct Ranges<'r, 'a> {
    filter: &'r Filter<'a>,
    tables: &'r Tables<'r>,
    /// Of each rule the index of its name.
    names: Vec<Option<u16>>,
    /// All different verdicts so far; there are few, for most have no conditions.
    pub verdicts: Vec<Verdict<'r>>,
}

impl<'r, 'a> Ranges<'r, 'a> {
    /// For a filter; `names`: of each rule the index of its name in the tables.
    pub fn new(filter: &'r Filter<'a>, tables: &'r Tables<'r>, names: Vec<Option<u16>>) -> Ranges<'r, 'a> {
        Ranges { filter, tables, names, verdicts: Vec::new() }
    }

    /// The ranges of all architectures that the filter lists.
    pub fn of_all(&mut self) -> Vec<Audit> {
        let filter = self.filter;
        let mut audits: Vec<Audit> = Vec::new();
        for arch in &filter.arches {
            if audits.iter().all(|audit| audit.number != arch.audit()) {
                audits.push(Audit { number: arch.audit(), ranges: self.of_audit(arch.audit()) });
            }
        }
        audits
    }

    /// x86-64 and x32 share one, each with its own numbers; whichever is not listed is foreign.
    fn of_audit(&mut self, audit: u32) -> Vec<Range> {
        let mut ranges = Vec::new();
        for arch in Arch::ALL.into_iter().filter(|arch| arch.audit() == audit) {
            if self.filter.arches.contains(&arch) {
                self.of_arch(arch, &mut ranges);
            } else {
                let foreign = self.plain(self.filter.foreign);
                push(&mut ranges, arch.numbers().0, foreign);
            }
        }
        ranges
    }

    fn of_arch(&mut self, arch: Arch, ranges: &mut Vec<Range>) {
        let filter = self.filter;
        let (default, newer) = (self.plain(filter.default), self.plain(filter.newer));
        let (first, last) = arch.numbers();
        let newest = self.tables.newest[arch as usize];
        // What single numbers get; between them is the default or, above the newest, what newer ones get.
        let mut points: Vec<(u32, usize)> = self.tables.special(arch).map(|number| (number, default)).collect();
        let rules = self.rules_by_number(arch);
        for same in rules.chunk_by(|one, other| one.0 == other.0) {
            let verdict = self.verdict(arch, same.iter().map(|(_, rule)| *rule));
            match points.binary_search_by_key(&same[0].0, |point| point.0) {
                Ok(at) => points[at].1 = verdict,
                Err(at) => points.insert(at, (same[0].0, verdict)),
            }
        }
        push(ranges, first, default);
        let newer_from = newest + 1;
        let mut newer_is_due = true;
        for (number, verdict) in points {
            if newer_is_due && number >= newer_from {
                push(ranges, newer_from, newer);
                newer_is_due = false;
            }
            push(ranges, number, verdict);
            if number < last {
                push(ranges, number + 1, if number < newest { default } else { newer });
            }
        }
        if newer_is_due {
            push(ranges, newer_from, newer);
        }
    }

    /// All rules for calls that the architecture has, by number and then in the filter's order.
    fn rules_by_number(&self, arch: Arch) -> Vec<(u32, &'r Rule<'r>)> {
        let (first, last) = arch.numbers();
        let number = |rule: &Rule<'_>, name: Option<u16>| match rule.syscall {
            Syscall::Number(number) => (first..=last).contains(&number).then_some(number),
            Syscall::Name(_) => self.tables.number(arch, name?),
        };
        let rules = self.filter.rules.iter().zip(&self.names);
        let mut found: Vec<_> = rules.filter_map(|(rule, name)| Some((number(rule, *name)?, rule))).collect();
        found.sort_by_key(|(number, _)| *number);
        found
    }

    fn plain(&mut self, action: Action) -> usize {
        self.index(Verdict { rules: Vec::new(), otherwise: action, wide: false })
    }

    fn verdict(&mut self, arch: Arch, rules: impl Iterator<Item = &'r Rule<'r>>) -> usize {
        let mut verdict = Verdict { rules: Vec::new(), otherwise: self.filter.default, wide: false };
        for rule in rules {
            if rule.conditions.is_empty() {
                verdict.otherwise = rule.action;
                break;
            }
            verdict.rules.push((&rule.conditions, rule.action));
        }
        // A rule does nothing if the same happens without it.
        while verdict.rules.last().is_some_and(|(_, action)| *action == verdict.otherwise) {
            verdict.rules.pop();
        }
        verdict.wide = arch.is_wide() && !verdict.rules.is_empty();
        self.index(verdict)
    }

    fn index(&mut self, verdict: Verdict<'r>) -> usize {
        self.verdicts.iter().position(|known| *known == verdict).unwrap_or_else(|| {
            self.verdicts.push(verdict);
            self.verdicts.len() - 1
        })
    }
}

/// Begins a range, in place of one that begins at the same number and as part of an equal one before.
fn push(ranges: &mut Vec<Range>, first: u32, verdict: usize) {
    if ranges.last().is_some_and(|last| last.first == first) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|last| last.verdict != verdict) {
        ranges.push(Range { first, verdict });
    }
}
