//! What macOS has of the socket features that Linux adds. Never run.
//!
//! `MSG_NOSIGNAL` is missing from older systems: that a write to a closed socket raises no signal is
//! left to Rust's runtime, which ignores SIGPIPE. Descriptors cannot arrive, and sockets not be made,
//! closed on exec: between the two calls another thread may start a program that inherits them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, socketpair, sockopt};
use nix::unistd::getpeereid;
use rustix::event::PollFlags;
use rustix::io::{ioctl_fioclex, ioctl_fionbio};
use rustix::net::{RecvFlags, SendFlags};

/// Does not block.
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT;
/// Does not block.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;
/// The other end has closed. That it only ended its sending is not told.
pub(crate) const HUNG_UP: PollFlags = PollFlags::HUP;
/// The smallest buffer that is tried for, in bytes.
const SMALLEST_BUFFER: usize = 64 << 10;

/// Closes received descriptors on exec.
pub(crate) fn close_on_exec(descriptors: &[OwnedFd]) -> io::Result<()> {
    Ok(descriptors.iter().try_for_each(ioctl_fioclex)?)
}

/// A Unix socket that does not block.
pub(crate) fn unix_socket(kind: SockType) -> io::Result<OwnedFd> {
    if kind == SockType::SeqPacket {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "macOS has no Unix sockets that keep messages apart (SOCK_SEQPACKET): use a stream",
        ));
    }
    prepared(socket(AddressFamily::Unix, kind, SockFlag::empty(), None)?)
}

/// Two connected sockets that keep messages apart and do not block. They are datagram sockets, which
/// do not tell when the other end has closed.
pub(crate) fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::empty())?;
    Ok((prepared(one)?, prepared(other)?))
}

fn prepared(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    ioctl_fioclex(&descriptor)?;
    ioctl_fionbio(&descriptor, true)?;
    Ok(descriptor)
}

/// The uid at the other end, as it was when it connected (getpeereid(3)).
pub(crate) fn unix_peer(socket: &impl AsFd) -> io::Result<u32> {
    Ok(getpeereid(socket)?.0.as_raw())
}

/// Sets both buffers to `bytes`, or to the largest half, quarter and so on that the machine allows
/// (`kern.ipc.maxsockbuf`): it refuses what is too large instead of cutting it.
pub fn set_buffers(socket: &impl AsFd, bytes: usize) {
    let sizes = || {
        std::iter::successors(Some(bytes), |size| Some(size / 2)).take_while(|size| *size >= SMALLEST_BUFFER)
    };
    let _ = sizes().any(|size| setsockopt(socket, sockopt::RcvBuf, &size).is_ok());
    let _ = sizes().any(|size| setsockopt(socket, sockopt::SndBuf, &size).is_ok());
}
