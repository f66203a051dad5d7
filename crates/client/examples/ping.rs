//! Answers pings and shows DNS queries: a whole program on a tunnel.
//!
//! ```sh
//! sudo hypertap tunnel &
//! sudo cargo run --example ping -- --route 10.1.0.0/16 --dns
//! ping 10.1.2.3
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use hypertap_client::blocking::Tunnel;
use hypertap_client::packet::{MAX_PACKET, answer_echo, dns_query};
use hypertap_client::{Address, Event, Plane, Start};
use ipnet::IpNet;

const USAGE: &str = "usage: ping [--tcp ADDR:PORT | --control PATH] [--data-plane udp|unix|stream|fd]
            [--address IPV4] [--address6 IPV6] [--route NET]… [--dns]
            [--count PINGS] [--for-seconds SECONDS]";

/// How long a wait for packets lasts before events are looked at.
const TURN: Duration = Duration::from_millis(200);

struct Options {
    daemon: Address,
    start: Start,
    routes: Vec<IpNet>,
    dns: bool,
    count: Option<u64>,
    end: Option<Instant>,
}

fn value<T: FromStr>(option: &str, text: Option<String>) -> Result<T, String> {
    let text = text.ok_or(format!("{option} needs a value"))?;
    text.parse().map_err(|_| format!("{option}: {text:?} is not what it takes"))
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        daemon: Address::default(),
        start: Start::new(Ipv4Addr::new(10, 1, 0, 1)),
        routes: Vec::new(),
        dns: false,
        count: None,
        end: None,
    };
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "--tcp" => options.daemon = Address::Tcp(value::<SocketAddr>(&option, arguments.next())?),
            "--control" => options.daemon = Address::Unix(value::<PathBuf>(&option, arguments.next())?),
            "--data-plane" => {
                options.start.plane = match value::<String>(&option, arguments.next())?.as_str() {
                    "udp" => Plane::default(),
                    "unix" => Plane::Unix,
                    "stream" => Plane::Stream,
                    "fd" => Plane::Fd { offload: false },
                    other => return Err(format!("there is no data plane {other:?}")),
                }
            }
            "--address" => options.start.ipv4 = value(&option, arguments.next())?,
            "--address6" => options.start.ipv6 = Some(value::<Ipv6Addr>(&option, arguments.next())?),
            "--route" => options.routes.push(value(&option, arguments.next())?),
            "--dns" => options.dns = true,
            "--count" => options.count = Some(value(&option, arguments.next())?),
            "--for-seconds" => {
                let seconds = Duration::from_secs(value(&option, arguments.next())?);
                options.end = Instant::now().checked_add(seconds);
            }
            _ => return Err(format!("{option:?} is no option")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut tunnel = Tunnel::connect(options.daemon.clone())?;
    let data = tunnel.start(&options.start)?;
    tunnel.add_included(&options.routes)?;
    if options.dns {
        tunnel.turn_on_dns()?;
    }
    println!("{} is up", tunnel.name()?);

    let mut packet = vec![0; MAX_PACKET];
    let mut answered = 0;
    while options.count != Some(answered) && options.end.is_none_or(|end| Instant::now() < end) {
        while let Some(event) = tunnel.next_event(Duration::ZERO)? {
            if let Event::TunnelStopped(reason) = event {
                return Err(format!("the tunnel stopped: {}", reason.name()).into());
            }
        }
        let Some(length) = data.recv(&mut packet, TURN)? else { continue };
        let Some(packet) = packet.get_mut(..length) else { continue };
        if let Some(query) = dns_query(packet) {
            println!("{query}");
        } else if answer_echo(packet) {
            data.send(packet)?;
            answered += 1;
        }
    }
    finish(&mut tunnel, &options.start, answered)?;
    println!("answered {answered} pings");
    Ok(())
}

/// Waits until the daemon has taken the last answers: the tunnel goes with our connection.
fn finish(tunnel: &mut Tunnel, start: &Start, answered: u64) -> hypertap_client::Result<()> {
    let end = Instant::now() + Duration::from_secs(1);
    while !matches!(start.plane, Plane::Fd { .. }) && Instant::now() < end {
        let stats = tunnel.stats()?;
        let dropped: u64 = stats.from_program.dropped.values().sum();
        if stats.from_program.packets + dropped >= answered {
            if dropped > 0 {
                println!("the daemon dropped answers: {:?}", stats.from_program.dropped);
            }
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    tunnel.stop()
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("ping: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ping: {error}");
            ExitCode::FAILURE
        }
    }
}
