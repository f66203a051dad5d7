//! Where a service's connections go: a multiaddr, as far as services need them.
//!
//! | text | meaning |
//! |---|---|
//! | `[HOST]/tcp/PORT` | a TCP connection |
//! | `[HOST]/tcp/*` | a TCP connection to the port that the client asked for |
//! | `[HOST]/udp/PORT` | UDP datagrams |
//! | `/unix/PATH` | a Unix stream socket; the path is absolute, and the rest of the text |
//!
//! HOST is `/ip4/A`, `/ip6/A` or `/dns/NAME`, and 127.0.0.1 when there is none.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::label::{Label, LabelError};

/// The longest path of a Unix socket in bytes: `sun_path` without its NUL, on the strictest system.
const MAX_UNIX_PATH: usize = 103;
/// The longest name of a host in characters (RFC 1035, section 2.3.4).
const MAX_HOST_NAME: usize = 253;

/// Where a service's connections go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A TCP connection.
    Tcp(Host, TargetPort),
    /// UDP datagrams.
    Udp(Host, NonZeroU16),
    /// A Unix stream socket at this absolute path.
    Unix(String),
}

/// The machine that a target is on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// At this address.
    Ip(IpAddr),
    /// With this name in lower case, which is looked up for each connection.
    Dns(String),
}

/// The port of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetPort {
    /// Always this one.
    Fixed(NonZeroU16),
    /// The one that the client asked for.
    AsAsked,
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not begin with a slash.
    #[error("it is no multiaddr: it begins with /, as in /tcp/8080")]
    NoMultiaddr,
    /// A part that no target has.
    #[error(
        "no target has such parts: expected [/ip4/A|/ip6/A|/dns/NAME]/tcp/PORT, …/tcp/*, …/udp/PORT or /unix/PATH"
    )]
    UnknownForm,
    /// It names a host and no port there.
    #[error("it has no port: add /tcp/PORT")]
    NoPort,
    /// What should be an address is none.
    #[error("its address is no IPv{0} address")]
    BadAddress(u8),
    /// What should be a host's name is none.
    #[error("its host name is none: in one of its labels, {0}")]
    BadHostName(LabelError),
    /// The host's name is too long.
    #[error("its host name is longer than {MAX_HOST_NAME} characters")]
    HostNameTooLong,
    /// What should be a port is none.
    #[error("its port is no number from 1 to 65535")]
    BadPort,
    /// UDP with the port that the client asked for.
    #[error("/udp/* is not to be had: only tcp takes the port that the client asked for")]
    UdpAsAsked,
    /// The path is empty, too long, or has a NUL.
    #[error("its path is none: 1 to {MAX_UNIX_PATH} bytes, without NUL, and not ending with /")]
    BadPath,
}

impl Host {
    /// This machine, which is meant where a target names none.
    pub const HERE: Self = Self::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn parse_dns(name: &str) -> Result<Self, TargetError> {
        if name.len() > MAX_HOST_NAME {
            return Err(TargetError::HostNameTooLong);
        }
        name.split('.')
            .try_for_each(|label| Label::new(label).map(drop))
            .map_err(TargetError::BadHostName)?;
        Ok(Self::Dns(name.to_ascii_lowercase()))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some(path) = text.strip_prefix("/unix/") {
            return parse_unix(path);
        }
        let rest = text.strip_prefix('/').ok_or(TargetError::NoMultiaddr)?;
        let mut parts = rest.split('/');
        let mut next = || parts.next();
        let (first, value) = (next(), next());
        let (host, protocol, port) = match (first, value) {
            (Some("ip4"), Some(address)) => {
                let address: Ipv4Addr = address.parse().map_err(|_| TargetError::BadAddress(4))?;
                (Host::Ip(address.into()), next(), next())
            }
            (Some("ip6"), Some(address)) => {
                let address: Ipv6Addr = address.parse().map_err(|_| TargetError::BadAddress(6))?;
                (Host::Ip(address.into()), next(), next())
            }
            (Some("dns"), Some(name)) => (Host::parse_dns(name)?, next(), next()),
            _ => (Host::HERE, first, value),
        };
        if next().is_some() {
            return Err(TargetError::UnknownForm);
        }
        match (protocol, port) {
            (Some("tcp"), Some("*")) => Ok(Self::Tcp(host, TargetPort::AsAsked)),
            (Some("udp"), Some("*")) => Err(TargetError::UdpAsAsked),
            (Some("tcp"), Some(port)) => Ok(Self::Tcp(host, TargetPort::Fixed(parse_port(port)?))),
            (Some("udp"), Some(port)) => Ok(Self::Udp(host, parse_port(port)?)),
            (None | Some("tcp" | "udp"), None) => Err(TargetError::NoPort),
            _ => Err(TargetError::UnknownForm),
        }
    }
}

fn parse_port(text: &str) -> Result<NonZeroU16, TargetError> {
    let port: NonZeroU16 = text.parse().map_err(|_| TargetError::BadPort)?;
    // What parses may still have a sign or leading zeros.
    if port.to_string() == text { Ok(port) } else { Err(TargetError::BadPort) }
}

/// Reads what is after `/unix/`; the slash that the path begins with may be written or not.
fn parse_unix(path: &str) -> Result<Target, TargetError> {
    let path = format!("/{}", path.trim_start_matches('/'));
    if path.len() > MAX_UNIX_PATH || path.ends_with('/') || path.contains('\0') {
        return Err(TargetError::BadPath);
    }
    Ok(Target::Unix(path))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(address)) => write!(f, "/ip4/{address}"),
            Self::Ip(IpAddr::V6(address)) => write!(f, "/ip6/{address}"),
            Self::Dns(name) => write!(f, "/dns/{name}"),
        }
    }
}

/// In full, with the host.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, TargetPort::Fixed(port)) => write!(f, "{host}/tcp/{port}"),
            Self::Tcp(host, TargetPort::AsAsked) => write!(f, "{host}/tcp/*"),
            Self::Udp(host, port) => write!(f, "{host}/udp/{port}"),
            Self::Unix(path) => write!(f, "/unix{path}"),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Result<String, TargetError> {
        text.parse::<Target>().map(|target| target.to_string())
    }

    #[test]
    fn a_target_without_a_host_is_on_this_machine() {
        assert_eq!(shown("/tcp/8080").as_deref(), Ok("/ip4/127.0.0.1/tcp/8080"));
        assert_eq!(shown("/udp/53").as_deref(), Ok("/ip4/127.0.0.1/udp/53"));
        assert_eq!("/tcp/*".parse(), Ok(Target::Tcp(Host::HERE, TargetPort::AsAsked)));
    }

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "/ip4/10.0.0.4/tcp/9092",
            "/ip6/2001:db8::1/tcp/1",
            "/ip6/::1/tcp/*",
            "/ip4/10.0.0.4/udp/65535",
            "/dns/db.example.org/tcp/5432",
            "/dns/localhost/udp/53",
            "/unix/run/app.sock",
            "/unix/run/with space/and*star",
        ] {
            assert_eq!(shown(text).as_deref(), Ok(text));
        }
        assert_eq!(shown("/dns/DB.Example/tcp/1").as_deref(), Ok("/dns/db.example/tcp/1"));
        assert_eq!("/unix//run/app.sock".parse(), Ok(Target::Unix("/run/app.sock".to_owned())));
    }

    #[test]
    fn what_is_no_target_is_named() {
        use TargetError::*;
        for (text, error) in [
            ("", NoMultiaddr),
            ("8080", NoMultiaddr),
            ("localhost:80", NoMultiaddr),
            ("/", UnknownForm),
            ("//tcp/80", UnknownForm),
            ("/tcp", NoPort),
            ("/ip4/10.0.0.1", NoPort),
            ("/ip4/10.0.0.1/tcp", NoPort),
            ("/tcp/", BadPort),
            ("/tcp/0", BadPort),
            ("/tcp/65536", BadPort),
            ("/tcp/+80", BadPort),
            ("/tcp/080", BadPort),
            ("/udp/*", UdpAsAsked),
            ("/tcp/80/", UnknownForm),
            ("/tcp/80/http", UnknownForm),
            ("/tcp/80/tcp/81", UnknownForm),
            ("/ip4/10.0.0.1/tcp/80/p2p/x", UnknownForm),
            ("/sctp/80", UnknownForm),
            ("/ip4/10.0.0/tcp/80", BadAddress(4)),
            ("/ip4/::1/tcp/80", BadAddress(4)),
            ("/ip6/fe80::1%eth0/tcp/80", BadAddress(6)),
            ("/dns//tcp/80", BadHostName(LabelError::Empty)),
            ("/dns/a..b/tcp/80", BadHostName(LabelError::Empty)),
            ("/dns/a b/tcp/80", BadHostName(LabelError::BadCharacter(' '))),
            (&format!("/dns/{}/tcp/80", "a.".repeat(127) + "b"), HostNameTooLong),
            ("/unix/", BadPath),
            ("/unix", UnknownForm),
            ("/unix/run/", BadPath),
            ("/unix/a\0b", BadPath),
            (&format!("/unix/{}", "x".repeat(103)), BadPath),
        ] {
            assert_eq!(shown(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_target_is_a_string_in_json() {
        let target: Target = serde_json::from_str("\"/tcp/80\"").unwrap();
        assert_eq!(serde_json::to_string(&target).unwrap(), "\"/ip4/127.0.0.1/tcp/80\"");
        assert!(serde_json::from_str::<Target>("\"80\"").unwrap_err().to_string().contains("/tcp/8080"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            text in "(/(ip4|ip6|dns|unix|tcp|udp)/([a-c.]{0,3}|1\\.2\\.3\\.4|::1|\\*|[0-9]{1,5})){0,3}"
        ) {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse(), Ok(target));
            }
        }
    }
}
