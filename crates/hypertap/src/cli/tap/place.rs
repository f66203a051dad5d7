//! Where clients connect, and how they speak there, as the command line says it.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::ValueEnum;

/// How frames stand in what a client sends and gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FramingName {
    /// Found out by the first frame
    Auto,
    /// Each frame after its length in 16 bits, low byte first
    Le16,
    /// Bare frames, sized by what is in them
    Unframed,
    /// Each frame after its length in 32 bits, high byte first
    Qemu,
    /// A Unix datagram a frame
    Datagram,
}

/// A socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub place: Place,
    /// How its clients frame, where that was said.
    pub framing: Option<FramingName>,
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// Reads a place with its framing, where that is said.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    let (place, framing) = match text.rsplit_once(",framing=") {
        None => (text, None),
        Some((place, name)) => {
            let wanted = || format!("{name:?} is no framing; use auto, le16, unframed, qemu or datagram");
            (place, Some(FramingName::from_str(name, false).map_err(|_| wanted())?))
        }
    };
    let place = place_of(place)?;
    if framing == Some(FramingName::Datagram) && matches!(place, Place::Tcp(_)) {
        return Err("datagrams are for a path, not for TCP".to_owned());
    }
    Ok(Listen { place, framing })
}

const WANTED: &str = "wanted an absolute path, a port from 1 to 65535, or an address and a port, as in \
                      127.0.0.1:5600, [::1]:5600 or localhost:5600";

/// Reads a place. A name is looked up now.
pub(in crate::cli) fn place_of(text: &str) -> Result<Place, String> {
    if text.starts_with('/') {
        return Ok(Place::Unix(PathBuf::from(text)));
    }
    let address = match text.parse::<u16>() {
        Ok(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        Err(_) => text.parse().or_else(|_| look_up(text))?,
    };
    if address.port() == 0 { Err(WANTED.to_owned()) } else { Ok(Place::Tcp(address)) }
}

/// The address that a name and a port stand for: of several the first of IPv4, as tapserver and its clients have it.
fn look_up(text: &str) -> Result<SocketAddr, String> {
    let is_name = |name: &str| {
        name.contains(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
    };
    let (name, port) = text.rsplit_once(':').filter(|(name, _)| is_name(name)).ok_or(WANTED)?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or(WANTED)?;
    let found = (name, port).to_socket_addrs();
    let found = found.map_err(|error| format!("cannot find the address of {name}: {error}"))?;
    let found: Vec<_> = found.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("{name} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_a_port_or_an_address() {
        let tcp = |text: &str| Listen { place: Place::Tcp(text.parse().expect("good")), framing: None };
        for (text, wanted) in [
            ("5600", tcp("127.0.0.1:5600")),
            ("0.0.0.0:5600", tcp("0.0.0.0:5600")),
            ("[::1]:5600", tcp("[::1]:5600")),
            ("localhost:5600", tcp("127.0.0.1:5600")),
            ("/tmp/a,b", Listen { place: Place::Unix("/tmp/a,b".into()), framing: None }),
            (
                "/tmp/a,framing=qemu",
                Listen { place: Place::Unix("/tmp/a".into()), framing: Some(FramingName::Qemu) },
            ),
        ] {
            assert_eq!(listen(text), Ok(wanted), "{text}");
        }
        for text in [
            "",
            "0",
            "65536",
            "tmp/a",
            "localhost",
            "localhost:0",
            "localhost:x",
            "no.such.name.invalid:5600",
            "1.2.3:5600",
            "127.0.0.1",
            "::1:0x",
            "/a,framing=x",
            "1,framing=datagram",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
