//! A client of the command plane that knows bytes and JSON, and nothing of the protocol's meaning.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hypertap_platform::descriptor;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::wait::{TIME, left};

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection to the command plane.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    bytes: Vec<u8>,
    ended: bool,
    /// Events that came while a reply was waited for.
    events: VecDeque<Value>,
    /// Descriptors that came along.
    descriptors: Vec<OwnedFd>,
}

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

    /// Writes one command.
    #[track_caller]
    pub fn send(&mut self, command: &Value) {
        self.write(format!("{command}\n").as_bytes());
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

    /// The next line must be this object.
    #[track_caller]
    pub fn expect(&mut self, object: &Value) {
        assert_eq!(&self.next_object().expect("the connection lives"), object);
    }

    #[track_caller]
    fn next_object(&mut self) -> Option<Value> {
        let line = self.next_line(TIME)?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}")))
    }

    /// The greeting of a daemon that may do everything.
    #[track_caller]
    pub fn expect_greeting(&mut self) {
        self.expect_text(r#"{"cmd":"event","event":"vpnApproved"}"#);
        self.expect_text(r#"{"cmd":"event","event":"extensionApproved"}"#);
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

    /// Sends a command and yields its reply; events before it are kept for [`Self::event`].
    #[track_caller]
    pub fn ask(&mut self, command: &Value) -> Value {
        self.send(command);
        self.reply()
    }

    /// The next reply.
    #[track_caller]
    pub fn reply(&mut self) -> Value {
        loop {
            let object = self.next_object().expect("the connection lives");
            if object.get("cmd").is_none() {
                return object;
            }
            self.events.push_back(object);
        }
    }

    /// Sends a command that must succeed; yields the reply.
    #[track_caller]
    pub fn ok(&mut self, command: &Value) -> Value {
        let reply = self.ask(command);
        assert_eq!(reply["ok"], true, "{command}: {reply}");
        reply
    }

    /// Sends a command that must succeed with nothing to say.
    #[track_caller]
    pub fn plain(&mut self, command: &Value) {
        assert_eq!(self.ask(command), json!({"ok": true}), "{command}");
    }

    /// Sends a command that must be refused; yields the text and the code.
    #[track_caller]
    pub fn refused(&mut self, command: &Value) -> (String, Option<i64>) {
        let reply = self.ask(command);
        assert_eq!(reply["ok"], false, "{command}: {reply}");
        let text = reply["error"].as_str().unwrap_or_else(|| panic!("{command}: {reply}")).to_owned();
        assert!(!text.is_empty(), "{command}: {reply}");
        (text, reply.get("code").map(|code| code.as_i64().unwrap_or_else(|| panic!("{reply}"))))
    }

    /// Starts a tunnel with the address 5.5.5.5.
    #[track_caller]
    pub fn start(&mut self) -> Value {
        self.start_with(json!({}))
    }

    /// As [`Self::start`], with more fields.
    #[track_caller]
    pub fn start_with(&mut self, more: Value) -> Value {
        let mut command = json!({"cmd": "start", "myIPv4Address": "5.5.5.5"});
        let Value::Object(more) = more else { panic!("fields are an object") };
        command.as_object_mut().expect("it is one").extend(more);
        let reply = self.ok(&command);
        self.expect_event("tunnelStarted");
        reply
    }

    /// The next event, whenever it came.
    #[track_caller]
    pub fn event(&mut self) -> Value {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        let object = self.next_object().expect("the connection lives");
        assert_eq!(object["cmd"], "event", "a reply that nobody asked for: {object}");
        object
    }

    /// The next event must be this one.
    #[track_caller]
    pub fn expect_event(&mut self, name: &str) {
        assert_eq!(self.event(), json!({"cmd": "event", "event": name}));
    }

    /// The next event must be the tunnel's end, for this reason.
    #[track_caller]
    pub fn expect_stopped(&mut self, reason: &str) {
        assert_eq!(self.event(), json!({"cmd": "event", "event": "tunnelStopped", "reason": reason}));
    }

    /// No event has come that was not asked for. The reply to `status` comes after all earlier ones.
    #[track_caller]
    pub fn expect_no_event(&mut self) {
        let status = self.status();
        assert!(self.events.is_empty(), "status {status}, but also {:?}", self.events);
    }

    /// What `status` says.
    #[track_caller]
    pub fn status(&mut self) -> String {
        self.ok(&json!({"cmd": "status"}))["status"].as_str().expect("a word").to_owned()
    }

    /// What `getName` says.
    #[track_caller]
    pub fn name(&mut self) -> String {
        self.ok(&json!({"cmd": "getName"}))["name"].as_str().expect("a word").to_owned()
    }

    /// What `stats` says.
    #[track_caller]
    pub fn stats(&mut self) -> Value {
        self.ok(&json!({"cmd": "stats"}))["stats"].clone()
    }

    /// How many packets were dropped for a cause, in `direction` (`toProgram` or `fromProgram`).
    #[track_caller]
    pub fn dropped(&mut self, direction: &str, cause: &str) -> u64 {
        self.stats()[direction]["dropped"][cause].as_u64().unwrap_or(0)
    }

    /// The descriptor that came with a reply.
    #[track_caller]
    pub fn take_descriptor(&mut self) -> OwnedFd {
        assert_eq!(self.descriptors.len(), 1, "one descriptor came along");
        self.descriptors.remove(0)
    }
}
