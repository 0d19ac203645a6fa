//! Pseudo-terminals (pty(7)).

use super::{Named, Result, check};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The other side of `master`, opened without a path, which somebody could have replaced (ioctl_tty(2), TIOCGPTPEER,
/// CVE-2025-52565).
pub fn open_peer(master: impl AsFd) -> Result<OwnedFd> {
    rustix::pty::unlockpt(&master).named(|| "ioctl(TIOCSPTLCK)".to_owned())?;
    rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .named(|| "ioctl(TIOCGPTPEER)".to_owned())
}

/// Makes `terminal` the controlling terminal of this session, whose leader this process must be.
pub fn control(terminal: impl AsFd) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer, 0: do not steal it from another session.
    check(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY as _, 0) }.into())
        .named(|| "ioctl(TIOCSCTTY)".to_owned())?;
    Ok(())
}

/// Rows and columns of the terminal on standard input, or else on standard output; none if neither is one.
pub fn size_of_stdio() -> Option<(u16, u16)> {
    let sizes = [rustix::stdio::stdin(), rustix::stdio::stdout()].map(rustix::termios::tcgetwinsize);
    sizes.into_iter().flatten().next().map(|size| (size.ws_row, size.ws_col))
}

/// Gives a terminal the window size of the one on standard input, or else on standard output; without effect if
/// neither is a terminal.
pub fn copy_size_of_stdio(to: impl AsFd) {
    let sizes = [rustix::stdio::stdin(), rustix::stdio::stdout()].map(rustix::termios::tcgetwinsize);
    if let Some(size) = sizes.into_iter().flatten().next() {
        // A terminal that cannot be resized stays as it is: nothing depends on it.
        let _ = rustix::termios::tcsetwinsize(to, size);
    }
}

/// Sets the size in rows and columns.
pub fn set_size(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).named(|| "ioctl(TIOCSWINSZ)".to_owned())
}

/// A terminal in raw mode; it gets its old mode back when the value is dropped.
pub struct Raw<Fd: AsFd> {
    terminal: Fd,
    before: Termios,
}

impl<Fd: AsFd> Raw<Fd> {
    /// Bytes pass both ways as they are.
    pub fn set(terminal: Fd) -> Result<Raw<Fd>> {
        let before = rustix::termios::tcgetattr(&terminal).named(|| "tcgetattr".to_owned())?;
        let raw = Raw { terminal, before };
        raw.again()?;
        Ok(raw)
    }

    /// Raw mode once more, after somebody changed it while this process was stopped.
    pub fn again(&self) -> Result<()> {
        let mut mode = self.before.clone();
        mode.make_raw();
        rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &mode).named(|| "tcsetattr".to_owned())
    }

    /// The old mode.
    pub fn restore(&self) {
        // On the way out there is nobody to tell; the terminal may be gone.
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

impl<Fd: AsFd> Drop for Raw<Fd> {
    fn drop(&mut self) {
        self.restore();
    }
}
