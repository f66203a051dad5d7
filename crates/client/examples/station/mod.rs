//! A machine on an Ethernet: what it answers, and the command line of the examples that play it.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use hypertap_client::packet::answer_echo;
use hypertap_client::tap::Framing;
use hypertap_client::{Address, TapServer, TapSpec};

pub const USAGE: &str = "usage: --connect WHERE [--framing le16|qemu|unframed] | --open
       [--address A.B.C.D] [--count PINGS] [--timeout SECONDS] [--name NAME] [--program FILE]";

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A request for an IPv4 address of an Ethernet station (RFC 826).
const ARP_REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];

/// What was asked for.
pub struct Options {
    pub server: Option<TapServer>,
    pub spec: TapSpec,
    pub address: Ipv4Addr,
    pub count: Option<u64>,
    /// How long nothing may come.
    pub timeout: Duration,
}

fn value<T: FromStr>(option: &str, text: Option<String>) -> Result<T, String> {
    let text = text.ok_or(format!("{option} needs a value"))?;
    text.parse().map_err(|_| format!("{option}: {text:?} is not what it takes"))
}

impl Options {
    /// Reads the command line.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            server: None,
            spec: TapSpec::default(),
            address: Ipv4Addr::new(172, 30, 0, 2),
            count: None,
            timeout: Duration::MAX,
        };
        let (mut framing, mut open) = (Framing::Le16, false);
        while let Some(option) = words.next() {
            match option.as_str() {
                "--open" => open = true,
                "--connect" => {
                    options.server = Some(TapServer::new(value::<Address>(&option, words.next())?));
                }
                "--framing" => {
                    framing = match value::<String>(&option, words.next())?.as_str() {
                        "le16" => Framing::Le16,
                        "qemu" => Framing::Be32,
                        "unframed" => Framing::Unframed,
                        other => return Err(format!("there is no framing {other:?}")),
                    }
                }
                "--address" => options.address = value(&option, words.next())?,
                "--count" => options.count = Some(value(&option, words.next())?),
                "--timeout" => options.timeout = Duration::from_secs(value(&option, words.next())?),
                "--name" => options.spec.name = Some(value(&option, words.next())?),
                "--program" => options.spec.program = value::<String>(&option, words.next())?.into(),
                _ => return Err(format!("{option:?} is no option")),
            }
        }
        if open == options.server.is_some() {
            return Err("either --connect or --open".to_owned());
        }
        options.server = options.server.map(|server| TapServer { framing, ..server });
        Ok(options)
    }
}

/// What a frame was, once it is its own answer.
pub enum Answer {
    Arp,
    Ping,
}

/// Makes an ARP request for the address, and a ping to it, its answer.
pub fn answer(frame: &mut [u8], address: Ipv4Addr) -> Option<Answer> {
    let (header, payload) = frame.split_first_chunk_mut::<14>()?;
    let answer = match header[12..] {
        [8, 6] if payload.starts_with(&ARP_REQUEST) && payload.get(24..28)? == address.octets() => {
            payload[7] = 2;
            let (sender, target) = payload.get_mut(8..28)?.split_at_mut(10);
            sender.swap_with_slice(target);
            sender[..6].copy_from_slice(&MAC);
            Answer::Arp
        }
        [8, 0] if payload.get(16..20)? == address.octets() && answer_echo(payload) => Answer::Ping,
        _ => return None,
    };
    header.copy_within(6..12, 0);
    header[6..12].copy_from_slice(&MAC);
    Some(answer)
}
