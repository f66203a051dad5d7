//! The far machine of the demo: alice's, with programs that know nothing of hypertap, and a node beside them.

use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use hypertap_platform::veth;
use serde_json::{Value, json};

use super::daemon::Daemon;

/// The wire's name at both ends.
pub const WIRE: &str = "wire";
/// The prefix of the wire's network, in bits.
pub const PREFIX: u8 = 30;
/// The far machine's address on the wire.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Where the far node's configuration is.
const CONFIG: &str = "/run/alice.json";
/// Where the web server listens, for its own machine alone.
const WEB: u16 = 8080;
/// Where the program listens that counts what it gets.
const FILES: u16 = 9000;
/// What the web server answers.
pub const PAGE: &str = "hello from alice\n";

/// Is the far machine, until standard input ends. The other end's line comes in there, ours goes out.
///
/// # Errors
/// What could not be done.
pub fn run() -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while let Err(error) = veth::give_address(WIRE, ADDRESS, PREFIX) {
        ensure!(Instant::now() < end, "no wire came: {error}");
        thread::sleep(Duration::from_millis(5));
    }
    serve(WEB, web)?;
    serve(FILES, count)?;
    let services = json!({
        "web": format!("/tcp/{WEB}"),
        "files": format!("/tcp/{FILES}"),
        "old": "/tcp/9",
        "diary": {"target": format!("/tcp/{WEB}"), "acl": {"enableWhitelist": true, "whitelist": []}},
    });
    let line = make_node(CONFIG, "alice", &services)?;
    let mut out = io::stdout();
    writeln!(out, "{line}").context("tell our line")?;
    let mut input = io::stdin().lock();
    let mut other = String::new();
    input.read_line(&mut other).context("read the other's line")?;
    meet(CONFIG, &other)?;
    let node = Daemon::start(&["up", "--config", CONFIG])?;
    writeln!(out, "ready").context("tell that we are ready")?;
    io::copy(&mut input, &mut io::sink()).context("wait for the end")?;
    node.stop()
}

/// Makes a node's configuration with these services; the line that others take.
pub fn make_node(config: &str, name: &str, services: &Value) -> anyhow::Result<String> {
    let line = hypertap(&["init", "--config", config, "--name", name])?;
    let text = fs::read_to_string(config).with_context(|| format!("read {config}"))?;
    let mut content: Value = serde_json::from_str(&text).context("the configuration is JSON")?;
    content["services"] = services.clone();
    // Nobody is asked for anything beyond the wire.
    content["bootstrapPeers"] = json!([]);
    fs::write(config, format!("{content:#}")).with_context(|| format!("write {config}"))?;
    Ok(line.trim().to_owned())
}

/// Adds another node's line to a configuration.
pub fn meet(config: &str, line: &str) -> anyhow::Result<()> {
    hypertap(&["peer", "add", "--config", config, line.trim()]).map(drop)
}

/// Runs this program for a job that ends; what it prints.
fn hypertap(words: &[&str]) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let done = Command::new(program).args(words).stdin(Stdio::null()).output().context("cannot start it")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(anyhow!("hypertap {} ended with {}: {said}", words.join(" "), done.status));
    }
    String::from_utf8(done.stdout).context("it prints text")
}

/// Serves each connection to a port of this machine alone.
fn serve(port: u16, each: fn(TcpStream) -> io::Result<()>) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("listen on port {port}"))?;
    thread::Builder::new().spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes is no concern of the next.
            let _ = each(stream);
        }
    })?;
    Ok(())
}

/// A web server with one page.
fn web(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut room = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut room)? {
            0 => return Ok(()),
            len => request.extend_from_slice(&room[..len]),
        }
    }
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len())
}

/// Answers how many bytes came, once all have.
fn count(mut stream: TcpStream) -> io::Result<()> {
    let count = io::copy(&mut stream, &mut io::sink())?;
    stream.write_all(&count.to_be_bytes())
}
