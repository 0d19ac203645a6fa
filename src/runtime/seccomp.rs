//! The Spec's seccomp filter, as a program for the kernel.

use super::capability;
use crate::seccomp::{self, Action, Arch, Condition, Instruction, Op, Rule, Syscall, profile};
use crate::sys;
use anyhow::{Context, Result, bail};
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall, Spec,
};

/// A program that is ready to be loaded, or none.
pub struct Filter {
    program: Program,
    flags: u32,
}

enum Program {
    None,
    /// Compiled when rbox was built.
    Prebuilt(&'static [Instruction]),
    Compiled(Vec<Instruction>),
}

impl Filter {
    /// Compiles what the Spec says. The built-in profile is recognised: its program is there already.
    pub fn of(spec: &Spec) -> Result<Filter> {
        let Some(seccomp) = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else {
            return Ok(Filter { program: Program::None, flags: 0 });
        };
        if seccomp.listener_path().is_some() || seccomp.listener_metadata().is_some() {
            bail!("linux.seccomp.listenerPath: not supported");
        }
        let caps = spec.process().as_ref().and_then(|process| process.capabilities().as_ref()).map(capability::sets);
        let program = match prebuilt(seccomp, caps.unwrap_or_default().bounding) {
            Some(program) => Program::Prebuilt(program),
            None => Program::Compiled(compile(seccomp).context("linux.seccomp")?),
        };
        Ok(Filter { program, flags: flags(seccomp)? })
    }

    /// Loads it for this process.
    pub fn load(&self) -> sys::Result<()> {
        let program = match &self.program {
            Program::None => return Ok(()),
            Program::Prebuilt(program) => program,
            Program::Compiled(program) => program.as_slice(),
        };
        sys::seccomp::load(program, self.flags)
    }
}

/// The program of the built-in profile, if that is what the Spec says word for word.
fn prebuilt(seccomp: &LinuxSeccomp, caps: sys::caps::Mask) -> Option<&'static [Instruction]> {
    let native = Arch::NATIVE?;
    let program = profile::prebuilt(caps, native, &[])?;
    let builtin = profile::resolve(caps, native, &[]);
    let arches: Vec<Arch> = seccomp.architectures().iter().flatten().filter_map(|arch| from_oci(*arch)).collect();
    let groups = seccomp.syscalls().as_deref().unwrap_or_default();
    let same = action(seccomp.default_action(), seccomp.default_errno_ret()).ok()? == builtin.default
        && arches == builtin.arches
        && groups.len() == builtin.groups.len()
        && groups.iter().zip(&builtin.groups).all(|(group, own)| {
            action(group.action(), group.errno_ret()).ok() == Some(own.action)
                && group.names().iter().map(String::as_str).eq(own.names())
                && group.args().iter().flatten().map(|arg| condition(arg).ok()).eq(own
                    .conditions
                    .iter()
                    .copied()
                    .map(Some))
        });
    same.then_some(program)
}

fn compile(seccomp: &LinuxSeccomp) -> Result<Vec<Instruction>> {
    let default = action(seccomp.default_action(), seccomp.default_errno_ret())?;
    let mut filter = seccomp::Filter::new(default, arches(seccomp)?);
    for group in seccomp.syscalls().iter().flatten() {
        let action = action(group.action(), group.errno_ret())?;
        for conditions in alternatives(group)? {
            filter.rules.extend(group.names().iter().map(|name| Rule {
                syscall: Syscall::Name(name),
                action,
                conditions: conditions.clone(),
            }));
        }
    }
    // Calls that no table knows do not exist on this kernel either, or are newer than rbox: they get the default.
    Ok(seccomp::compile(&filter)?.program)
}

/// All conditions of a group must hold; but where it names one argument more than once, each condition is an
/// alternative, as runc reads it.
fn alternatives(group: &LinuxSyscall) -> Result<Vec<Vec<Condition>>> {
    let conditions = group.args().iter().flatten().map(condition).collect::<Result<Vec<_>>>()?;
    let repeated = (0..6).any(|index| conditions.iter().filter(|condition| condition.arg == index).count() > 1);
    Ok(if repeated { conditions.into_iter().map(|condition| vec![condition]).collect() } else { vec![conditions] })
}

fn arches(seccomp: &LinuxSeccomp) -> Result<Vec<Arch>> {
    let native = Arch::NATIVE.context("no system call table for this architecture")?;
    let mut arches = vec![native];
    for arch in seccomp.architectures().iter().flatten() {
        // One that this machine cannot run needs no rules.
        if let Some(arch) = from_oci(*arch).filter(|arch| !arches.contains(arch)) {
            arches.push(arch);
        }
    }
    Ok(arches)
}

fn from_oci(arch: OciArch) -> Option<Arch> {
    Some(match arch {
        OciArch::ScmpArchNative => return Arch::NATIVE,
        OciArch::ScmpArchX86_64 => Arch::X86_64,
        OciArch::ScmpArchX86 => Arch::X86,
        OciArch::ScmpArchX32 => Arch::X32,
        OciArch::ScmpArchAarch64 => Arch::Aarch64,
        OciArch::ScmpArchArm => Arch::Arm,
        OciArch::ScmpArchRiscv64 => Arch::Riscv64,
        _ => return None,
    })
}

/// EPERM where the Spec names no errno (runtime-spec config-linux.md, "Seccomp").
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Action> {
    use LinuxSeccompAction as A;
    let errno = u16::try_from(errno.unwrap_or(u32::from(seccomp::filter::EPERM))).context("errnoRet")?;
    Ok(match action {
        A::ScmpActAllow => Action::Allow,
        A::ScmpActErrno => Action::Errno(errno),
        A::ScmpActKill | A::ScmpActKillThread => Action::KillThread,
        A::ScmpActKillProcess => Action::KillProcess,
        A::ScmpActTrap => Action::Trap,
        A::ScmpActTrace => Action::Trace(errno),
        A::ScmpActLog => Action::Log,
        A::ScmpActNotify => bail!("SCMP_ACT_NOTIFY: not supported"),
    })
}

fn condition(arg: &LinuxSeccompArg) -> Result<Condition> {
    use LinuxSeccompOperator as O;
    let (op, value) = match arg.op() {
        O::ScmpCmpEq => (Op::Eq, arg.value()),
        O::ScmpCmpNe => (Op::Ne, arg.value()),
        O::ScmpCmpLt => (Op::Lt, arg.value()),
        O::ScmpCmpLe => (Op::Le, arg.value()),
        O::ScmpCmpGe => (Op::Ge, arg.value()),
        O::ScmpCmpGt => (Op::Gt, arg.value()),
        // Here the first value is the mask.
        O::ScmpCmpMaskedEq => (Op::MaskedEq { mask: arg.value() }, arg.value_two().unwrap_or_default()),
    };
    Ok(Condition { arg: u8::try_from(arg.index()).context("args.index")?, op, value })
}

fn flags(seccomp: &LinuxSeccomp) -> Result<u32> {
    seccomp.flags().iter().flatten().try_fold(0, |flags, flag| {
        Ok(flags
            | match flag {
                // One thread only: there is nothing to synchronise with.
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
                LinuxSeccompFilterFlag::SeccompFilterFlagLog => linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_LOG,
                LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => {
                    linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_SPEC_ALLOW
                }
                other => bail!("flag {other:?}: not supported"),
            })
    })
}
