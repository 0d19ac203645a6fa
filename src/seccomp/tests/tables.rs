use crate::seccomp::filter::Arch;
use crate::seccomp::syscalls::{TABLES, is_known, name, newest, number};

#[test]
fn known_numbers() {
    let table: [(&str, [Option<u32>; 6]); 12] = [
        // In the order of Arch::ALL: x86_64, x86, x32, aarch64, arm, riscv64.
        ("read", [Some(0), Some(3), Some(0x4000_0000), Some(63), Some(3), Some(63)]),
        ("execve", [Some(59), Some(11), Some(0x4000_0208), Some(221), Some(11), Some(221)]),
        ("socketcall", [None, Some(102), None, None, None, None]),
        ("ipc", [None, Some(117), None, None, None, None]),
        ("waitpid", [None, Some(7), None, None, None, None]),
        ("newfstatat", [Some(262), None, Some(0x4000_0106), Some(79), None, Some(79)]),
        ("fstatat64", [None, Some(300), None, None, Some(327), None]),
        ("clock_gettime64", [None, Some(403), None, None, Some(403), None]),
        ("set_tls", [None, None, None, None, Some(0xf0005), None]),
        ("riscv_hwprobe", [None, None, None, None, None, Some(258)]),
        ("uretprobe", [Some(335), None, None, None, None, None]),
        ("break", [None, Some(17), None, None, None, None]),
    ];
    for (name, numbers) in table {
        assert_eq!(Arch::ALL.map(|arch| number(arch, name)), numbers, "{name}");
    }
    // From 424 on the numbers are the same everywhere.
    for (name, expected) in [
        ("pidfd_send_signal", 424),
        ("clone3", 435),
        ("futex_waitv", 449),
        ("cachestat", 451),
        ("map_shadow_stack", 453),
        ("futex_wait", 455),
        ("statmount", 457),
        ("mseal", 462),
        ("setxattrat", 463),
        ("open_tree_attr", 467),
        ("file_setattr", 469),
        ("listns", 470),
    ] {
        for arch in Arch::ALL {
            let bit = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
            assert_eq!(number(arch, name), Some(expected | bit), "{name} on {}", arch.name());
        }
    }
    assert!(is_known("swapcontext") && !is_known("") && !is_known("zzz") && !is_known("open_tre"));
}

#[test]
fn every_name_is_found_by_its_number() {
    for arch in Arch::ALL {
        let mut count = 0;
        for index in 0..TABLES.starts.len() as u16 - 1 {
            let known = TABLES.name(index).expect("a name");
            assert_eq!(TABLES.index(known), Some(index));
            if let Some(number) = TABLES.number(arch, index) {
                assert_eq!(name(arch, number), Some(known));
                assert!(number <= newest(arch) || TABLES.special(arch).any(|special| special == number));
                count += 1;
            }
        }
        assert_eq!(count, TABLES.by_number[arch as usize].len());
        assert!(count > 320, "{arch:?}: {count}");
        assert_eq!(name(arch, newest(arch) + 1), None);
        assert_eq!(number(arch, "rseq_slice_yield"), Some(newest(arch)));
    }
    assert_eq!(TABLES.special(Arch::Arm).collect::<Vec<_>>(), (0xf0001..=0xf0006).collect::<Vec<_>>());
    assert_eq!(TABLES.special(Arch::X32).collect::<Vec<_>>(), (0x4000_0200..=0x4000_0223).collect::<Vec<_>>());
    assert_eq!(TABLES.special(Arch::X86_64).count(), 0);
}

#[test]
fn names_of_architectures() {
    for (at, arch) in Arch::ALL.into_iter().enumerate() {
        assert_eq!(arch as usize, at);
        assert_eq!(Arch::from_name(arch.name()), Some(arch));
        assert_eq!(Arch::from_oci_name(arch.oci_name()), Some(arch));
    }
    assert_eq!(Arch::NATIVE.map(Arch::name), Some(std::env::consts::ARCH));
}
