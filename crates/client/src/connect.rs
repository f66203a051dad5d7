//! Connecting to a server, for no longer than it may take.
//!
//! Who connects stands in a queue until the server accepts, and the queue of one that hangs is full. For room
//! in a TCP queue the kernel asks again by itself. For room in a Unix socket's there is nothing to wait
//! for: connect(2) on a socket that does not block is refused with `EAGAIN`, after which poll(2) knows of no
//! event, and on one that blocks it holds a thread, which a cancelled task could not end. So it is tried again
//! after short sleeps.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketType};

use crate::Address;
use crate::socket::{Deadline, Socket};
use crate::system::unix_socket;

/// How long to sleep between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Connects, waiting at most that long.
///
/// # Errors
/// Of connect(2); `TimedOut`.
pub(crate) fn connect(address: &Address, timeout: Duration) -> io::Result<Socket> {
    match address {
        Address::Tcp(address) => Socket::tcp(std::net::TcpStream::connect_timeout(address, timeout)?),
        Address::Unix(path) => {
            let deadline = Deadline::after(Some(timeout));
            let attempt = Attempt::new(path)?;
            while !attempt.has_room()? {
                if deadline.is_past() {
                    return Err(not_accepted(timeout));
                }
                std::thread::sleep(PAUSE.min(deadline.left().unwrap_or(PAUSE)));
            }
            Socket::unix(attempt.socket)
        }
    }
}

/// The same, for a task. Cancelled, it leaves nothing behind.
///
/// # Errors
/// The same.
#[cfg(feature = "async")]
pub(crate) async fn connect_async(address: &Address, timeout: Duration) -> io::Result<Socket> {
    let connecting = async {
        match address {
            Address::Tcp(address) => Socket::tcp(tokio::net::TcpStream::connect(address).await?.into_std()?),
            Address::Unix(path) => {
                let attempt = Attempt::new(path)?;
                while !attempt.has_room()? {
                    tokio::time::sleep(PAUSE).await;
                }
                Socket::unix(attempt.socket)
            }
        }
    };
    tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| Err(not_accepted(timeout)))
}

/// A Unix socket that is not connected yet, and where to.
struct Attempt {
    socket: UnixStream,
    address: SocketAddrUnix,
}

impl Attempt {
    fn new(path: &Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        let socket = UnixStream::from(unix_socket(SocketType::STREAM)?);
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    /// Connects if there is room in the queue, and returns whether there was.
    fn has_room(&self) -> io::Result<bool> {
        match rustix::net::connect(&self.socket, &self.address) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn not_accepted(timeout: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("it did not accept the connection in {timeout:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;
    use tempfile::TempDir;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(20);

    /// A server that does not accept, whose queue is full of these.
    fn stuck() -> (TempDir, UnixListener, Vec<Socket>) {
        let folder = TempDir::new().expect("a temporary folder");
        let socket = unix_socket(SocketType::STREAM).expect("a socket");
        let path = SocketAddrUnix::new(folder.path().join("s")).expect("short");
        rustix::net::bind(&socket, &path).expect("a path of ours");
        rustix::net::listen(&socket, 1).expect("it is bound");
        let address = Address::Unix(folder.path().join("s"));
        let queued = (0..10).map_while(|_| connect(&address, Duration::ZERO).ok()).collect();
        (folder, socket.into(), queued)
    }

    #[test]
    fn a_server_that_does_not_accept_is_given_up_in_time() {
        let (folder, _server, queued) = stuck();
        assert!(queued.len() < 10, "its queue has an end");
        let begin = Instant::now();
        let error = connect(&Address::Unix(folder.path().join("s")), SHORT).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() >= SHORT && begin.elapsed() < LONG);
    }

    #[test]
    fn who_waits_for_room_connects_once_there_is_some() {
        let (folder, server, queued) = stuck();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| connect(&Address::Unix(folder.path().join("s")), LONG));
            for _ in &queued {
                server.accept().expect("they are queued");
            }
            waiting.join().expect("no panic").expect("there is room");
        });
    }

    #[cfg(feature = "async")]
    #[tokio::test]
    async fn a_task_waits_for_room_just_as_long_and_holds_no_thread() {
        let (folder, server, queued) = stuck();
        let address = Address::Unix(folder.path().join("s"));
        let error = connect_async(&address, SHORT).await.expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // On the one thread of this runtime.
        let accepting = async {
            for _ in &queued {
                server.accept().expect("they are queued");
            }
        };
        let (connected, ()) = tokio::join!(connect_async(&address, LONG), accepting);
        connected.expect("there is room");
    }
}
