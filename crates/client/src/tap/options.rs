//! What an interface is to be, and where.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::frames::Framing;

use crate::Address;

/// The MTU where nothing else is said, in bytes: Ethernet's.
pub const DEFAULT_MTU: u32 = 1500;

/// How long connecting, or making an interface, may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A running server that makes an interface for whoever connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapServer {
    /// Where it listens (`--listen`).
    pub address: Address,
    /// How frames are told apart. `Le16`, the default, is `--use-framed-protocol`, and a server that
    /// finds out by itself understands it too.
    pub framing: Framing,
    /// The MTU of the server's interface in bytes (`--mtu`); with it goes the longest frame that may
    /// be sent, since a longer one would end the connection.
    pub mtu: u32,
    /// How long connecting may take.
    pub timeout: Duration,
}

impl TapServer {
    /// One with the usual settings.
    pub fn new(address: impl Into<Address>) -> Self {
        Self { address: address.into(), framing: Framing::Le16, mtu: DEFAULT_MTU, timeout: TIMEOUT }
    }
}

/// An interface that the program makes for itself. What is `None` is chosen by `hypertap tap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapSpec {
    /// The program that makes it: a path, or a name that is looked for in `PATH`. `hypertap` by default.
    pub program: PathBuf,
    /// The interface's name, 15 bytes at most.
    pub name: Option<String>,
    /// The machine's own MAC address on it.
    pub mac: Option<MacAddress>,
    /// The machine's own IPv4 address on it, and the length of the network's prefix in bits.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// The same of IPv6.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// The MTU in bytes, 68 to 65,521.
    pub mtu: u32,
    /// How long making it may take.
    pub timeout: Duration,
}

impl Default for TapSpec {
    fn default() -> Self {
        Self {
            program: "hypertap".into(),
            name: None,
            mac: None,
            ipv4: None,
            ipv6: None,
            mtu: DEFAULT_MTU,
            timeout: TIMEOUT,
        }
    }
}

impl TapSpec {
    /// The words after `hypertap tap` that say so.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut words = vec![format!("--mtu={}", self.mtu)];
        words.extend(self.name.iter().map(|name| format!("--name={name}")));
        words.extend(self.mac.iter().map(|mac| format!("--mac-address={mac}")));
        words.extend(self.ipv4.iter().map(|(ip, prefix)| format!("--ip-address={ip}/{prefix}")));
        words.extend(self.ipv6.iter().map(|(ip, prefix)| format!("--ip6-address={ip}/{prefix}")));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wished_for_is_left_to_the_program() {
        assert_eq!(TapSpec::default().arguments(), ["--mtu=1500"]);
        let spec = TapSpec {
            name: Some("lan0".to_owned()),
            mac: Some(MacAddress([2, 0, 0, 0, 0, 0xab])),
            ipv4: Some(([10, 0, 0, 1].into(), 8)),
            ipv6: Some(("fd00::1".parse().expect("an address"), 64)),
            mtu: 9000,
            ..TapSpec::default()
        };
        assert_eq!(
            spec.arguments(),
            [
                "--mtu=9000",
                "--name=lan0",
                "--mac-address=02:00:00:00:00:ab",
                "--ip-address=10.0.0.1/8",
                "--ip6-address=fd00::1/64"
            ]
        );
    }
}
