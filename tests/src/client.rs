//! A client of the command plane that knows bytes and JSON, and nothing of the protocol's meaning.

mod lines;

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::wait::TIME;

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
    /// Writes one command.
    #[track_caller]
    pub fn send(&mut self, command: &Value) {
        self.write(format!("{command}\n").as_bytes());
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
}
