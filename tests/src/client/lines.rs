//! The connection below the protocol: bytes, lines, and descriptors that come along.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hypertap_platform::descriptor;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Client, Stream};
use crate::wait::{TIME, left};

impl Client {
    /// Connects to a port of the loopback.
    #[track_caller]
    pub fn tcp(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the daemon listens");
        stream.set_nodelay(true).expect("it is TCP");
        Self::new(Stream::Tcp(stream))
    }

    /// Connects to a Unix socket.
    #[track_caller]
    pub fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> Self {
        let (events, descriptors) = (VecDeque::new(), Vec::new());
        Self { stream, bytes: Vec::new(), ended: false, events, descriptors }
    }

    /// Writes bytes as they are.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("the daemon reads");
    }

    /// Writes bytes as they are, to a daemon that may have closed.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Writes `bytes` up to `times` times, until the daemon takes no more for now.
    pub fn write_until_full(&mut self, bytes: &[u8], times: usize) {
        self.set_blocking(false);
        for _ in 0..times {
            let wait = PollTimeout::from(500u16);
            if poll(&mut [PollFd::new(self.descriptor(), PollFlags::POLLOUT)], wait)
                .expect("it can be polled")
                == 0
            {
                break;
            }
            // What is written in part is a part of the flood.
            let _ = self.try_write(bytes);
        }
        self.set_blocking(true);
    }

    fn set_blocking(&self, blocking: bool) {
        let set = match &self.stream {
            Stream::Tcp(stream) => stream.set_nonblocking(!blocking),
            Stream::Unix(stream) => stream.set_nonblocking(!blocking),
        };
        set.expect("it is a socket");
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }

    /// Says that nothing more will be written.
    pub fn end_writing(&mut self) {
        // A daemon that has closed already knows.
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// The next line without its end; `None` when the connection has ended.
    #[track_caller]
    pub fn next_line(&mut self, limit: Duration) -> Option<String> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
                line.pop();
                return Some(String::from_utf8(line).expect("lines are UTF-8"));
            }
            if self.ended {
                assert!(self.bytes.is_empty(), "the connection ended within a line: {:?}", self.bytes);
                return None;
            }
            let time = left(deadline);
            assert!(
                time.is_some(),
                "no line within {limit:?}; begun: {:?}",
                String::from_utf8_lossy(&self.bytes)
            );
            self.read(time.unwrap_or_default());
        }
    }

    /// Waits until the kernel holds bytes that were not read; whether it does in the end.
    pub fn has_unread(&self) -> bool {
        let limit = PollTimeout::try_from(TIME).expect("it fits");
        poll(&mut [PollFd::new(self.descriptor(), PollFlags::POLLIN)], limit).expect("it can be polled") > 0
    }

    /// Reads what is there or comes within `limit`.
    fn read(&mut self, limit: Duration) {
        let limit = PollTimeout::try_from(limit + Duration::from_millis(1)).expect("a test's limit fits");
        if poll(&mut [PollFd::new(self.descriptor(), PollFlags::POLLIN)], limit)
            .expect("a socket can be polled")
            == 0
        {
            return;
        }
        let mut bytes = vec![0; 65536];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut bytes),
            Stream::Unix(stream) => {
                descriptor::receive(stream.as_fd(), &mut bytes).map(|(count, descriptors)| {
                    self.descriptors.extend(descriptors);
                    count
                })
            }
        };
        match read {
            Ok(0) => self.ended = true,
            Ok(count) => self.bytes.extend(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.ended = true,
            Err(error) => panic!("cannot read: {error}"),
        }
    }

    /// The next line must be this, byte for byte.
    #[track_caller]
    pub fn expect_text(&mut self, line: &str) {
        assert_eq!(self.next_line(TIME).as_deref(), Some(line));
    }

    /// The connection must end, with no more lines.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.next_line(TIME), None);
    }

    /// Whether the connection ends within `limit`; lines before that are kept.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while let Some(time) = left(deadline).filter(|_| !self.ended) {
            self.read(time);
        }
        self.ended
    }

    /// The descriptor that came with a reply.
    #[track_caller]
    pub fn take_descriptor(&mut self) -> OwnedFd {
        assert_eq!(self.descriptors.len(), 1, "one descriptor came along");
        self.descriptors.remove(0)
    }
}
