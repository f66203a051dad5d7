//! The demo's mesh: two machines with a wire between them, and the services of one used on the other by name.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hypertap_platform::namespace::{Spaces, bind, enter_new};
use hypertap_platform::veth;
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::{NodeId, ServiceId, dns_listener};
use serde_json::{Value, json};

use super::PATIENCE;
use super::daemon::Daemon;
use super::far::{self, PAGE, PREFIX, WIRE};
use super::report::Report;

/// This machine's address on the wire.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The node's interface.
const INTERFACE: &str = "hypertap";
/// Where this node's configuration is.
const CONFIG: &str = "/run/bob.json";
/// What is written at once to measure speed, in bytes.
const CHUNK: usize = 256 << 10;

/// Shows it.
///
/// # Errors
/// The first step that did not do what it should.
pub fn show(report: &mut Report, time: Duration) -> anyhow::Result<()> {
    ask_own_node()?;
    let (far, line) = report.step("machines", "two machines, a wire, and nothing configured", || {
        let (far, line) = Far::start()?;
        veth::give_address(WIRE, ADDRESS, PREFIX).context("cannot give the wire an address")?;
        Ok(((far, line), format!("bob is {ADDRESS}, alice 192.0.2.2 with programs on 127.0.0.1 only")))
    })?;
    let alice: Value = serde_json::from_str(&line).context("alice's line is JSON")?;
    let id = alice["id"].as_str().context("alice's line has an id")?.parse().context("a peer id")?;
    let (far, node) = report.step("nodes", "each runs `hypertap init` and takes the other's line", || {
        let own = far::make_node(CONFIG, "bob", &json!({}))?;
        far::meet(CONFIG, &line)?;
        let far = far.meet(&own)?;
        let node = Daemon::start(&["up", "--config", CONFIG])?;
        Ok(((far, node), format!("and `hypertap up`; alice is {id}")))
    })?;
    for port in [80, 4711] {
        report.step("web", &format!("bob reads http://web.alice.hyprspace:{port}/"), || {
            let page = fetch("web.alice.hyprspace", port)?;
            ensure!(page == PAGE, "another page came: {page:?}");
            Ok(((), format!("{:?}, from a server that listens on 127.0.0.1:8080", page.trim())))
        })?;
    }
    upload(report, time)?;
    refusals(report, &id)?;
    report.step("end", "both nodes end, and their interfaces with them", || {
        node.stop()?;
        far.end()?;
        ensure!(!is_there(NodeId::of(&id).ipv6().into()), "alice is still reachable");
        Ok(((), "nothing of them is left".to_owned()))
    })
}

/// Has this machine's programs ask the node that is to be started for names.
fn ask_own_node() -> anyhow::Result<()> {
    let (own, place) = (Path::new("/run/resolv.conf"), Path::new("/etc/resolv.conf"));
    fs::write(own, format!("nameserver {}\n", dns_listener(INTERFACE).ip()))
        .context("write a resolv.conf")?;
    bind(own, place).with_context(|| format!("cannot show another {}", place.display()))
}

fn upload(report: &mut Report, time: Duration) -> anyhow::Result<()> {
    let bar = report.bar("sending to files.alice.hyprspace", time);
    let mut stream = connect("files.alice.hyprspace", 9000)?;
    let chunk = vec![0x5a; CHUNK];
    let begin = Instant::now();
    let mut sent = 0_u64;
    while begin.elapsed() < time {
        stream.write_all(&chunk).context("alice takes no more")?;
        sent += CHUNK as u64;
        bar.set_position(u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
    bar.finish_and_clear();
    stream.shutdown(Shutdown::Write)?;
    let mut count = [0; 8];
    stream.read_exact(&mut count).context("alice does not answer after the end")?;
    let took = begin.elapsed();
    ensure!(u64::from_be_bytes(count) == sent, "{} of {sent} bytes came", u64::from_be_bytes(count));
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = sent as f64 * 8.0 / took.as_secs_f64() / 1e9;
    let note = format!("{rate:.2} Gbit/s, {} MiB, all counted; the answer came after our end", sent >> 20);
    report.done("files", "one TCP stream to files.alice.hyprspace, no HTTP, encrypted", &note);
    Ok(())
}

fn refusals(report: &mut Report, alice: &PeerId) -> anyhow::Result<()> {
    report.step("refused", "a service whose program does not run, and one that is not for bob", || {
        let old = refused(connect("old.alice.hyprspace", 80), io::ErrorKind::ConnectionRefused)?;
        let name = Label::new("diary").context("a label")?;
        let diary = SocketAddr::from((NodeId::of(alice).service_ipv6(ServiceId::of(&name)), 80));
        let closed = TcpStream::connect_timeout(&diary, PATIENCE).context("it is closed");
        let closed = refused(closed, io::ErrorKind::PermissionDenied)?;
        Ok(((), format!("old: {old}; diary: {closed}")))
    })
}

/// What the system says of a connection that must not come about.
fn refused(outcome: anyhow::Result<TcpStream>, kind: io::ErrorKind) -> anyhow::Result<String> {
    let Err(error) = outcome else { bail!("it was not refused") };
    match error.root_cause().downcast_ref::<io::Error>() {
        Some(said) if said.kind() == kind => Ok(said.to_string()),
        _ => Err(error),
    }
}

fn is_there(address: std::net::IpAddr) -> bool {
    TcpStream::connect_timeout(&SocketAddr::new(address, 80), Duration::from_secs(1))
        .is_ok_and(|stream| stream.peer_addr().is_ok())
}

/// Connects as any program does.
fn connect(name: &str, port: u16) -> anyhow::Result<TcpStream> {
    let addresses = (name, port).to_socket_addrs().with_context(|| format!("{name} is not known"))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("it has no address")?).with_context(|| format!("{name} port {port}"))
}

/// The page of a web server.
fn fetch(name: &str, port: u16) -> anyhow::Result<String> {
    let mut stream = connect(name, port)?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {name}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("no answer")?;
    let (head, page) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    ensure!(head.starts_with("HTTP/1.0 200"), "the answer is {head:?}");
    Ok(page.to_owned())
}

/// The far machine: this program in a network namespace of its own.
struct Far {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Far {
    /// Starts it with a wire to here; and its line.
    fn start() -> anyhow::Result<(Self, String)> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(["demo", "--far"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        enter_new(&mut command, &Spaces { net: true, ..Spaces::default() })?;
        let mut child = command.spawn().context("cannot start another machine")?;
        let (input, output) =
            (child.stdin.take().context("its input")?, child.stdout.take().context("its output")?);
        let mut far = Self { child, input, output: BufReader::new(output) };
        veth::lay(WIRE, far.child.id()).context("cannot lay a wire")?;
        let line = far.line()?;
        Ok((far, line))
    }

    /// Tells it our line, and waits until its node runs.
    fn meet(mut self, line: &str) -> anyhow::Result<Self> {
        writeln!(self.input, "{line}").context("alice is gone")?;
        ensure!(self.line()? == "ready", "alice's node does not start");
        Ok(self)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("alice's machine ended with {}", self.child.wait()?);
        }
        Ok(line.trim().to_owned())
    }

    /// Has it end, which must be a good one.
    fn end(self) -> anyhow::Result<()> {
        let Self { mut child, input, .. } = self;
        drop(input);
        let status = child.wait()?;
        ensure!(status.success(), "alice's machine ended with {status}");
        Ok(())
    }
}
