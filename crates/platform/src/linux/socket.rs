//! What Linux adds to sockets: flags that spare a system call, messages over Unix sockets, credentials.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, getsockopt, setsockopt, socket, socketpair, sockopt,
};
use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendFlags};

/// Does not block, and raises no signal where the other end has closed.
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
/// Does not block; descriptors come closed on exec.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);
/// The other end has closed, or ended its sending.
pub(crate) const HUNG_UP: PollFlags = PollFlags::RDHUP;

/// Closes received descriptors on exec; here [`RECEIVE`] has done it.
pub(crate) fn close_on_exec(_descriptors: &[OwnedFd]) -> io::Result<()> {
    Ok(())
}

/// A Unix socket that does not block.
pub(crate) fn unix_socket(kind: SockType) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Unix, kind, flags, None)?)
}

/// Two connected sockets that keep messages apart and do not block.
pub(crate) fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// The uid at the other end, as it was when it connected or, of a socket pair, when the pair was made
/// (`SO_PEERCRED`, unix(7)).
pub(crate) fn unix_peer(socket: &impl AsFd) -> io::Result<u32> {
    let credentials = getsockopt(socket, sockopt::PeerCredentials)?;
    // A socket that was never connected answers with pid 0 and the uid "nobody".
    if credentials.pid() == 0 && credentials.uid() == u32::MAX {
        return Err(io::Error::from_raw_os_error(libc::ENOTCONN));
    }
    Ok(credentials.uid())
}

/// Sets both buffers to `bytes` past the machine's limits (`net.core.rmem_max`, `wmem_max`) where we
/// may, else to the limits, to which the kernel cuts by itself.
pub fn set_buffers(socket: &impl AsFd, bytes: usize) {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &bytes);
    }
    if setsockopt(socket, sockopt::SndBufForce, &bytes).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &bytes);
    }
}
