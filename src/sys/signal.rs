//! Signals of this process.

use super::{Named, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::Errno;

fn errno(error: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

/// Signals that were blocked, to be read from a descriptor, and the mask from before.
pub struct Blocked {
    /// Readable when a signal is there.
    pub queue: SignalFd,
    before: SigSet,
}

impl Blocked {
    /// Blocks every signal but those that report a fault of this process itself and those of job control, and opens a
    /// queue for them. What rbox, a shell's `&` or nohup left ignored gets its default back: it stays blocked here,
    /// and a payload made from this process finds it as it expects.
    pub fn all() -> Result<Blocked> {
        let mut set = SigSet::all();
        for kept in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGILL,
            Signal::SIGFPE,
            Signal::SIGABRT,
            Signal::SIGTRAP,
            Signal::SIGSYS,
            Signal::SIGTSTP,
            Signal::SIGTTIN,
            Signal::SIGTTOU,
        ] {
            set.remove(kept);
        }
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), Some(&mut before))
            .map_err(errno)
            .named(|| "sigprocmask".to_owned())?;
        default_all()?;
        let queue = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(errno)
            .named(|| "signalfd".to_owned())?;
        Ok(Blocked { queue, before })
    }

    /// The next signal and the process that sent it (0: the kernel); `None` when there is none.
    pub fn next(&self) -> Result<Option<(i32, u32)>> {
        let signal = self.queue.read_signal().map_err(errno).named(|| "read(signalfd)".to_owned())?;
        Ok(signal.map(|info| (info.ssi_signo as i32, info.ssi_pid)))
    }

    /// The mask from before.
    pub fn unblock(&self) -> Result<()> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None).map_err(errno).named(|| "sigprocmask".to_owned())
    }
}

/// What this process needs whatever it was started with: to wait for children, which does not work while their end is
/// ignored; and an error where a file becomes too long, not the end (setrlimit(2), RLIMIT_FSIZE).
pub fn prepare() -> Result<()> {
    for (signal, handler) in [(Signal::SIGCHLD, SigHandler::SigDfl), (Signal::SIGXFSZ, SigHandler::SigIgn)] {
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: neither runs code of this process.
        unsafe { sigaction(signal, &action) }.map_err(errno).named(|| "sigaction".to_owned())?;
    }
    Ok(())
}

/// Gives every signal its default action, whatever this process was started with.
pub fn default_all() -> Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        // Rust's own handlers for faults print why; the payload does without, for execve takes them away.
        if !matches!(signal, Signal::SIGSEGV | Signal::SIGBUS) {
            // SAFETY: the default action runs no code of this process.
            unsafe { sigaction(signal, &default) }.map_err(errno).named(|| "sigaction".to_owned())?;
        }
    }
    Ok(())
}

/// What a payload expects at its start: nothing blocked.
pub fn unblock_all() -> Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(errno).named(|| "sigprocmask".to_owned())
}

/// True for those that are sent to a process so that it ends.
pub fn asks_to_end(signal: i32) -> bool {
    matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)
}

/// As long as this lives a terminal stops neither this process nor a program that it starts.
pub struct Unstoppable(SigAction);

impl Unstoppable {
    /// From now on.
    pub fn begin() -> Result<Unstoppable> {
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: to ignore it runs no code of this process.
        let before = unsafe { sigaction(Signal::SIGTSTP, &ignore) };
        before.map(Unstoppable).map_err(errno).named(|| "sigaction".to_owned())
    }
}

impl Drop for Unstoppable {
    fn drop(&mut self) {
        // SAFETY: as it was before; rbox has no handler of its own for it.
        let _ = unsafe { sigaction(Signal::SIGTSTP, &self.0) };
    }
}

/// Signals that are blocked.
pub struct Mask(SigSet);

impl Mask {
    /// Blocks these, and no others.
    pub fn set(&self) -> Result<()> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None).map_err(errno).named(|| "sigprocmask".to_owned())
    }
}

/// Nothing but SIGKILL and SIGSTOP reaches this process any more. What was blocked before.
pub fn block_all() -> Result<Mask> {
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))
        .map_err(errno)
        .named(|| "sigprocmask".to_owned())?;
    Ok(Mask(before))
}

/// Signals back to their default action.
pub fn reset() -> Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGPIPE, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGXFSZ] {
        // SAFETY: the default action runs no code of this process.
        unsafe { sigaction(signal, &default) }.map_err(errno).named(|| "sigaction".to_owned())?;
    }
    Ok(())
}

/// The terminal's signals leave this process alone, for as long as a program that it waits for has the terminal.
pub fn ignore_terminal() -> Result<()> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: ignoring runs no code of this process.
        unsafe { sigaction(signal, &ignore) }.map_err(errno).named(|| "sigaction".to_owned())?;
    }
    Ok(())
}
