//! hypertap as a program sees it: the process, and JSON lines over TCP.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::path::{FAR, NEAR};
use crate::process::{self, Process};
use crate::workshop::Workshop;

/// Programs send packets to this port of 127.0.0.1.
pub(crate) const DATA_PORT: u16 = 5501;
/// Programs receive packets on this port of 127.0.0.1.
pub(crate) const RECEIVE_PORT: u16 = 5502;

const COMMAND: &str = "127.0.0.1:5500";
const PATIENCE: Duration = Duration::from_secs(10);

/// `hypertap tunnel` in a namespace; dropping it ends it.
pub(crate) struct Daemon {
    commands: Option<Commands>,
    process: Process,
    control: PathBuf,
}

impl Daemon {
    /// Starts it and waits until its control socket takes connections.
    pub(crate) fn start(shop: &Workshop, namespace: &Namespace) -> Result<Self> {
        let hypertap = shop.hypertap.as_deref().context("no hypertap to measure")?.display().to_string();
        let control = shop.dir().join(format!("{}.control", namespace.name()));
        let state = shop.dir().join(format!("{}.state", namespace.name()));
        std::fs::create_dir_all(&state).with_context(|| format!("make {}", state.display()))?;
        let (data, receive) = (format!("127.0.0.1:{DATA_PORT}"), RECEIVE_PORT.to_string());
        let (control_path, state) = (control.display().to_string(), state.display().to_string());
        let mut words = vec![hypertap.as_str(), "tunnel", "--command", COMMAND, "--data", &data];
        words.extend(["--receive-port", &receive, "--control", &control_path, "--state-dir", &state]);
        let mut process = Process::start(shop.dir(), namespace.name(), &words)?;
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(&control).is_err() {
            process.alive()?;
            if Instant::now() > end {
                bail!("hypertap does not listen on {control_path} after {PATIENCE:?}");
            }
            process::rest(Duration::from_millis(5))?;
        }
        Ok(Self { commands: None, process, control })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// An error with its last words when it has ended.
    pub(crate) fn alive(&mut self) -> Result<()> {
        self.process.alive()
    }

    pub(crate) fn control(&self) -> String {
        self.control.display().to_string()
    }

    /// A tunnel that routes to the far end; where its data plane is, empty for UDP.
    pub(crate) fn tunnel(&mut self, namespace: &Namespace, plane: &str) -> Result<String> {
        let commands = self.connect(namespace)?;
        let reply = commands.ask(&json!({"cmd": "start", "myIPv4Address": NEAR, "dataPlane": plane}))?;
        commands.event("tunnelStarted")?;
        commands.ask(&json!({"cmd": "addIncludedRoutes", "routes": [FAR]}))?;
        Ok(reply.get("dataPath").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// The command connection, opened at the first call: the tunnel lives as long as it.
    pub(crate) fn connect(&mut self, namespace: &Namespace) -> Result<&mut Commands> {
        if self.commands.is_none() {
            self.commands = Some(Commands::connect(namespace)?);
        }
        self.commands.as_mut().context("the command connection was just opened")
    }
}

/// The one TCP client of the command plane.
pub(crate) struct Commands {
    lines: BufReader<TcpStream>,
}

impl Commands {
    fn connect(namespace: &Namespace) -> Result<Self> {
        let end = Instant::now() + PATIENCE;
        let stream = loop {
            match namespace.inside(|| Ok(TcpStream::connect(COMMAND)?)) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > end => {
                    return Err(error.context(format!("connect to {COMMAND}")));
                }
                Err(_) => process::rest(Duration::from_millis(5))?,
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { lines: BufReader::new(stream) })
    }

    /// Sends a command and returns its reply, which must be ok. Events before it are dropped.
    pub(crate) fn ask(&mut self, command: &Value) -> Result<Value> {
        self.lines.get_mut().write_all(format!("{command}\n").as_bytes()).context("send a command")?;
        loop {
            let line = self.line()?;
            if line.get("event").is_some() {
                continue;
            }
            if line.get("ok") != Some(&Value::Bool(true)) {
                bail!("hypertap answers {line} to {command}");
            }
            return Ok(line);
        }
    }

    /// Waits for the event `name`; others before it are dropped.
    pub(crate) fn event(&mut self, name: &str) -> Result<()> {
        while self.line()?.get("event").and_then(Value::as_str) != Some(name) {}
        Ok(())
    }

    fn line(&mut self) -> Result<Value> {
        process::check()?;
        let mut line = String::new();
        if self.lines.read_line(&mut line).context("wait for hypertap's reply")? == 0 {
            bail!("hypertap closed the command connection");
        }
        serde_json::from_str(&line).with_context(|| format!("hypertap wrote {}", line.trim()))
    }
}
