//! The program's end of a Unix data plane: who connected, and the socket's memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How much the kernel may queue on a data socket in one direction, in bytes.
const SOCKET_BUFFER: usize = 4 << 20;

/// A connection that waits on `listener`, of whatever socket type that has, and the user id of the
/// process that made it; nothing when none waits. The connection does not block.
///
/// # Errors
/// What accept(2) says of the listener; a connection that failed before it was taken is skipped.
pub fn accept(listener: &UnixListener) -> io::Result<Option<(OwnedFd, u32)>> {
    let connection = match listener.accept() {
        Ok((connection, _)) => connection,
        Err(error) if is_passing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    connection.set_nonblocking(true)?;
    let owner = nix::sys::socket::getsockopt(&connection, sockopt::PeerCredentials)?;
    enlarge_buffers(&connection);
    Ok(Some((connection.into(), owner.uid())))
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ECONNABORTED))
}

/// Gives a data socket room for bursts: what is wanted where we may, else what the machine's limit
/// (`net.core.rmem_max`, `wmem_max`) allows, which the kernel cuts to by itself.
pub fn enlarge_buffers(socket: &impl AsFd) {
    if setsockopt(socket, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &SOCKET_BUFFER);
    }
    if setsockopt(socket, sockopt::SndBufForce, &SOCKET_BUFFER).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &SOCKET_BUFFER);
    }
}

/// Whether the other end of a connection has closed, or ended its sending.
pub fn has_hung_up(socket: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::RDHUP)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
