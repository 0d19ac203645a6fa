//! The kernel's numbers for the Spec's capabilities (linux/capability.h).

use crate::sys::caps::{Mask, Sets};
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

/// The Spec's capabilities by number.
pub const KINDS: [Capability; 41] = {
    use Capability as C;
    [
        C::Chown,
        C::DacOverride,
        C::DacReadSearch,
        C::Fowner,
        C::Fsetid,
        C::Kill,
        C::Setgid,
        C::Setuid,
        C::Setpcap,
        C::LinuxImmutable,
        C::NetBindService,
        C::NetBroadcast,
        C::NetAdmin,
        C::NetRaw,
        C::IpcLock,
        C::IpcOwner,
        C::SysModule,
        C::SysRawio,
        C::SysChroot,
        C::SysPtrace,
        C::SysPacct,
        C::SysAdmin,
        C::SysBoot,
        C::SysNice,
        C::SysResource,
        C::SysTime,
        C::SysTtyConfig,
        C::Mknod,
        C::Lease,
        C::AuditWrite,
        C::AuditControl,
        C::Setfcap,
        C::MacOverride,
        C::MacAdmin,
        C::Syslog,
        C::WakeAlarm,
        C::BlockSuspend,
        C::AuditRead,
        C::Perfmon,
        C::Bpf,
        C::CheckpointRestore,
    ]
};

/// The five sets of a Spec as the kernel takes them.
pub fn sets(capabilities: &LinuxCapabilities) -> Sets {
    Sets {
        bounding: mask(capabilities.bounding()),
        effective: mask(capabilities.effective()),
        permitted: mask(capabilities.permitted()),
        inheritable: mask(capabilities.inheritable()),
        ambient: mask(capabilities.ambient()),
    }
}

fn mask(set: &Option<Capabilities>) -> Mask {
    let number = |capability| KINDS.iter().position(|kind| kind == capability);
    set.iter().flatten().filter_map(number).fold(0, |mask, number| mask | 1 << number)
}
