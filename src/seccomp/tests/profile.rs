use super::interpreter::{self, Call};
use super::{VALUES, action, assert_equal, everywhere};
use crate::seccomp::capability;
use crate::seccomp::filter::{Action, Arch, Instruction};
use crate::seccomp::profile::{DEFAULT_PROGRAM, prebuilt, resolve};
use crate::seccomp::syscalls;

const ALLOW: Action = Action::Allow;
const EPERM: Action = Action::Errno(1);
const ENOSYS: Action = Action::Errno(38);
const SYS_ADMIN: u64 = 1 << 21;
const NEWUSER: u64 = 0x1000_0000;

fn program(caps: u64, native: Arch, extra: &[Arch]) -> Vec<Instruction> {
    resolve(caps, native, extra).compile().expect("compiles")
}

/// What happens to a call by name, with its first argument.
fn fate(program: &[Instruction], arch: Arch, name: &str, arg: u64) -> Action {
    let number = syscalls::number(arch, name).unwrap_or_else(|| panic!("{name} on {arch:?}"));
    action(interpreter::run(program, &Call { number, audit: arch.audit(), args: [arg, 7, 7, 7, 7, 7] }))
}

#[test]
fn known_answers() {
    // pthread_create's and posix_spawn's flags.
    let (thread, spawn) = (0x003d_0f00, 0x4111);
    for native in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64] {
        let plain = program(capability::DEFAULT, native, &[]);
        let admin = program(capability::DEFAULT | SYS_ADMIN, native, &[]);
        for (name, arg, without, with) in [
            ("read", 0, ALLOW, ALLOW),
            ("ioctl", 0, ALLOW, ALLOW),
            ("execve", 0, ALLOW, ALLOW),
            ("mseal", 0, ALLOW, ALLOW),
            ("setxattrat", 0, ALLOW, ALLOW),
            ("ptrace", 0, ALLOW, ALLOW),
            ("chroot", 0, ALLOW, ALLOW),
            ("keyctl", 0, EPERM, EPERM),
            ("add_key", 0, EPERM, EPERM),
            ("userfaultfd", 0, EPERM, EPERM),
            ("io_uring_setup", 0, EPERM, EPERM),
            ("io_uring_enter", 0, EPERM, EPERM),
            ("kexec_load", 0, EPERM, EPERM),
            ("open_tree_attr", 0, ENOSYS, ENOSYS),
            ("pivot_root", 0, EPERM, EPERM),
            ("bpf", 0, EPERM, ALLOW),
            ("mount", 0, EPERM, ALLOW),
            ("umount2", 0, EPERM, ALLOW),
            ("setns", NEWUSER, EPERM, ALLOW),
            ("unshare", 0, EPERM, ALLOW),
            ("unshare", 0x2_0000, EPERM, ALLOW),
            ("unshare", NEWUSER, EPERM, EPERM),
            ("unshare", 0x1_0000_0000 | NEWUSER, EPERM, EPERM),
            ("unshare", 0x2_0000 | NEWUSER, EPERM, EPERM),
            ("clone", thread, ALLOW, ALLOW),
            ("clone", spawn, ALLOW, ALLOW),
            ("clone", 17 | 0x2_0000, EPERM, ALLOW),
            ("clone", 17 | 0x4000_0000, EPERM, ALLOW),
            ("clone", 17 | NEWUSER, EPERM, EPERM),
            ("clone", 0x1_0000_0000 | NEWUSER, EPERM, EPERM),
            ("clone3", 0, ENOSYS, ENOSYS),
            ("socket", 1, ALLOW, ALLOW),
            ("socket", 37, ALLOW, ALLOW),
            ("socket", 38, EPERM, EPERM),
            ("socket", 39, ALLOW, ALLOW),
            ("socket", 40, EPERM, EPERM),
            ("socket", 41, ALLOW, ALLOW),
            ("socket", 45, ALLOW, ALLOW),
            // The kernel takes the lower half: these are 38, 40 and 2.
            ("socket", 0x1_0000_0026, EPERM, EPERM),
            ("socket", 0xffff_ffff_0000_0028, EPERM, EPERM),
            ("socket", 0x1_0000_0002, ALLOW, ALLOW),
            ("socket", 0xffff_ffff_ffff_ffff, EPERM, EPERM),
            ("personality", 0, ALLOW, ALLOW),
            ("personality", 0x8, ALLOW, ALLOW),
            ("personality", 0x20000, ALLOW, ALLOW),
            ("personality", 0x20008, ALLOW, ALLOW),
            ("personality", 0xffff_ffff, ALLOW, ALLOW),
            ("personality", 0x0004_0000, EPERM, EPERM),
            ("personality", 0x0040_0000, EPERM, EPERM),
            ("personality", 0x1_0004_0000, EPERM, EPERM),
            ("personality", 1, EPERM, EPERM),
        ] {
            assert_eq!(fate(&plain, native, name, arg), without, "{name}({arg:#x}) on {native:?}");
            assert_eq!(fate(&admin, native, name, arg), with, "{name}({arg:#x}) on {native:?} with SYS_ADMIN");
        }
        for number in [syscalls::newest(native) + 1, 600, 0x3fff_ffff] {
            let call = Call { number, audit: native.audit(), args: [0; 6] };
            assert_eq!(action(interpreter::run(&plain, &call)), ENOSYS, "{number}");
        }
    }
}

#[test]
fn capabilities() {
    for (cap, name) in [
        (2, "open_by_handle_at"),
        (16, "finit_module"),
        (17, "iopl"),
        (18, "chroot"),
        (19, "pidfd_getfd"),
        (20, "acct"),
        (22, "reboot"),
        (23, "mbind"),
        (25, "clock_settime"),
        (26, "vhangup"),
        (34, "syslog"),
        (38, "perf_event_open"),
        (39, "bpf"),
    ] {
        assert_eq!(fate(&program(1 << cap, Arch::X86_64, &[]), Arch::X86_64, name, 0), ALLOW, "{name}");
        assert_eq!(fate(&program(!(1 << cap | SYS_ADMIN), Arch::X86_64, &[]), Arch::X86_64, name, 0), EPERM, "{name}");
    }
}

#[test]
fn other_architectures() {
    let native = program(capability::DEFAULT, Arch::X86_64, &[]);
    for (extra, expected) in [
        (vec![], [ENOSYS, ENOSYS]),
        (vec![Arch::X86], [ALLOW, ENOSYS]),
        (vec![Arch::X32], [ENOSYS, ALLOW]),
        (vec![Arch::X32, Arch::X86, Arch::X86_64], [ALLOW, ALLOW]),
    ] {
        let program = program(capability::DEFAULT, Arch::X86_64, &extra);
        for (arch, expected) in [Arch::X86, Arch::X32].into_iter().zip(expected) {
            assert_eq!(fate(&program, arch, "write", 0), expected, "{arch:?} with {extra:?}");
            let denied = if expected == ALLOW { EPERM } else { ENOSYS };
            for (name, arg) in [("keyctl", 0), ("socket", 38), ("clone", NEWUSER), ("mount", 0)] {
                assert_eq!(fate(&program, arch, name, arg), denied, "{name}({arg}) on {arch:?} with {extra:?}");
            }
            assert_eq!(fate(&program, arch, "clone3", 0), ENOSYS);
        }
        assert_eq!(fate(&program, Arch::X86_64, "write", 0), ALLOW);
        assert_eq!(fate(&program, Arch::Aarch64, "write", 0), ENOSYS);
        // A call of x32 that has a number of its own is another one without the bit.
        let execve = Call { number: 520, audit: Arch::X86_64.audit(), args: [0; 6] };
        assert_eq!(action(interpreter::run(&program, &execve)), ENOSYS);
    }
    assert_eq!(fate(&program(capability::DEFAULT, Arch::X86_64, &[Arch::X86]), Arch::X86, "socketcall", 1), ALLOW);
    assert_eq!(fate(&native, Arch::X86_64, "arch_prctl", 0), ALLOW);
    assert_eq!(fate(&native, Arch::X86_64, "modify_ldt", 0), ALLOW);
    let arm = program(capability::DEFAULT, Arch::Aarch64, &[Arch::Arm]);
    assert_eq!(fate(&arm, Arch::Arm, "set_tls", 0), ALLOW);
    assert_eq!(fate(&arm, Arch::Arm, "usr26", 0), EPERM);
    assert_eq!(fate(&program(0, Arch::Riscv64, &[]), Arch::Riscv64, "riscv_flush_icache", 0), ALLOW);
}

#[test]
fn programs_say_what_the_profile_says() {
    let args = everywhere(&VALUES);
    for native in [Arch::X86_64, Arch::Aarch64] {
        for extra in [&[][..], &[Arch::X86, Arch::X32], &[Arch::Arm]] {
            for caps in [capability::DEFAULT, capability::DEFAULT | SYS_ADMIN, u64::MAX] {
                let profile = resolve(caps, native, extra);
                assert_equal(&profile.filter(), &profile.compile().expect("compiles"), &args);
            }
        }
    }
}

#[test]
fn what_the_build_made() {
    let native = Arch::NATIVE.expect("an architecture with a table");
    assert_eq!(program(capability::DEFAULT, native, &[]), DEFAULT_PROGRAM);
    let without_net_raw = capability::DEFAULT & !(1 << 13);
    for caps in [capability::DEFAULT, without_net_raw, 0, 1 << 13] {
        assert_eq!(prebuilt(caps, native, &[native]), Some(program(caps, native, &[]).as_slice()), "{caps:#x}");
    }
    assert_ne!(prebuilt(0, native, &[]), Some(DEFAULT_PROGRAM));
    assert_eq!(prebuilt(capability::DEFAULT | SYS_ADMIN, native, &[]), None);
    assert_eq!(prebuilt(capability::DEFAULT, native, &[Arch::X86]), None);
    assert_eq!(prebuilt(capability::DEFAULT, Arch::Arm, &[]), None);
}

/// The kernel runs a filter once for each number when it is loaded: a tree is what makes that cheap.
#[test]
fn it_is_a_tree() {
    for native in [Arch::X86_64, Arch::Aarch64] {
        let program = program(capability::DEFAULT, native, &[]);
        let call = |number| Call { number, audit: native.audit(), args: [0; 6] };
        let steps = (0..=syscalls::newest(native)).map(|number| interpreter::trace(&program, &call(number)).1);
        let conditions = 25;
        assert!(steps.max() < Some(12 + conditions), "{native:?}");
        assert!(program.len() < 256, "{}: all jumps are short", program.len());
    }
}

#[test]
fn groups() {
    let profile = resolve(capability::DEFAULT, Arch::X86_64, &[Arch::X86, Arch::X86, Arch::X86_64]);
    assert_eq!(profile.default, EPERM);
    assert_eq!(profile.arches, [Arch::X86_64, Arch::X86]);
    let first = profile.groups[0];
    assert_eq!((first.action, first.conditions.len(), first.names().len()), (ALLOW, 0, 364));
    assert!(first.names().all(syscalls::is_known));
    assert!(profile.groups.len() < 30);
    let mut names: Vec<&str> = first.names().collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 364, "a name is there twice");
}
