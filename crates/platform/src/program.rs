//! The program's end of a Unix data plane: who connected, and the socket's memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

#[cfg(target_os = "linux")]
use crate::linux::socket::{HUNG_UP, set_buffers};
#[cfg(target_os = "macos")]
use crate::macos::socket::{HUNG_UP, set_buffers};
use crate::peer::unix_peer;

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
    let owner = unix_peer(&connection)?;
    enlarge_buffers(&connection);
    Ok(Some((connection.into(), owner)))
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ECONNABORTED))
}

/// Gives a data socket room for bursts: what is wanted where we may, else what the machine allows.
pub fn enlarge_buffers(socket: &impl AsFd) {
    set_buffers(socket, SOCKET_BUFFER);
}

/// Whether the other end of a connection has closed, or ended its sending.
pub fn has_hung_up(socket: &impl AsFd) -> bool {
    is_now(socket, HUNG_UP)
}

/// Whether something waits on a socket: bytes, a connection, or the end.
pub fn is_readable(socket: &impl AsFd) -> bool {
    is_now(socket, PollFlags::IN)
}

fn is_now(socket: &impl AsFd, what: PollFlags) -> bool {
    let mut polled = [PollFd::new(socket, what)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
