//! What a process of another user, or in another place, does in a system test: one small thing a
//! run, said on the command line, with the outcome printed a line each.

use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use hypertap_tests::packet::ping_reply;
use hypertap_tests::program::DeviceProgram;
use hypertap_tests::{Client, Program, json};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

type Outcome = Result<(), Box<dyn Error>>;

/// How long a peer waits for anything.
const TIME: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match act(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(words: &[&str]) -> Outcome {
    if Path::new(words[0]).file_name().is_some_and(|name| name == "pkexec") {
        return grant(&words[1..]);
    }
    match words[1..] {
        ["tcp-lines", address, sent] => {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(TIME))?;
            converse(stream, sent);
            Ok(())
        }
        ["unix-lines", path, sent] => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIME))?;
            converse(stream, sent);
            Ok(())
        }
        ["tcp-crowd", address, count] => crowd(|| TcpStream::connect(address), count.parse()?),
        ["unix-crowd", path, count] => crowd(|| UnixStream::connect(path), count.parse()?),
        ["unix-count", path] => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIME))?;
            let mut bytes = Vec::new();
            // A connection that is reset has brought nothing either.
            let _ = stream.read_to_end(&mut bytes);
            println!("{} bytes", bytes.len());
            Ok(())
        }
        ["fd-echo", path] => {
            fd_echo(path);
            Ok(())
        }
        ["hit-and-run", address, sent] => {
            TcpStream::connect(address)?.write_all(format!("{sent}\n").as_bytes())?;
            Ok(())
        }
        ["udp-send", from, to, hex, count] => send(from, to, hex, count).map(drop),
        ["udp-send-hold", from, to, hex, count] => {
            let socket = send(from, to, hex, count)?;
            println!("sent");
            hold(&socket)
        }
        ["udp-hold", address] => {
            let socket = UdpSocket::bind(address)?;
            println!("bound");
            hold(&socket)
        }
        ["udp-ask", mark, to] => ask_udp(mark.parse()?, to.parse()?),
        ["tcp-ask", mark, to] => ask_tcp(mark.parse()?, to.parse()?),
        ["answer", address] => answer(address),
        _ => Err(format!("what is {words:?}?").into()),
    }
}

/// Sends a line (none when it is empty) and prints the lines that come until the end.
fn converse(mut stream: impl Read + Write, sent: &str) {
    if !sent.is_empty() {
        // Who is turned away may be so before having written.
        let _ = stream.write_all(format!("{sent}\n").as_bytes());
    }
    for line in BufReader::new(stream).lines() {
        match line {
            Ok(line) => println!("{line}"),
            Err(_) => break,
        }
    }
    println!("end");
}

/// Connects so many times without a pause, and holds what it can of it until it is killed.
fn crowd<S>(connect: impl Fn() -> io::Result<S>, count: usize) -> Outcome {
    let mut held = VecDeque::new();
    for number in 1..=count {
        held.push_back(connect()?);
        held.drain(..held.len().saturating_sub(500));
        if number == 200 {
            println!("begun");
        }
    }
    println!("{count} connected");
    thread::sleep(TIME);
    Ok(())
}

/// Sends a datagram so many times.
fn send(from: &str, to: &str, hex: &str, count: &str) -> Result<UdpSocket, Box<dyn Error>> {
    let (socket, packet) = (UdpSocket::bind(from)?, unhex(hex)?);
    for _ in 0..count.parse()? {
        socket.send_to(&packet, to)?;
    }
    Ok(socket)
}

/// Holds a port and prints how long each datagram is that arrives.
fn hold(socket: &UdpSocket) -> Outcome {
    socket.set_read_timeout(Some(TIME))?;
    let mut bytes = vec![0; 65536];
    while let Ok((count, from)) = socket.recv_from(&mut bytes) {
        println!("{count} bytes from {from}");
    }
    Ok(())
}

/// Sends "question" by UDP, with a mark unless that is 0, and prints the answer.
fn ask_udp(mark: u32, to: SocketAddr) -> Outcome {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    if mark != 0 {
        setsockopt(&socket, sockopt::Mark, &mark)?;
    }
    socket.set_read_timeout(Some(TIME))?;
    socket.send_to(b"question", to)?;
    let mut bytes = [0; 100];
    let (count, _) = socket.recv_from(&mut bytes)?;
    println!("{}", String::from_utf8_lossy(&bytes[..count]));
    Ok(())
}

/// Asks by TCP, and prints the answer. A mark must be there before the connection is, for which
/// the standard library has no way, so a mark is left to whoever started this.
fn ask_tcp(mark: u32, to: SocketAddr) -> Outcome {
    if mark != 0 {
        return Err("a mark on TCP is not for this peer".into());
    }
    let mut stream = TcpStream::connect_timeout(&to, TIME)?;
    stream.set_read_timeout(Some(TIME))?;
    stream.write_all(b"question")?;
    let mut bytes = [0; 100];
    let count = stream.read(&mut bytes)?;
    println!("{}", String::from_utf8_lossy(&bytes[..count]));
    Ok(())
}

/// Answers every question by UDP and TCP with "answer", for as long as it lives.
fn answer(address: &str) -> Outcome {
    let (socket, listener) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
    println!("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if stream.read(&mut [0; 100]).is_ok() {
                // A caller that has gone needs no answer.
                let _ = stream.write_all(b"answer");
            }
        }
    });
    let mut bytes = vec![0; 65536];
    loop {
        let (_, from) = socket.recv_from(&mut bytes)?;
        socket.send_to(b"answer", from)?;
    }
}

/// Stands in for pkexec where a test gave this file root's set-user-id bit: the person said yes.
fn grant(words: &[&str]) -> Outcome {
    let asking = Uid::current();
    setgroups(&[])?;
    setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))?;
    setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0))?;
    let words: Vec<_> = words.iter().filter(|word| **word != "--disable-internal-agent").collect();
    let (program, args) = words.split_first().ok_or("nothing to execute")?;
    Err(Command::new(program).args(args).env("PKEXEC_UID", asking.to_string()).exec().into())
}

/// Starts a tunnel over the Unix socket, takes the device and answers pings with it.
fn fd_echo(path: &str) {
    let mut client = Client::unix(Path::new(path));
    client.expect_greeting();
    client.start_with(json!({"dataPlane": "fd"}));
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
    let device = DeviceProgram::new(client.take_descriptor());
    while let Some(packet) = device.receive(TIME) {
        if let Some(reply) = ping_reply(&packet) {
            device.send(&reply);
        }
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let digits = text.as_bytes().chunks(2);
    Ok(digits.map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16)).collect::<Result<_, _>>()?)
}
