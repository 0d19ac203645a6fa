//! What a filter says (the data), and the kernel's form of it.
//!
//! Nothing here depends on the rest of the crate: the build script includes this file too.

/// An architecture as seccomp sees it: a system call's numbers and the layout of its arguments.
///
/// All of them are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86 (i386).
    X86,
    /// The 32-bit pointer ABI on x86-64: the kernel calls it x86-64 too, and bit 30 of the number tells it apart.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, EABI.
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Arch {
    /// All, in the order of their discriminants, which index the tables.
    pub const ALL: [Arch; 6] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm, Arch::Riscv64];

    /// The architecture that rbox was built for.
    pub const NATIVE: Option<Arch> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
        Some(Arch::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Arch::Aarch64)
    } else if cfg!(target_arch = "riscv64") {
        Some(Arch::Riscv64)
    } else {
        None
    };

    /// The kernel's number for it, `AUDIT_ARCH_*` (`linux/audit.h`): the ELF machine and bits for 64-bit and
    /// little-endian.
    pub const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
            Arch::Riscv64 => 0xc000_00f3,
        }
    }

    /// The name in options and in the profile.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::X86 => "x86",
            Arch::X32 => "x32",
            Arch::Aarch64 => "aarch64",
            Arch::Arm => "arm",
            Arch::Riscv64 => "riscv64",
        }
    }

    /// The architecture that [`Arch::name`] names.
    pub fn from_name(name: &str) -> Option<Arch> {
        Arch::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// The name in an OCI runtime configuration, which is libseccomp's.
    pub const fn oci_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "SCMP_ARCH_X86_64",
            Arch::X86 => "SCMP_ARCH_X86",
            Arch::X32 => "SCMP_ARCH_X32",
            Arch::Aarch64 => "SCMP_ARCH_AARCH64",
            Arch::Arm => "SCMP_ARCH_ARM",
            Arch::Riscv64 => "SCMP_ARCH_RISCV64",
        }
    }

    /// The architecture that [`Arch::oci_name`] names.
    pub fn from_oci_name(name: &str) -> Option<Arch> {
        Arch::ALL.into_iter().find(|arch| arch.oci_name() == name)
    }

    /// Whether arguments are compared in 64 bits.
    ///
    /// The others pass 32 bits, and only those are compared, as libseccomp does. For x32 it matters: its registers
    /// are wider than its arguments, so that the upper halves may hold anything.
    pub const fn is_wide(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64)
    }

    /// The numbers that belong to it among all that the kernel reports under [`Arch::audit`]: first and last.
    pub const fn numbers(self) -> (u32, u32) {
        match self {
            Arch::X86_64 => (0, X32_BIT - 1),
            Arch::X32 => (X32_BIT, u32::MAX),
            _ => (0, u32::MAX),
        }
    }
}

/// Set in the number of every x32 system call (`__X32_SYSCALL_BIT`).
pub const X32_BIT: u32 = 0x4000_0000;

/// What happens to a system call (seccomp(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is carried out.
    Allow,
    /// It fails with this errno, at most 4095.
    Errno(u16),
    /// The thread ends as if by SIGSYS.
    KillThread,
    /// The process ends as if by SIGSYS.
    KillProcess,
    /// The thread gets SIGSYS.
    Trap,
    /// The tracer gets to see it, with this message; without a tracer it fails with ENOSYS.
    Trace(u16),
    /// It is carried out and logged.
    Log,
    /// The holder of the notification descriptor decides (seccomp_unotify(2)).
    Notify,
}

/// EPERM.
pub const EPERM: u16 = 1;
/// ENOSYS, on every architecture in [`Arch`].
pub const ENOSYS: u16 = 38;

impl Action {
    /// What the program returns for it: `SECCOMP_RET_*` with the data in the lower half (`linux/seccomp.h`).
    pub const fn encoded(self) -> u32 {
        match self {
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | errno as u32,
            Action::Notify => 0x7fc0_0000,
            Action::Trace(message) => 0x7ff0_0000 | message as u32,
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
            Action::KillProcess => 0x8000_0000,
        }
    }
}

/// How an argument is compared; all unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater or equal.
    Ge,
    /// Greater.
    Gt,
    /// Equal in these bits. Bits of the value outside the mask do not count, as in libseccomp.
    MaskedEq {
        /// The bits that count.
        mask: u64,
    },
}

/// One comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub arg: u8,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub value: u64,
}

/// The system call of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syscall<'a> {
    /// By name: on every architecture of the filter that has it.
    Name(&'a str),
    /// By number, x32's with [`X32_BIT`]: the same on every architecture of the filter.
    Number(u32),
}

/// What happens to one system call if all conditions hold.
///
/// Of several rules for the same system call the first whose conditions hold counts; if none do, the filter's default.
/// For rules with the same action that is an OR. libseccomp leaves the order open and lets a rule without conditions
/// win over all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule<'a> {
    /// For which call.
    pub syscall: Syscall<'a>,
    /// What happens.
    pub action: Action,
    /// All of them must hold (AND).
    pub conditions: Vec<Condition>,
}

/// A whole filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter<'a> {
    /// For calls that no rule decides.
    pub default: Action,
    /// For calls of an architecture that is not listed.
    pub foreign: Action,
    /// For calls that are newer than the tables: numbers above the newest known one for which there is no rule.
    pub newer: Action,
    /// The architectures to which the rules apply.
    pub arches: Vec<Arch>,
    /// What is said about single calls.
    pub rules: Vec<Rule<'a>>,
}

impl<'a> Filter<'a> {
    /// A filter without rules yet.
    ///
    /// Foreign calls get ENOSYS, as if the kernel were built without them. Where the default is an errno, calls newer
    /// than the tables get ENOSYS too: a libc tries a new call and falls back on ENOSYS, but takes EPERM for an answer
    /// (runc has done the same since 1.0.0-rc93).
    pub fn new(default: Action, arches: Vec<Arch>) -> Filter<'a> {
        let newer = match default {
            Action::Errno(_) => Action::Errno(ENOSYS),
            other => other,
        };
        Filter { default, foreign: Action::Errno(ENOSYS), newer, arches, rules: Vec::new() }
    }
}

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter` (`linux/filter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// Of a conditional jump: how many instructions are skipped if the test holds.
    pub jt: u8,
    /// And if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// A compiled filter, at most [`MAX_INSTRUCTIONS`] long.
pub type Program = Vec<Instruction>;

/// As many instructions as the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;
