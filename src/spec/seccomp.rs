//! The Spec's seccomp filter: the built-in profile, or one of the user's.

pub mod docker;

use super::options::{Options, Seccomp};
use crate::seccomp::filter::ENOSYS;
use crate::seccomp::{Action, Arch, Condition, Op, profile};
use anyhow::{Context, Result, bail};
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator,
    LinuxSyscall, Spec,
};

/// What the options come to; None is no filter. `bounding`: the capabilities of the container, a bit for each number.
///
/// As in docker, `--privileged` takes the built-in profile away, but not one that the user names.
pub fn wanted(options: &Options, bounding: u64, kernel: (u32, u32)) -> Result<Option<LinuxSeccomp>> {
    let architectures = &options.security.seccomp_arch;
    let what = match &options.security.seccomp {
        Seccomp::Builtin if !options.privileged => {
            return builtin(bounding, architectures).context("--security-opt seccomp").map(Some);
        }
        Seccomp::Builtin => "--privileged leaves no filter",
        Seccomp::Unconfined => "unconfined leaves no filter",
        Seccomp::Profile(_) => "the architectures are those of the profile that is given",
    };
    if !architectures.is_empty() {
        bail!("--security-opt seccomp-arch: {what}");
    }
    match &options.security.seccomp {
        Seccomp::Profile(json) => docker::profile(json, bounding, kernel).context("--security-opt seccomp").map(Some),
        _ => Ok(None),
    }
}

/// Takes clone3(2) away from a Spec, as if the kernel did not know it: then every libc does with clone(2), as it does under
/// the built-in profile.
pub fn forbid_clone3(spec: &mut Spec) -> Result<()> {
    const CALL: &str = "clone3";
    let native = Arch::NATIVE.context("no system call table for this architecture")?;
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut seccomp = linux.seccomp().clone().unwrap_or_else(|| {
        let same: &[Arch] = match native {
            Arch::X86_64 => &[Arch::X86, Arch::X32],
            Arch::Aarch64 => &[Arch::Arm],
            _ => &[],
        };
        let mut all = LinuxSeccomp::default();
        all.set_default_action(LinuxSeccompAction::ScmpActAllow)
            .set_architectures(Some([native].iter().chain(same).map(|arch| oci(*arch)).collect()))
            .set_flags(None);
        all
    });
    let named = |rule: &LinuxSyscall| rule.names().iter().any(|name| name == CALL);
    let (kind, errno) = action(Action::Errno(ENOSYS));
    let mut rules = seccomp.syscalls().clone().unwrap_or_default();
    let is_forbidden =
        |rule: &LinuxSyscall| rule.action() == kind && rule.errno_ret() == errno && rule.args().is_none();
    // The built-in profile, of which nothing is changed: it is compiled already.
    if rules.iter().any(named) && rules.iter().filter(|rule| named(rule)).all(is_forbidden) {
        return Ok(());
    }
    for rule in rules.iter_mut().filter(|rule| named(rule)) {
        let others = rule.names().iter().filter(|name| *name != CALL).cloned().collect();
        rule.set_names(others);
    }
    rules.retain(|rule| !rule.names().is_empty());
    let mut none = LinuxSyscall::default();
    none.set_names(vec![CALL.to_owned()]).set_action(kind).set_errno_ret(errno).set_args(None);
    rules.push(none);
    seccomp.set_syscalls(Some(rules));
    linux.set_seccomp(Some(seccomp));
    spec.set_linux(Some(linux));
    Ok(())
}

/// The built-in profile in the Spec's words: another runtime can apply it too, and rbox's own recognises it and has it
/// compiled already. One entry for each of its groups, in their order.
fn builtin(bounding: u64, architectures: &[String]) -> Result<LinuxSeccomp> {
    let native = Arch::NATIVE.context("no built-in profile for this architecture")?;
    let extra = architectures.iter().map(|name| foreign(name, native)).collect::<Result<Vec<_>>>()?;
    let profile = profile::resolve(bounding, native, &extra);
    let syscalls = profile.groups.iter().map(|group| {
        let (kind, errno) = action(group.action);
        let args = group.conditions.iter().map(argument).collect::<Result<Vec<_>>>()?;
        let mut syscall = LinuxSyscall::default();
        syscall
            .set_names(group.names().map(str::to_owned).collect())
            .set_action(kind)
            .set_errno_ret(errno)
            .set_args((!args.is_empty()).then_some(args));
        Ok(syscall)
    });
    let (kind, errno) = action(profile.default);
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(kind)
        .set_default_errno_ret(errno)
        .set_architectures(Some(profile.arches.iter().map(|arch| oci(*arch)).collect()))
        .set_flags(None)
        .set_syscalls(Some(syscalls.collect::<Result<_>>()?));
    Ok(seccomp)
}

/// A further architecture, which this machine must be able to run.
fn foreign(name: &str, native: Arch) -> Result<Arch> {
    match Arch::from_name(name) {
        Some(arch @ (Arch::X86 | Arch::X32)) if native == Arch::X86_64 => Ok(arch),
        Some(_) => bail!("seccomp-arch +{name}: not an architecture of this machine"),
        None => bail!("seccomp-arch +{name}: not an architecture"),
    }
}

fn oci(arch: Arch) -> OciArch {
    match arch {
        Arch::X86_64 => OciArch::ScmpArchX86_64,
        Arch::X86 => OciArch::ScmpArchX86,
        Arch::X32 => OciArch::ScmpArchX32,
        Arch::Aarch64 => OciArch::ScmpArchAarch64,
        Arch::Arm => OciArch::ScmpArchArm,
        Arch::Riscv64 => OciArch::ScmpArchRiscv64,
    }
}

fn action(action: Action) -> (LinuxSeccompAction, Option<u32>) {
    match action {
        Action::Allow => (LinuxSeccompAction::ScmpActAllow, None),
        Action::Errno(errno) => (LinuxSeccompAction::ScmpActErrno, Some(errno.into())),
        Action::KillThread => (LinuxSeccompAction::ScmpActKillThread, None),
        Action::KillProcess => (LinuxSeccompAction::ScmpActKillProcess, None),
        Action::Trap => (LinuxSeccompAction::ScmpActTrap, None),
        Action::Trace(message) => (LinuxSeccompAction::ScmpActTrace, Some(message.into())),
        Action::Log => (LinuxSeccompAction::ScmpActLog, None),
        Action::Notify => (LinuxSeccompAction::ScmpActNotify, None),
    }
}

fn argument(condition: &Condition) -> Result<LinuxSeccompArg> {
    use LinuxSeccompOperator as O;
    let (op, value, second) = match condition.op {
        Op::Eq => (O::ScmpCmpEq, condition.value, 0),
        Op::Ne => (O::ScmpCmpNe, condition.value, 0),
        Op::Lt => (O::ScmpCmpLt, condition.value, 0),
        Op::Le => (O::ScmpCmpLe, condition.value, 0),
        Op::Ge => (O::ScmpCmpGe, condition.value, 0),
        Op::Gt => (O::ScmpCmpGt, condition.value, 0),
        // The Spec has the mask first.
        Op::MaskedEq { mask } => (O::ScmpCmpMaskedEq, mask, condition.value),
    };
    let index = usize::from(condition.arg);
    Ok(LinuxSeccompArgBuilder::default().index(index).value(value).value_two(second).op(op).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::capability::{DEFAULT, EVERY};
    use oci_spec::runtime::Linux;

    /// The calls of the entries with this action and without conditions.
    fn plain(seccomp: &LinuxSeccomp, action: LinuxSeccompAction) -> Vec<String> {
        let entries = seccomp.syscalls().iter().flatten();
        let plain = entries.filter(|entry| entry.action() == action && entry.args().is_none());
        plain.flat_map(|entry| entry.names().clone()).collect()
    }

    fn of(bounding: u64) -> LinuxSeccomp {
        wanted(&Options::default(), bounding, (6, 1)).expect("valid").expect("a filter")
    }

    #[test]
    fn the_built_in_profile() {
        let seccomp = of(DEFAULT);
        assert_eq!(seccomp.default_action(), LinuxSeccompAction::ScmpActErrno);
        assert_eq!(seccomp.default_errno_ret(), Some(1));
        assert_eq!(seccomp.architectures().as_ref().map(Vec::len), Some(1));
        let allowed = plain(&seccomp, LinuxSeccompAction::ScmpActAllow);
        for name in ["read", "openat2", "execve", "chroot"] {
            assert!(allowed.iter().any(|known| known == name), "{name}");
        }
        for name in ["mount", "bpf", "keyctl", "io_uring_setup", "unshare"] {
            assert!(!allowed.iter().any(|known| known == name), "{name}");
        }
        assert!(plain(&of(EVERY), LinuxSeccompAction::ScmpActAllow).iter().any(|name| name == "mount"));
        assert!(!plain(&of(0), LinuxSeccompAction::ScmpActAllow).iter().any(|name| name == "chroot"));
    }

    /// Two comparisons of one argument in an entry are alternatives for some runtimes.
    #[test]
    fn no_argument_is_compared_twice() {
        for bounding in [0, DEFAULT, EVERY] {
            for entry in of(bounding).syscalls().iter().flatten() {
                let mut indices: Vec<usize> = entry.args().iter().flatten().map(LinuxSeccompArg::index).collect();
                let all = indices.len();
                indices.dedup();
                assert_eq!(indices.len(), all, "{:?}", entry.names());
            }
        }
    }

    #[test]
    fn further_architectures() {
        let mut options = Options::default();
        options.security.seccomp_arch = vec!["x86".to_owned(), "x32".to_owned()];
        let seccomp = wanted(&options, 0, (6, 1));
        if cfg!(target_arch = "x86_64") {
            let seccomp = seccomp.expect("valid").expect("a filter");
            assert_eq!(seccomp.architectures().as_ref().map(Vec::len), Some(3));
        } else {
            assert!(seccomp.is_err());
        }
        for change in [
            |options: &mut Options| options.privileged = true,
            |options: &mut Options| options.security.seccomp = Seccomp::Unconfined,
            |options: &mut Options| options.security.seccomp_arch = vec!["vax".to_owned()],
        ] {
            let mut options = options.clone();
            change(&mut options);
            assert!(wanted(&options, 0, (6, 1)).is_err(), "{options:?}");
        }
    }

    #[test]
    fn when_there_is_none() {
        let mut options = Options { privileged: true, ..Options::default() };
        assert!(wanted(&options, 0, (6, 1)).expect("none").is_none());
        options.security.seccomp = Seccomp::Profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.to_owned());
        assert!(wanted(&options, 0, (6, 1)).expect("the user's").is_some());
        options.security.seccomp_arch = vec!["x86".to_owned()];
        assert!(wanted(&options, 0, (6, 1)).is_err());
    }

    #[test]
    fn without_clone3() {
        let forbidden = |seccomp: Option<LinuxSeccomp>| {
            let mut spec = Spec::default();
            spec.set_linux(Some(Linux::default()));
            spec.linux_mut().as_mut().unwrap().set_seccomp(seccomp);
            forbid_clone3(&mut spec).unwrap();
            spec.linux().as_ref().unwrap().seccomp().clone().unwrap()
        };
        let with = |kind: LinuxSeccompAction| -> Vec<&'static str> {
            let mut all = LinuxSeccomp::default();
            let mut rule = LinuxSyscall::default();
            rule.set_names(vec!["clone".to_owned(), "clone3".to_owned()]).set_action(kind).set_args(None);
            all.set_default_action(LinuxSeccompAction::ScmpActErrno).set_syscalls(Some(vec![rule]));
            let all = forbidden(Some(all));
            let allowed = plain(&all, LinuxSeccompAction::ScmpActAllow);
            assert_eq!(plain(&all, LinuxSeccompAction::ScmpActErrno), ["clone3"]);
            ["clone", "clone3"].into_iter().filter(|name| allowed.iter().any(|allowed| allowed == name)).collect()
        };
        assert_eq!(with(LinuxSeccompAction::ScmpActAllow), ["clone"]);
        assert_eq!(with(LinuxSeccompAction::ScmpActLog), Vec::<&str>::new());
        let none = forbidden(None);
        assert_eq!(none.default_action(), LinuxSeccompAction::ScmpActAllow);
        assert_eq!(plain(&none, LinuxSeccompAction::ScmpActErrno), ["clone3"]);
        // It is compiled already, and stays what it is.
        let own = builtin(DEFAULT, &[]).unwrap();
        assert_eq!(forbidden(Some(own.clone())), own);
    }
}
