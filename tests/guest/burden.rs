//! What uses up what a container may have, and what tries to get more.

use std::time::{Duration, Instant};

/// Takes so many bytes of memory, a piece at a time, and keeps them.
pub fn take_memory(bytes: &str) {
    const PIECE: usize = 1 << 20;
    let wanted: usize = bytes.parse().expect("a number");
    let mut all: Vec<Vec<u8>> = Vec::new();
    while all.len() * PIECE < wanted {
        let mut piece = vec![0u8; PIECE];
        piece.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        all.push(std::hint::black_box(piece));
    }
    println!("taken={wanted}");
}

/// Makes processes until the kernel makes no more, and says how many there were with this one.
pub fn fork_until_it_fails() {
    let mut children = Vec::new();
    let errno = loop {
        match unsafe { libc::fork() } {
            -1 => break std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
            0 => loop {
                unsafe { libc::pause() };
            },
            child => children.push(child),
        }
        assert!(children.len() < 5000, "nothing stops this");
    };
    println!("processes={}\nerrno={errno}", children.len() + 1);
    for child in children {
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
}

/// Is busy for so many milliseconds, and says how many of them it had a processor.
pub fn spin(milliseconds: &str) {
    let end = Instant::now() + Duration::from_millis(milliseconds.parse().expect("a number"));
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
    let milliseconds = |time: libc::timeval| time.tv_sec * 1000 + time.tv_usec / 1000;
    println!("had={}", milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime));
}

/// Writes so many bytes into a file, past every cache, and says how many milliseconds that took.
pub fn write_through(file: &str, bytes: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    const PIECE: usize = 64 << 10;
    #[repr(align(4096))]
    struct Aligned([u8; PIECE]);
    let piece = Box::new(Aligned([7; PIECE]));
    let flags = libc::O_DIRECT | libc::O_SYNC;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).custom_flags(flags).open(file).expect("a file");
    let begin = Instant::now();
    for _ in 0..bytes.parse::<usize>().expect("a number") / PIECE {
        file.write_all(&piece.0).expect("room");
    }
    println!("took={}", begin.elapsed().as_millis());
}

/// The processors that it may run on.
pub fn processors() {
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    assert_eq!(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) }, 0);
    let all = (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) });
    println!("processors={}", all.map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(","));
}

/// The level of its priority with disks.
pub fn priority() {
    println!("priority={}", unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) });
}

/// As a service manager does it: goes to a cgroup below its own, and gives the controllers to those below. Others are called and
/// nested so that whoever removes them has some work.
pub fn divide_cgroup(dir: &str) {
    use std::os::unix::ffi::OsStrExt;
    std::env::set_current_dir(dir).expect("a directory");
    std::fs::create_dir("init").expect("writable");
    std::fs::write("init/cgroup.procs", "0").expect("writable");
    std::fs::write("cgroup.subtree_control", "+memory").expect("writable");
    std::fs::create_dir(std::ffi::OsStr::from_bytes(b"\xff x")).expect("any name");
    for _ in 0..1500 {
        std::fs::create_dir("deep").expect("any depth");
        std::env::set_current_dir("deep").expect("any depth");
    }
    println!("divided");
    loop {
        unsafe { libc::pause() };
    }
}

/// As root of a container with a cgroup hierarchy of its own: lifts whatever can be lifted there, leaves the cgroup that it was
/// born in, and says what came of each.
pub fn lift_limits(dir: &str) {
    std::fs::create_dir_all(dir).expect("a directory");
    let target = std::ffi::CString::new(dir).expect("no NUL");
    let mounted = unsafe { libc::mount(c"cgroup".as_ptr(), target.as_ptr(), c"cgroup2".as_ptr(), 0, std::ptr::null()) };
    println!("mount={}", if mounted == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(-1) });
    let write = |file: &str, text: &str| {
        let done = std::fs::OpenOptions::new().write(true).open(format!("{dir}/{file}"));
        let done = done.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        println!("{file}={}", done.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0));
    };
    for file in ["memory.max", "memory.swap.max", "memory.high", "pids.max"] {
        write(file, "max");
    }
    write("memory.oom.group", "0");
    write("cpu.max", "max 100000");
    let _ = std::fs::create_dir(format!("{dir}/sub"));
    write("sub/cgroup.procs", "0");
    for outside in ["..", "../..", "../../.."] {
        write(&format!("{outside}/cgroup.procs"), "0");
    }
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("/proc");
    println!("own={}", own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default());
}

/// As root of a container that is given the host's hierarchy, `dir`: uncovers it, lifts the limits above the own cgroup, freezes
/// those there, leaves for them. Says what of all that could be done, and of what it may do.
pub fn lift_limits_of_host(dir: &str) {
    let found = std::fs::read_dir(dir).map(|_| ()).and_then(|()| {
        let target = std::ffi::CString::new(dir)?;
        // What the container has there itself: below is the host's.
        if dir == "/sys/fs/cgroup" {
            let _ = unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        }
        let again = unsafe {
            let flags = libc::MS_REMOUNT | libc::MS_BIND;
            libc::mount(std::ptr::null(), target.as_ptr(), std::ptr::null(), flags, std::ptr::null())
        };
        println!(
            "remount={}",
            if again == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(-1) }
        );
        Ok(find(std::path::Path::new(dir)))
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => return println!("found={error}"),
    };
    let write = |path: &std::path::Path, text: &str| {
        let file = std::fs::OpenOptions::new().write(true).open(path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())).is_ok()
    };
    let above: std::collections::BTreeSet<&std::path::Path> = found
        .iter()
        .flat_map(|payload| payload.ancestors().skip(1).take_while(|above| above.starts_with(dir)))
        .collect();
    let mut done = Vec::new();
    for above in &above {
        let files = [("memory.max", "max"), ("pids.max", "max"), ("cgroup.freeze", "0"), ("cgroup.max.depth", "9")];
        for (file, text) in files.into_iter().chain([("cgroup.procs", "0"), ("cgroup.kill", "0")]) {
            done.extend(write(&above.join(file), text).then(|| above.join(file)));
        }
        let sub = above.join("sub");
        done.extend(std::fs::create_dir(&sub).is_ok().then_some(sub));
        done.extend(born_in(above).then(|| above.join("clone3")));
    }
    println!("above={}\ndone={done:?}", above.len());
    // Of all containers there its own is one.
    let is_own = |payload: &&std::path::PathBuf| {
        let sub = payload.join("sub");
        std::fs::create_dir(&sub).is_ok() && write(&sub.join("cgroup.procs"), "0")
    };
    println!("own={}", found.iter().filter(is_own).count());
}

/// True if a process could begin in a cgroup: CLONE_INTO_CGROUP asks for no mount that can be written to.
fn born_in(dir: &std::path::Path) -> bool {
    use std::os::fd::AsRawFd;
    let Ok(dir) = std::fs::File::open(dir) else { return false };
    // struct clone_args: eleven numbers, the flags first, the exit signal fifth, the cgroup last.
    let mut args = [0_u64; 11];
    (args[0], args[4], args[10]) = (1 << 33, libc::SIGCHLD as u64, dir.as_raw_fd() as u64);
    match unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) } {
        0 => unsafe { libc::_exit(0) },
        pid if pid > 0 => unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), 0) == pid as i32 },
        _ => false,
    }
}

/// The cgroups of containers' processes, below a directory of the hierarchy.
fn find(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let payload = entry.path().join("payload");
        match name.strip_prefix("rbox-").is_some_and(|id| id.len() == 64) && payload.is_dir() {
            true => found.push(payload),
            false => found.extend(find(&entry.path())),
        }
    }
    found
}
