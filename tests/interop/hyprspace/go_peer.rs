//! The peer in Go: built once, started for each test, told what to do line by line.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use hypertap_tests::machine::scratch;
use serde_json::{Value, json};

/// The program, built anew when its sources have changed. To be called outside, where there are a network and
/// more time, and inside again.
#[track_caller]
pub fn built() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/go_peer");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go_peer");
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let files = fs::read_dir(&sources).expect("it is in the repository");
    let newest: Option<SystemTime> = files.filter_map(|file| changed(&file.ok()?.path())).max();
    if changed(&program) > newest {
        return program;
    }
    let go = if Path::new("/usr/local/go/bin/go").exists() { "/usr/local/go/bin/go" } else { "go" };
    // Another run of the tests may have the program open.
    let fresh = program.with_extension(std::process::id().to_string());
    let mut command = Command::new(go);
    command.args(["build", "-buildvcs=false", "-o"]).arg(&fresh).arg(".");
    let done = command.current_dir(sources).env("CGO_ENABLED", "0").output().expect("Go is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    fs::rename(fresh, &program).expect("the folder is ours");
    program
}

/// A running peer. It is killed when this is dropped.
#[derive(Debug)]
pub struct GoPeer {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    log: PathBuf,
    pub id: String,
}

impl GoPeer {
    /// Starts one in the neighbour's namespace, and returns when it listens.
    #[track_caller]
    pub fn start<S: AsRef<str>>(program: &Path, options: &[S]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let log = scratch(&format!("go-peer-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log).expect("the folder is ours");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "far"]).arg(program).args(options.iter().map(AsRef::as_ref));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().expect("it is a program");
        let input = child.stdin.take().expect("it was asked for");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut peer = Self { child, pipes: Mutex::new((input, output)), log, id: String::new() };
        let said = peer.answer().unwrap_or_else(|error| panic!("{error}"));
        said["id"].as_str().expect("its id").clone_into(&mut peer.id);
        peer
    }

    /// Has something done that must succeed.
    #[track_caller]
    pub fn must(&self, what: &Value) -> Value {
        self.may(what).unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Has something done.
    ///
    /// # Errors
    /// Why it could not be done.
    #[track_caller]
    pub fn may(&self, what: &Value) -> Result<Value, String> {
        writeln!(self.pipes.lock().expect("nobody panicked").0, "{what}").expect("it reads");
        self.answer()
    }

    /// Opens a stream to `peer`, and yields what was agreed upon.
    #[track_caller]
    pub fn open(&self, peer: &str, names: &[&str]) -> (PeerStream<'_>, String) {
        let said = self.must(&json!({"do": "open", "peer": peer, "names": names}));
        let agreed = said["protocol"].as_str().expect("a name").to_owned();
        (PeerStream { peer: self, number: said["stream"].clone() }, agreed)
    }

    #[track_caller]
    fn answer(&self) -> Result<Value, String> {
        let mut line = String::new();
        self.pipes.lock().expect("nobody panicked").1.read_line(&mut line).expect("text");
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("it has ended, it said {line:?}"));
        match said["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(said),
        }
    }
}

impl Drop for GoPeer {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the peer in Go:\n{}---", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// A stream of which the test says every byte.
pub struct PeerStream<'a> {
    peer: &'a GoPeer,
    number: Value,
}

/// What was read from a stream: bytes in hexadecimal, and whether the end came with the last of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Bytes {
    pub hex: String,
    pub end: String,
}

impl PeerStream<'_> {
    #[track_caller]
    pub fn write(&self, bytes: &[u8]) {
        self.peer.must(&json!({"do": "write", "stream": self.number, "hex": hex(bytes)}));
    }

    /// Reads so many bytes, or fewer if the stream ends before.
    #[track_caller]
    pub fn read(&self, count: usize) -> Bytes {
        let said = self.peer.must(&json!({"do": "read", "stream": self.number, "count": count}));
        let text = |name: &str| said[name].as_str().expect("text").to_owned();
        Bytes { hex: text("hex"), end: text("end") }
    }

    /// Closes both directions at once.
    #[track_caller]
    pub fn close(&self) {
        self.peer.must(&json!({"do": "close", "stream": self.number}));
    }

    /// Ends its direction.
    #[track_caller]
    pub fn end(&self) {
        self.peer.must(&json!({"do": "end", "stream": self.number}));
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).expect("less than 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Bytes out of hexadecimal.
#[track_caller]
pub fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("two digits"))
        .collect()
}
