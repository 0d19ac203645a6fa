//! The payload of the tests: a static program with verbs, so that no test needs an image. Never shipped.
//!
//! Verbs that look around print `key=value` lines. `without` runs on the host: it takes system calls away, to stand in
//! for an older kernel.

#![allow(unsafe_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]
#![allow(clippy::undocumented_unsafe_blocks)]

mod ask;
mod burden;
mod dns;
mod host;
mod pour;
mod server;

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let text: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = text.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["report"] => report(),
        ["exit", status] => std::process::exit(status.parse().expect("a number")),
        ["echo", rest @ ..] => println!("{}", rest.join(" ")),
        ["args", ..] => args[1..].iter().for_each(|arg| println!("{}", arg.as_bytes().escape_ascii())),
        ["say", texts @ ..] => texts.iter().for_each(|text| tell(text)),
        ["count", lines] => (0..lines.parse().expect("a number")).for_each(|line: u64| println!("{line}")),
        ["cat"] => copy_input(),
        ["exists", path] => std::process::exit(i32::from(!std::path::Path::new(path).exists())),
        ["say-and-exit", text, status] => {
            say(text);
            std::process::exit(status.parse().expect("a number"));
        }
        // As it comes.
        ["copy"] => {
            say("ready");
            let mut buffer = [0; 65536];
            while let Ok(length @ 1..) = std::io::stdin().read(&mut buffer) {
                std::io::stdout().write_all(&buffer[..length]).expect("writable");
                std::io::stdout().flush().expect("writable");
            }
        }
        ["ready-cat"] => {
            say("ready");
            copy_input();
        }
        ["read", path] => print!("{}", std::fs::read_to_string(path).unwrap_or_else(|e| format!("error={e}\n"))),
        // What there is to be read from a descriptor that it was started with.
        ["descriptor", number] => {
            let number = number.parse().expect("a number");
            let mut file: std::fs::File = unsafe { std::os::fd::FromRawFd::from_raw_fd(number) };
            std::io::copy(&mut file, &mut std::io::stdout()).expect("readable");
        }
        // Lines for a service manager; then it goes on.
        ["notify", lines @ ..] => {
            let address = std::env::var_os("NOTIFY_SOCKET").expect("NOTIFY_SOCKET");
            let socket = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
            socket.send_to(lines.join("\n").as_bytes(), address).expect("heard");
            say("notified");
            copy_input();
        }
        ["let-go", number] => {
            assert_eq!(unsafe { libc::close(number.parse().expect("a number")) }, 0);
            wait_for_ever();
        }
        ["write", path, text] => outcome(std::fs::write(path, text)),
        ["stat", path] => stat(path),
        ["chmod", path, mode] => {
            let mode = u32::from_str_radix(mode, 8).expect("octal");
            outcome(std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)));
        }
        ["attribute", path, name] => attribute(path, name),
        ["set-attribute", path, name, value] => set_attribute(path, name, value),
        ["ls", path] => list(path),
        ["take-memory", bytes] => burden::take_memory(bytes),
        ["fork-until-it-fails"] => burden::fork_until_it_fails(),
        ["spin", milliseconds] => burden::spin(milliseconds),
        ["write-through", file, bytes] => burden::write_through(file, bytes),
        ["processors"] => burden::processors(),
        ["priority"] => burden::priority(),
        ["divide-cgroup", dir] => burden::divide_cgroup(dir),
        [verb @ ("lift-limits" | "lift-limits-of-host"), dir, then @ ..] => {
            match *verb {
                "lift-limits" => burden::lift_limits(dir),
                _ => burden::lift_limits_of_host(dir),
            }
            match then {
                ["take-memory", bytes] => burden::take_memory(bytes),
                ["fork-until-it-fails"] => burden::fork_until_it_fails(),
                other => panic!("guest: lift limits, then what: {other:?}?"),
            }
        }
        ["sleep"] => wait_for_ever(),
        ["spin"] => {
            say("ready");
            loop {
                std::hint::spin_loop();
            }
        }
        ["catch", signal] => catch(signal.parse().expect("a number")),
        ["sigwait", signal] => sigwait(signal.parse().expect("a number")),
        ["raise", signal] => unsafe { assert_eq!(libc::raise(signal.parse().expect("a number")), 0) },
        ["try", call] => attempt(call),
        ["loopback"] => loopback(),
        ["serve"] => host::serve(),
        ["echo-server", ports @ ..] => {
            server::echo(ports);
            wait_for_ever();
        }
        ["listen", ports @ ..] => {
            server::echo(ports);
            say("ready");
            copy_input();
        }
        ["connect", protocol, address, port, text] => ask::connect(protocol, address, port, text),
        ["knock", targets @ ..] => ask::knock(targets),
        ["resolve", name] => ask::resolve(name),
        ["dns", protocol, server, name, kind] => dns::query(protocol, server, name, kind),
        ["ping", address] => ask::ping(address),
        ["send-over", interface, targets @ ..] => send_over(interface, targets),
        ["pour", to, bytes] => pour::out(to, bytes),
        ["pour-to-client", port, bytes] => pour::to_client(port, bytes),
        ["hear", port] => server::hear(port),
        ["tell", to, text] => ask::say_to(to, text),
        ["forge", from, to] => ask::forge(from, to),
        ["take", from] => pour::take(from),
        ["take-from-client", port] => pour::from_client(port),
        ["gateways"] => ask::gateways(),
        ["orphan"] => orphan(),
        ["winsize"] => window_size(),
        ["wait-winsize"] => wait_for_resize(),
        ["env"] => std::env::vars().for_each(|(key, value)| println!("{key}={value}")),
        ["env-count"] => println!("{}", std::env::vars_os().count()),
        ["write-and-read", path] => {
            std::fs::write(path, "kept\n").expect("writable");
            say("written");
            copy_input();
            print!("{}", std::fs::read_to_string(path).unwrap_or_else(|error| format!("{error}\n")));
        }
        ["look-at-pid-1", path] => {
            let exe = std::fs::File::open("/proc/1/exe").is_ok();
            let fd = std::fs::read_dir("/proc/1/fd").is_ok_and(|dir| dir.count() > 0);
            std::fs::write(path, format!("exe={exe} fd={fd}")).expect("writable");
        }
        ["orphan-forever"] => orphan_forever(),
        ["swap", a, b] => swap(a, b),
        ["log-state", path, name] => log_state(path, name),
        ["without", call, rest @ ..] => without(call, rest),
        other => panic!("guest: what is {other:?}?"),
    }
}

/// `out:TEXT` or `err:TEXT`, each a line of that stream.
fn tell(text: &str) {
    match text.split_once(':') {
        Some(("out", text)) => say(text),
        Some(("err", text)) => eprintln!("{text}"),
        _ => panic!("guest: {text}: out or err?"),
    }
}

/// Sends a datagram to each target, and knocks for a connection, over one interface whatever the routes say.
fn send_over(interface: &str, targets: &[&str]) {
    for target in targets {
        let to: std::net::SocketAddr = target.parse().expect("an address");
        let any: std::net::IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = std::net::UdpSocket::bind((any, 0)).expect("a socket");
        bind_to_device(&socket, interface);
        let _ = socket.send_to(b"hello", to);
        let kind = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let stream: std::os::fd::OwnedFd = unsafe {
            std::os::fd::FromRawFd::from_raw_fd(libc::socket(kind, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0))
        };
        bind_to_device(&stream, interface);
        // Whether the connection comes about is seen at the other end.
        let _ = rustix::net::connect(&stream, &to);
        std::mem::forget(stream);
    }
    // Long enough for a handshake.
    std::thread::sleep(std::time::Duration::from_millis(500));
}

fn bind_to_device(socket: &impl std::os::fd::AsRawFd, interface: &str) {
    let (level, name, length) = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE, interface.len() as u32);
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, interface.as_ptr().cast(), length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn outcome(result: std::io::Result<()>) {
    match result {
        Ok(()) => println!("ok"),
        Err(error) => println!("errno={}", error.raw_os_error().unwrap_or(0)),
    }
}

fn report() {
    unsafe {
        println!("pid={}", libc::getpid());
        println!("uid={}\neuid={}", libc::getuid(), libc::geteuid());
        println!("gid={}\negid={}", libc::getgid(), libc::getegid());
        println!("sid={}", libc::getsid(0));
        let mut groups = [0; 128];
        let count = libc::getgroups(128, groups.as_mut_ptr());
        println!("groups={:?}", &groups[..count.max(0) as usize]);
        let mask = libc::umask(0);
        println!("umask={mask:o}");
        println!("tty={}", (0..3).map(|fd| libc::isatty(fd).to_string()).collect::<String>());
        for (name, resource) in [("nofile", libc::RLIMIT_NOFILE), ("core", libc::RLIMIT_CORE)] {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::getrlimit(resource, &mut limit);
            println!("rlimit.{name}={}:{}", limit.rlim_cur, limit.rlim_max);
        }
    }
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    println!("hostname={}", file("/proc/sys/kernel/hostname").trim());
    println!("domainname={}", file("/proc/sys/kernel/domainname").trim());
    println!("oom_score_adj={}", file("/proc/self/oom_score_adj").trim());
    println!("cwd={}", std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default());
    for line in file("/proc/self/status").lines() {
        let Some((key, value)) = line.split_once(":\t") else { continue };
        if ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "SigBlk", "SigIgn"]
            .contains(&key)
        {
            println!("{key}={value}");
        }
    }
    for kind in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"] {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
        println!("ns.{kind}={}", link.display());
    }
    println!("uid_map={:?}", file("/proc/self/uid_map").split_whitespace().collect::<Vec<_>>());
    println!("gid_map={:?}", file("/proc/self/gid_map").split_whitespace().collect::<Vec<_>>());
    // The directory that is being read has a descriptor of its own, which is gone afterwards.
    let mut fds: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .map(|dir| dir.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    fds.retain(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok());
    println!("fds={}", fds.join(","));
    let pids = std::fs::read_dir("/proc")
        .map(|dir| dir.flatten().filter(|entry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit)).count());
    println!("processes={}", pids.unwrap_or(0));
    for line in file("/proc/self/mountinfo").lines() {
        println!("mount={line}");
    }
}

fn copy_input() {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).expect("readable");
    std::io::stdout().write_all(&bytes).expect("writable");
}

/// Blocks a signal and waits for it.
fn sigwait(signal: i32) {
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut set, signal);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        say("ready");
        let info = std::ptr::null_mut::<libc::siginfo_t>();
        println!("waited={}", libc::sigtimedwait(&set, info, std::ptr::null()));
    }
}

/// Leaves a process behind that would run for ever.
fn orphan_forever() {
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::setsid();
            for fd in 0..3 {
                libc::close(fd);
            }
            loop {
                libc::pause();
            }
        }
        println!("orphan={pid}");
    }
}

/// A hook: appends its name and the state that it is given to a file.
fn log_state(path: &str, name: &str) {
    let mut state = String::new();
    std::io::stdin().read_to_string(&mut state).expect("readable");
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("a log");
    writeln!(file, "{name} {}", state.replace('\n', " ")).expect("writable");
}

/// Lets two names change places for ever.
fn swap(a: &str, b: &str) {
    let [a, b] = [a, b].map(|text| std::ffi::CString::new(text).expect("no NUL"));
    say("ready");
    loop {
        let flags = libc::RENAME_EXCHANGE;
        let (from, to, here) = (a.as_ptr(), b.as_ptr(), libc::AT_FDCWD);
        assert_eq!(unsafe { libc::syscall(libc::SYS_renameat2, here, from, here, to, flags) }, 0);
    }
}

fn stat(path: &str) {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => println!("uid={}\ngid={}\nmode={:o}\nsize={}", meta.uid(), meta.gid(), meta.mode(), meta.size()),
        Err(error) => println!("errno={}", error.raw_os_error().unwrap_or(0)),
    }
}

fn attribute(path: &str, name: &str) {
    let [path, name] = [path, name].map(|text| std::ffi::CString::new(text).expect("no NUL"));
    let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
    println!("{}", if length < 0 { "none".to_owned() } else { format!("length={length}") });
}

fn set_attribute(path: &str, name: &str, value: &str) {
    let [path, name] = [path, name].map(|text| std::ffi::CString::new(text).expect("no NUL"));
    let done = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    outcome(if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) });
}

fn list(path: &str) {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .map(|dir| dir.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    println!("{}", names.join(" "));
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("writable");
}

fn wait_for_ever() {
    say("ready");
    loop {
        unsafe { libc::pause() };
    }
}

/// Blocks the signal before it says that it is ready, so that none is lost, and waits for it.
fn catch(signal: i32) {
    println!("caught={}", wait_for(signal));
}

fn wait_for(signal: i32) -> i32 {
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        say("ready");
        let mut got = 0;
        libc::sigwait(&set, &mut got);
        got
    }
}

fn attempt(call: &str) {
    let result: i64 = unsafe {
        match call {
            "unshare-user" => libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER),
            "clone-user" => match libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, 0, 0, 0, 0) {
                0 => libc::_exit(0),
                result => result,
            },
            "clone3" => libc::syscall(libc::SYS_clone3, 0, 0),
            "mount" => libc::mount(c"x".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()) as i64,
            "keyctl" => libc::syscall(libc::SYS_keyctl, 0, -3, 0),
            "bpf" => libc::syscall(libc::SYS_bpf, 0, 0, 0),
            "io_uring_setup" => libc::syscall(libc::SYS_io_uring_setup, 1, 0),
            "af_alg" => libc::socket(38, libc::SOCK_SEQPACKET, 0) as i64,
            "af_vsock" => libc::socket(40, libc::SOCK_STREAM, 0) as i64,
            "tiocsti" => libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) as i64,
            "mknod" => libc::mknod(c"/tmp/node".as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, 3)) as i64,
            "chroot" => libc::chroot(c"/".as_ptr()) as i64,
            "setuid-1" => libc::setuid(1) as i64,
            "sethostname" => libc::sethostname(c"x".as_ptr(), 1) as i64,
            // getpid, in the 32-bit table through int 0x80.
            "int80" => int80(20),
            // getpid in the x32 table.
            "x32" => libc::syscall(0x4000_0000 + 39),
            other => panic!("guest: try what, {other}?"),
        }
    };
    if result < 0 {
        println!("errno={}", std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    } else {
        println!("ok");
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn int80(number: i64) -> i64 {
    let result: i64;
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") number => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        if (result as i32) < 0 {
            *libc::__errno_location() = -(result as i32);
            return -1;
        }
    }
    result
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn int80(_: i64) -> i64 {
    unsafe { *libc::__errno_location() = libc::ENOSYS };
    -1
}

fn loopback() {
    let result = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| std::net::TcpStream::connect(listener.local_addr()?))
        .map(|_| ());
    outcome(result);
}

/// Leaves a grandchild behind whose parent ends at once; somebody must reap it.
fn orphan() {
    unsafe {
        let child = libc::fork();
        if child == 0 {
            if libc::fork() == 0 {
                libc::_exit(0);
            }
            libc::_exit(0);
        }
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    // The orphan is gone from /proc once it is reaped.
    for _ in 0..2000 {
        let zombies = std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
            .filter(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
            .count();
        if zombies == 0 {
            return println!("reaped");
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    println!("zombie");
}

fn size() -> String {
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        libc::ioctl(0, libc::TIOCGWINSZ, &mut size);
        format!("size={}x{}", size.ws_row, size.ws_col)
    }
}

fn window_size() {
    println!("{}", size());
}

fn wait_for_resize() {
    wait_for(libc::SIGWINCH);
    println!("{}", size());
}

/// Runs a command under a filter that answers ENOSYS to the named system calls (comma separated).
fn without(calls: &str, command: &[&str]) {
    let step = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };
    let denied = step(0x06, 0, 0, 0x0005_0000 | libc::ENOSYS as u32);
    let mut program = vec![step(0x20, 0, 0, 0)];
    // Forms of clone: flags, and which of them must be there.
    let (beside, between) = (libc::CLONE_VM, libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD);
    let clone = |mask: i32, value: i32| {
        let is_clone = step(0x15, 0, 5, libc::SYS_clone as u32);
        let flags = [step(0x20, 0, 0, 16), step(0x54, 0, 0, mask as u32), step(0x15, 0, 1, value as u32)];
        [&[is_clone], &flags[..], &[denied, step(0x20, 0, 0, 0)]].concat()
    };
    for call in calls.split(',') {
        let number = match call {
            "clone3" => libc::SYS_clone3,
            "mount_setattr" => libc::SYS_mount_setattr,
            "keyctl" => libc::SYS_keyctl,
            "clone-beside" => {
                program.extend(clone(beside | libc::CLONE_VFORK | libc::CLONE_THREAD, beside));
                continue;
            }
            "clone-between" => {
                program.extend(clone(between, between));
                continue;
            }
            other => panic!("guest: without what, {other}?"),
        };
        program.extend([step(0x15, 0, 1, number as u32), denied]);
    }
    program.push(step(0x06, 0, 0, 0x7fff_0000));
    let (name, args) = command.split_first().expect("a command");
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, 2, &filter), 0);
    }
    let error = std::process::Command::new(name).args(args).exec();
    panic!("guest: {name}: {error}");
}
