//! Descriptors: sent over sockets, closed in bulk.

use super::{Named, Result, check};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Two ends of a connection that keeps message borders; both are closed on exec.
pub fn seqpacket_pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .named(|| "socketpair(SEQPACKET)".to_owned())
}

/// As many descriptors go with one message: what a process and its first one have to say, and those of `exec --preserve-fds`. The
/// kernel takes 253 (unix(7), SCM_RIGHTS).
pub const MOST: usize = 64;

/// Sends one message, with descriptors if there are some, at most [`MOST`].
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG).named(|| "sendmsg".to_owned());
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
    })
    .named(|| "sendmsg".to_owned())?;
    Ok(())
}

/// Sends one message without waiting: EAGAIN if there is no room for it.
pub fn send_now(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::io::retry_on_intr(|| rustix::net::send(socket, bytes, flags)).named(|| "send".to_owned())?;
    Ok(())
}

/// Receives one message into `buffer`: how many bytes, 0 when the other end is closed; and the descriptors it brought.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    receive_as(socket, buffer, RecvFlags::CMSG_CLOEXEC)
}

/// The same for one of any length up to `longest` bytes. Room is made for what there is: after a clone each page that is
/// written to for the first time is copied.
pub fn receive_whole(socket: BorrowedFd<'_>, longest: usize) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
    whole_as(socket, longest, RecvFlags::CMSG_CLOEXEC).map(|(bytes, Brought { fds, .. })| (bytes, fds))
}

/// The same if there is a message, otherwise an error (EAGAIN), with who has sent it.
pub fn receive_whole_now(socket: BorrowedFd<'_>, longest: usize) -> Result<(Vec<u8>, Brought)> {
    whole_as(socket, longest, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
}

/// What came with a message.
pub struct Brought {
    /// Descriptors.
    pub fds: Vec<OwnedFd>,
    /// The number of the process that has sent it, where the kernel was told to say so ([`learn_senders`]).
    pub sender: Option<i32>,
}

/// From now on each message that comes in says who has sent it (unix(7), SO_PASSCRED). That must be somebody whom this process
/// sees.
pub fn learn_senders(socket: &OwnedFd) -> Result<()> {
    rustix::net::sockopt::set_socket_passcred(socket, true).named(|| "setsockopt(PASSCRED)".to_owned())
}

fn whole_as(socket: BorrowedFd<'_>, longest: usize, flags: RecvFlags) -> Result<(Vec<u8>, Brought)> {
    let now = flags & RecvFlags::DONTWAIT;
    let peek = || rustix::net::recv(socket, &mut [0; 0][..], RecvFlags::PEEK | RecvFlags::TRUNC | now);
    let length = loop {
        match peek() {
            Err(Errno::INTR) => {}
            // What is to be said of it is said by the call that takes it.
            Err(_) => break longest,
            Ok((_, length)) => break length,
        }
    };
    let mut buffer = vec![0; length.min(longest)];
    let (length, brought) = brought_as(socket, &mut buffer, flags)?;
    buffer.truncate(length);
    Ok((buffer, brought))
}

/// [`receive`] if there is a message; otherwise an error (EAGAIN).
pub fn receive_now(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    receive_as(socket, buffer, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
}

fn receive_as(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> Result<(usize, Vec<OwnedFd>)> {
    brought_as(socket, buffer, flags).map(|(length, Brought { fds, .. })| (length, fds))
}

fn brought_as(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> Result<(usize, Brought)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST), ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut was_reset = false;
    let received = loop {
        let result = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, flags);
        match result {
            Err(Errno::INTR) => continue,
            // The other end is closed and had data that it did not read. The kernel says so once, before it gives what
            // the other end sent.
            Err(Errno::CONNRESET) if !was_reset => was_reset = true,
            Err(Errno::CONNRESET) => return Ok((0, Brought { fds: Vec::new(), sender: None })),
            other => break other.named(|| "recvmsg".to_owned())?,
        }
    };
    let mut brought = Brought { fds: Vec::new(), sender: None };
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(fds) => brought.fds.extend(fds),
            RecvAncillaryMessage::ScmCredentials(sender) => brought.sender = Some(sender.pid.as_raw_nonzero().get()),
            _ => {}
        }
    }
    Ok((received.bytes, brought))
}

/// Marks every descriptor from `first` on to be closed on exec (close_range(2), the flag since 5.11).
pub fn close_on_exec_from(first: u32) -> Result<()> {
    range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// The next program has the descriptor with this number, too.
pub fn keep_number_on_exec(number: u32) -> Result<()> {
    let number = number as i32;
    // SAFETY: fcntl(F_SETFD) has no memory arguments, and closes nothing.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }.into()).named(|| format!("fcntl({number}, SETFD)"))?;
    Ok(())
}

/// True if a descriptor with this number is open.
pub fn is_open(number: u32) -> bool {
    // SAFETY: fcntl(F_GETFD) has no memory arguments; a closed number makes it fail and nothing else.
    check(unsafe { libc::fcntl(number as i32, libc::F_GETFD) }.into()).is_ok()
}

/// The next program has this one, too.
pub fn keep_on_exec(fd: &OwnedFd) -> Result<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).named(|| "fcntl(SETFD)".to_owned())
}

/// Takes over a descriptor that the program before has left open, from 3 on: nobody else may own it. It gets another number, at
/// least `least`, and is closed on exec.
pub fn take_over(number: u32, least: u32) -> Result<OwnedFd> {
    // SAFETY: the borrow ends with this statement; a closed number makes the call fail and nothing else.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number as i32) };
    let own = rustix::io::fcntl_dupfd_cloexec(borrowed, least as i32).named(|| format!("descriptor {number}"))?;
    close_range(number, number)?;
    Ok(own)
}

/// Closes the descriptors from `first` to `last`, whoever thinks to own them: only for a process that goes on with
/// nothing but what it knows to lie outside.
pub fn close_range(first: u32, last: u32) -> Result<()> {
    if first > last { Ok(()) } else { range(first, last, 0) }
}

/// Closes every descriptor from `first` on, at least 3, but one, likewise.
pub fn close_all_but(kept: &OwnedFd, first: u32) -> Result<()> {
    let number = kept.as_raw_fd() as u32;
    close_range(first, number.saturating_sub(1))?;
    close_range((number + 1).max(first), u32::MAX)
}

/// The same descriptor under another number, at least `least`; closed on exec.
pub fn at_least(fd: BorrowedFd<'_>, least: u32) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, least as i32).named(|| "fcntl(DUPFD)".to_owned())
}

/// Makes `number` refer to what `fd` refers to, whoever thinks to own the number: likewise only for a process that goes on with
/// nothing but what it knows to lie elsewhere. It is closed on exec.
pub fn put(fd: BorrowedFd<'_>, number: u32) -> Result<()> {
    // SAFETY: dup3 has no memory arguments; values that own the number are leaked by the callers.
    check(unsafe { libc::dup3(fd.as_raw_fd(), number as i32, libc::O_CLOEXEC) }.into())
        .named(|| format!("dup3({number})"))?;
    Ok(())
}

fn range(first: u32, last: u32, flags: libc::c_uint) -> Result<()> {
    // SAFETY: no memory arguments. Values that own one of these descriptors are leaked by the callers, which end in
    // execve or _exit without dropping them.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })
        .named(|| format!("close_range({first}, {last})"))?;
    Ok(())
}

/// The device that takes all and gives nothing.
pub fn null() -> Result<OwnedFd> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()).named(|| "open(/dev/null)".to_owned())
}

/// Makes `number` (0, 1 or 2) refer to what `fd` refers to; it stays open on exec.
pub fn place(fd: BorrowedFd<'_>, number: i32) -> Result<()> {
    // SAFETY: dup2 and fcntl have no memory arguments; the numbers 0 to 2 are not owned by any value in this process.
    let result = unsafe {
        if fd.as_raw_fd() == number {
            libc::fcntl(number, libc::F_SETFD, 0)
        } else {
            libc::dup2(fd.as_raw_fd(), number)
        }
    };
    check(result.into()).named(|| format!("dup2({number})"))?;
    Ok(())
}

/// The descriptor with this number, if it is open.
pub fn inherited(number: i32) -> Option<OwnedFd> {
    // SAFETY: the borrow ends with this statement; a closed number makes the call fail and nothing else.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_dupfd_cloexec(borrowed, 3).ok()
}

/// Waits until the other end of a socket is closed, whatever comes before.
pub fn wait_for_end(socket: impl AsFd) {
    while wait_for_word(&socket) {}
}

/// Waits for one message, whatever it says; false if the other end is closed. Nothing is allocated.
pub fn wait_for_word(socket: impl AsFd) -> bool {
    rustix::io::retry_on_intr(|| rustix::io::read(&socket, &mut [0u8; 8])).is_ok_and(|length| length > 0)
}

/// True if the other end of `socket`, or the end of a pipe where it is read, is closed (poll(2), POLLERR).
pub fn hung_up(socket: impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(&socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
        && fds[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}
