//! Whether a signal would have any effect.

use std::thread::sleep;
use std::time::Duration;

/// True if the kernel drops the signal for a process: it is the first one of its pid namespace and does not care about it.
pub fn is_dropped(pid: i32, signal: i32) -> bool {
    is_first(pid) && has_default(pid, signal)
}

/// True for number 1 of a pid namespace that is not this process's own (proc_pid_status(5), NSpid).
fn is_first(pid: i32) -> bool {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let mut numbers = numbers.unwrap_or_default().split_whitespace();
    numbers.next_back() == Some("1") && numbers.next().is_some()
}

/// True if a process neither handles, ignores, blocks nor waits for the signal (proc_pid_status(5), SigBlk, SigIgn, SigCgt).
/// The kernel drops it then for the first process of a pid namespace (pid_namespaces(7)). While a process waits in
/// sigwait(3) the kernel shows what it waits for as not blocked.
pub fn has_default(pid: i32, signal: i32) -> bool {
    // One that is just on its way into sigwait(3), or out of it, looks for a moment as if it did not care.
    (0..LOOKS).all(|look| {
        if look > 0 {
            sleep(MOMENT);
        }
        seems_default(pid, signal)
    })
}

/// How often one looks, and how long it takes to the next time.
const LOOKS: u32 = 4;
const MOMENT: Duration = Duration::from_millis(1);

fn seems_default(pid: i32, signal: i32) -> bool {
    let file = |name: &str| fs_err::read_to_string(format!("/proc/{pid}/{name}"));
    let Ok(status) = file("status") else { return false };
    let bit = 1u64 << (signal - 1);
    let waits = match file("syscall") {
        Ok(call) => call.split(' ').next() == Some(&libc::SYS_rt_sigtimedwait.to_string()),
        // Another user's may be read only by that user; where a process sleeps in the kernel, by whoever owns its
        // user namespace, too.
        Err(_) => file("wchan").is_ok_and(|place| place.contains("sigtimedwait")),
    };
    !waits
        && !status
            .lines()
            .filter_map(|line| {
                let (name, mask) = line.split_once(":\t")?;
                matches!(name, "SigBlk" | "SigIgn" | "SigCgt").then(|| u64::from_str_radix(mask, 16).ok())?
            })
            .any(|mask| mask & bit != 0)
}
