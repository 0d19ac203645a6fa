use crate::seccomp::filter::{Action, Arch, Condition, Filter, Op, Rule, Syscall};
use crate::seccomp::{Error, compile};

fn filter(rules: Vec<Rule<'_>>) -> Filter<'_> {
    Filter { rules, ..Filter::new(Action::Allow, vec![Arch::X86_64]) }
}

fn rule<'a>(name: &'a str, action: Action, args: &[u8]) -> Rule<'a> {
    let condition = |arg: &u8| Condition { arg: *arg, op: Op::Eq, value: 1 };
    Rule { syscall: Syscall::Name(name), action, conditions: args.iter().map(condition).collect() }
}

#[test]
fn what_is_refused() {
    let errno = |number| filter(vec![rule("read", Action::Errno(number), &[])]);
    assert!(compile(&errno(4095)).is_ok());
    assert_eq!(compile(&errno(4096)), Err(Error::Errno(4096)));
    assert_eq!(compile(&filter(vec![rule("read", Action::Trap, &[0, 6])])), Err(Error::Argument(6)));
    assert_eq!(compile(&Filter::new(Action::Allow, vec![])), Err(Error::NoArchitecture));
    let many: Vec<Rule<'_>> = (0..2000)
        .map(|value| Rule {
            syscall: Syscall::Number(1),
            action: Action::Errno(1),
            conditions: vec![Condition { arg: 0, op: Op::Eq, value }],
        })
        .collect();
    assert!(compile(&filter(many[..500].to_vec())).is_ok());
    let error = compile(&filter(many)).expect_err("too long");
    assert!(matches!(error, Error::TooLong(8000..)), "{error}");
}

#[test]
fn unknown_names_are_left_out() {
    let rules = ["read", "nonsense", "sync_file_range2", "s390_sthyi", "waitpid", "nonsense", "kread"];
    let compiled = compile(&filter(rules.map(|name| rule(name, Action::Trap, &[])).to_vec())).expect("compiles");
    // The others exist, though not on x86-64.
    assert_eq!(compiled.unknown, ["nonsense", "kread"]);
    assert_eq!(compiled.program, compile(&filter(vec![rule("read", Action::Trap, &[])])).expect("compiles").program);
}
