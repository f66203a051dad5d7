//! One connection of the command plane, TCP or Unix: bytes and, on Unix, descriptors.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use hypertap_platform::descriptor;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Duration, timeout};

/// How long a connection that is turned away gets to read why.
const LINGER: Duration = Duration::from_secs(1);

/// A connected client's socket. Reading and writing take `&self`, so both can be under way at once.
#[derive(Debug)]
pub enum Connection {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket, which can carry descriptors.
    Unix(UnixStream),
}

impl Connection {
    /// Reads what is there, waiting for the first byte; 0 at the end. Descriptors that came along
    /// are added to `descriptors`. Cancel-safe.
    pub async fn read(&self, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => loop {
                stream.readable().await?;
                match stream.try_read(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
            },
            Self::Unix(stream) => {
                let read = || descriptor::receive(stream.as_fd(), bytes);
                let (count, received) = stream.async_io(Interest::READABLE, read).await?;
                descriptors.extend(received);
                Ok(count)
            }
        }
    }

    /// Writes all of it. A descriptor goes with the first byte, and is dropped on TCP, which cannot
    /// carry one.
    pub async fn write_all(&self, mut bytes: &[u8], descriptor: Option<OwnedFd>) -> io::Result<()> {
        let mut descriptor = descriptor.as_ref().map(OwnedFd::as_fd);
        while !bytes.is_empty() {
            let written = match self {
                Self::Tcp(stream) => stream.async_io(Interest::WRITABLE, || stream.try_write(bytes)).await?,
                Self::Unix(stream) => {
                    let send = || descriptor::send(stream.as_fd(), bytes, descriptor.as_slice());
                    stream.async_io(Interest::WRITABLE, send).await?
                }
            };
            descriptor = None;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Says why and closes. What the client has sent meanwhile is read and thrown away, for a
    /// socket that is closed over unread bytes resets, and the reason would be lost.
    pub async fn turn_away(mut self, line: &str) {
        let told = async {
            self.write_all(format!("{line}\n").as_bytes(), None).await?;
            self.shut_down().await?;
            let (mut bytes, mut descriptors) = ([0; 4096], Vec::new());
            while self.read(&mut bytes, &mut descriptors).await? > 0 {
                descriptors.clear();
            }
            io::Result::Ok(())
        };
        // It is leaving either way: neither its haste nor its silence matters.
        let _ = timeout(LINGER, told).await;
    }

    /// Ends our side: the client reads the end once it has read all before it.
    pub async fn shut_down(&mut self) -> io::Result<()> {
        use tokio::io::AsyncWriteExt;
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Unix(stream) => stream.shutdown().await,
        }
    }
}
