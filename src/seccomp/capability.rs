//! Capabilities by name and number (capabilities(7), `include/uapi/linux/capability.h`). Here, at the bottom, because the
//! build script needs them as well.

/// The names without `CAP_` by number.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// docker's 14 capabilities, a bit for each number (moby, `daemon/pkg/oci/caps/defaults.go`): what a container has when
/// nobody asks for anything else.
pub const DEFAULT: u64 = bits([
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
]);

/// A bit for each capability that has a name here.
pub const EVERY: u64 = (1 << NAMES.len()) - 1;

/// The number of a capability, by its name without `CAP_`.
pub const fn number(name: &str) -> Option<u32> {
    let mut number = 0;
    while number < NAMES.len() {
        if equal(NAMES[number].as_bytes(), name.as_bytes()) {
            return Some(number as u32);
        }
        number += 1;
    }
    None
}

/// A bit for each of these, as a constant.
pub const fn bits<const N: usize>(names: [&str; N]) -> u64 {
    let (mut bits, mut index) = (0, 0);
    while index < N {
        match number(names[index]) {
            Some(number) => bits |= 1 << number,
            None => panic!("a name that is no capability"),
        }
        index += 1;
    }
    bits
}

/// `==` is not for constants.
const fn equal(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}
