//! What a TAP is made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use hypertap_wire::command::{is_host_address, is_interface_name};
use hypertap_wire::ethernet::MacAddress;
use serde::{Deserialize, Serialize};

use super::{MachineError, Offload};

/// The MTUs, in bytes, that a TAP can have.
const MTUS: RangeInclusive<u32> = 68..=65_521;
/// The smallest MTU, in bytes, with which an interface has IPv6 (RFC 8200, 5).
const MIN_MTU_IPV6: u32 = 1280;

/// What [`Privileged::open_tap`] makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapSpec {
    /// What it is called.
    pub name: TapName,
    /// The host's address on it: neither zero nor a group's.
    pub mac: MacAddress,
    /// Its address and prefix length, whose network becomes a connected route.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// Its IPv6 address and prefix length likewise; usable at once, without duplicate address detection.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// MTU in bytes, 68 to 65,521; the kernel switches IPv6 off on an interface below 1280.
    pub mtu: u32,
    /// The metric of the connected routes; 0 is the kernel's own choice.
    pub metric: u32,
    /// IPv6 neighbour unreachability detection (RFC 4861, 7.3). Without it an address that was resolved
    /// once is not asked after again.
    pub nud: bool,
    /// Take IPv6 addresses and routes from routers on the link (RFC 4861, 6.3), on a machine that itself
    /// forwards too.
    pub accept_ra: bool,
    /// Ask for a virtio-net header before each frame, with checksum and segmentation offload.
    pub offload: bool,
}

/// The name that a TAP gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TapName {
    /// This one, or [`MachineError::NameTaken`].
    Exact(String),
    /// The first free of `tap0`, `tap1`, … (on macOS `feth0`, `feth1`, …).
    Free,
}

/// An interface that [`Privileged::open_tap`] made. It goes when its descriptor, and every copy of it, is
/// closed.
#[derive(Debug)]
pub struct Tap {
    /// Its name.
    pub name: String,
    /// Its interface index.
    pub index: u32,
    /// Reads and writes frames; not blocking.
    pub descriptor: OwnedFd,
    /// Which offload the kernel granted.
    pub offload: Offload,
}

impl TapSpec {
    /// Whether the interface has IPv6 at all.
    pub fn has_ipv6(&self) -> bool {
        self.mtu >= MIN_MTU_IPV6
    }

    /// The addresses that it asks for, with their prefix lengths.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, u8)> {
        let ipv4 = self.ipv4.map(|(address, prefix)| (address.into(), prefix));
        let ipv6 = self.ipv6.map(|(address, prefix)| (address.into(), prefix));
        [ipv4, ipv6].into_iter().flatten()
    }

    /// Refuses what no interface can be, or what would be no host's.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), MachineError> {
        if let TapName::Exact(name) = &self.name
            && !is_interface_name(name)
        {
            return Err(MachineError::BadName(name.chars().take(64).collect()));
        }
        if !MTUS.contains(&self.mtu) {
            let reason = format!("it is {} to {} bytes", MTUS.start(), MTUS.end());
            return Err(refused(format!("set an MTU of {} bytes", self.mtu), reason));
        }
        if self.mac.is_zero() || self.mac.is_multicast() {
            let doing = format!("give an interface the MAC address {}", self.mac);
            return Err(refused(doing, "it is no station's: it is zero, or a group's".to_owned()));
        }
        for (address, prefix) in self.addresses() {
            let doing = || format!("give an interface the address {address}/{prefix}");
            if !is_host_address(address) {
                return Err(refused(doing(), "no host has it".to_owned()));
            }
            let bits = if address.is_ipv4() { 32 } else { 128 };
            if !(1..=bits).contains(&prefix) {
                return Err(refused(doing(), format!("a prefix is 1 to {bits} bits long")));
            }
        }
        if (self.ipv6.is_some() || self.accept_ra) && !self.has_ipv6() {
            let doing = format!("use IPv6 with an MTU of {} bytes", self.mtu);
            return Err(refused(doing, format!("it takes {MIN_MTU_IPV6} or more")));
        }
        Ok(())
    }
}

fn refused(doing: String, reason: String) -> MachineError {
    MachineError::Failed { doing, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TapSpec {
        TapSpec {
            name: TapName::Free,
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            ipv4: Some((Ipv4Addr::new(172, 30, 0, 1), 24)),
            ipv6: Some((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), 64)),
            mtu: 1500,
            metric: 0,
            nud: true,
            accept_ra: false,
            offload: true,
        }
    }

    #[test]
    fn a_station_with_a_hosts_addresses_is_fine() {
        assert_eq!(spec().check(), Ok(()));
        assert_eq!(TapSpec { ipv4: None, ipv6: None, mtu: 68, ..spec() }.check(), Ok(()));
        assert_eq!(TapSpec { mtu: 65_521, ..spec() }.check(), Ok(()));
        assert_eq!(TapSpec { name: TapName::Exact("tap7".to_owned()), ..spec() }.check(), Ok(()));
    }

    #[test]
    fn what_no_interface_can_be_is_refused() {
        let v4 = |address: [u8; 4], prefix| TapSpec { ipv4: Some((address.into(), prefix)), ..spec() };
        let v6 = |address: Ipv6Addr, prefix| TapSpec { ipv6: Some((address, prefix)), ..spec() };
        let host = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
        let bad = [
            TapSpec { name: TapName::Exact("tap%d".to_owned()), ..spec() },
            TapSpec { name: TapName::Exact("../x".to_owned()), ..spec() },
            TapSpec { mac: MacAddress([0; 6]), ..spec() },
            TapSpec { mac: MacAddress([0xff; 6]), ..spec() },
            TapSpec { mac: MacAddress([1, 0, 0x5e, 0, 0, 1]), ..spec() },
            TapSpec { ipv4: None, ipv6: None, mtu: 67, ..spec() },
            TapSpec { mtu: 65_522, ..spec() },
            TapSpec { mtu: 1279, ..spec() },
            TapSpec { mtu: 1279, ipv6: None, accept_ra: true, ..spec() },
            v4([0, 0, 0, 0], 24),
            v4([127, 0, 0, 1], 8),
            v4([224, 0, 0, 1], 24),
            v4([10, 0, 0, 1], 0),
            v4([10, 0, 0, 1], 33),
            v6(host, 0),
            v6(host, 129),
            v6(Ipv6Addr::LOCALHOST, 64),
            v6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 64),
        ];
        for spec in bad {
            assert!(spec.check().is_err(), "{spec:?}");
        }
    }
}
