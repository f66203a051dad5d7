//! Running nodes, as commands find and ask them.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Map, Value};

use super::status::default_state_dirs;
use super::tunnel::interface_name;
use crate::exit::{Exit, Failure};
use crate::node::{Request, socket_name};

/// How long a node may take to answer: more than it waits for somebody else to be done with its file.
const TIME: Duration = Duration::from_secs(15);

/// Which running node is meant.
#[derive(Args, Clone, Debug)]
pub struct NodePlace {
    /// The node's interface
    #[arg(short, long, global = true, value_name = "NAME", default_value = "hypertap", value_parser = interface_name)]
    interface: String,

    /// The node's control socket [default: that of --interface, in /run/hypertap as root]
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "interface")]
    control: Option<PathBuf>,
}

impl NodePlace {
    /// Asks that node.
    ///
    /// # Errors
    /// No node answers, it is somebody else's, or what it says against the request.
    pub fn ask(&self, request: &Request) -> Result<Map<String, Value>, Failure> {
        if let Some(path) = &self.control {
            return ask(path, request);
        }
        let name = socket_name(&self.interface).context("cannot tell the network namespace")?;
        let paths: Vec<PathBuf> =
            default_state_dirs().into_iter().map(|directory| directory.join(&name)).collect();
        if let Some(path) = paths.iter().find(|path| path.exists()) {
            return ask(path, request);
        }
        let text = "start one with `sudo hypertap up`, or name another with --interface";
        Err(anyhow!("no node with the interface {} runs here: {text}", self.interface).into())
    }
}

/// Asks the node behind a socket.
///
/// # Errors
/// It does not answer, or what it says against the request.
pub fn ask(path: &Path, request: &Request) -> Result<Map<String, Value>, Failure> {
    let mut answer = exchange(path, request).map_err(|error| unanswered(path, error))?;
    if answer.remove("ok") == Some(Value::Bool(true)) {
        return Ok(answer);
    }
    let sentence = answer.get("error").and_then(Value::as_str).unwrap_or("the node does not say why not");
    let exit = match answer.get("exit").and_then(Value::as_u64) {
        Some(2) => Exit::Usage,
        Some(3) => Exit::Right,
        Some(4) => Exit::Taken,
        _ => Exit::Other,
    };
    Err(Failure::new(exit, anyhow!(sentence.to_owned())))
}

fn exchange(path: &Path, request: &Request) -> io::Result<Map<String, Value>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIME))?;
    stream.set_write_timeout(Some(TIME))?;
    // A node that has too many clients says so, and has hung up by now.
    let sent = writeln!(stream, "{}", serde_json::to_string(request)?);
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.is_empty() {
        sent?;
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "it hung up"));
    }
    Ok(serde_json::from_str(&line)?)
}

fn unanswered(path: &Path, error: io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied => {
            let text = "is for root and the user who runs it: use sudo";
            Failure::new(Exit::Right, anyhow!("the node at {path} {text}"))
        }
        ErrorKind::ConnectionRefused => {
            let text = "was killed: `hypertap up` starts it again";
            Failure::new(Exit::Other, anyhow!("the node at {path} {text}"))
        }
        ErrorKind::NotFound => {
            let text = "`hypertap status` lists those that run";
            Failure::new(Exit::Other, anyhow!("there is no node at {path}: {text}"))
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            let text = format!("has not answered within {TIME:?}; what was asked for may still happen");
            Failure::new(Exit::Other, anyhow!("the node at {path} {text}"))
        }
        _ => anyhow::Error::from(error).context(format!("the node at {path} does not answer")).into(),
    }
}
