//! Addresses of hosts, as the command line says them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hypertap_wire::command::is_host_address;
use hypertap_wire::ethernet::MacAddress;

/// Reads the address of a station.
pub(in crate::cli) fn mac_address(text: &str) -> Result<MacAddress, String> {
    let wanted = "wanted six bytes in hexadecimal, as in 02:00:00:00:00:01";
    let mac: MacAddress = text.parse().map_err(|_| wanted.to_owned())?;
    if mac.is_multicast() {
        return Err(
            "that is a multicast address, for its first byte is odd; an interface's is not".to_owned()
        );
    }
    if mac.is_zero() { Err("an interface's address is not zero".to_owned()) } else { Ok(mac) }
}

/// Reads an address and the length of a prefix, which may be missing.
fn with_prefix<A: std::str::FromStr>(text: &str, default: u8, most: u8) -> Option<(A, u8)> {
    let (address, prefix) = match text.split_once('/') {
        None => (text, default),
        Some((address, prefix)) => {
            let is_number = prefix.len() < 4 && prefix.bytes().all(|byte| byte.is_ascii_digit());
            (address, prefix.parse().ok().filter(|prefix| is_number && (1..=most).contains(prefix))?)
        }
    };
    Some((address.parse().ok()?, prefix))
}

/// Reads the address of a host in a network of IPv4.
pub(super) fn ipv4(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let (address, prefix) = with_prefix::<Ipv4Addr>(text, 24, 32)
        .ok_or("wanted an IPv4 address, with a prefix length from 1 to 32 or without, as in 172.30.0.1/24")?;
    is_hosts(address.into())?;
    let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let host = address.to_bits() & hosts;
    if prefix < 31 && (host == 0 || host == hosts) {
        let what = if host == 0 { "the network itself" } else { "the network's broadcast address" };
        return Err(format!("{address} is {what} in a network of /{prefix}; use one between"));
    }
    Ok((address, prefix))
}

/// Reads the address of a host in a network of IPv6.
pub(super) fn ipv6(text: &str) -> Result<(Ipv6Addr, u8), String> {
    let (address, prefix) = with_prefix::<Ipv6Addr>(text, 64, 128)
        .ok_or("wanted an IPv6 address, with a prefix length from 1 to 128 or without, as in fd00::1/64")?;
    is_hosts(address.into())?;
    Ok((address, prefix))
}

/// Reads the address of a name server.
pub(super) fn name_server(text: &str) -> Result<Ipv4Addr, String> {
    let address = text.parse().map_err(|_| "wanted an IPv4 address, as in 172.30.0.1".to_owned())?;
    is_hosts(IpAddr::V4(address))?;
    Ok(address)
}

/// Refuses what no host can have.
fn is_hosts(address: IpAddr) -> Result<(), String> {
    if is_host_address(address) {
        Ok(())
    } else {
        Err(format!("{address} is no address that a host can have"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_a_host_can_have() {
        for (text, wanted) in [
            ("172.30.0.1", (Ipv4Addr::new(172, 30, 0, 1), 24)),
            ("10.0.0.1/8", (Ipv4Addr::new(10, 0, 0, 1), 8)),
            ("10.0.0.0/31", (Ipv4Addr::new(10, 0, 0, 0), 31)),
            ("10.0.0.0/32", (Ipv4Addr::new(10, 0, 0, 0), 32)),
        ] {
            assert_eq!(ipv4(text), Ok(wanted), "{text}");
        }
        for text in [
            "",
            "10.0.0.1/",
            "10.0.0.1/0",
            "10.0.0.1/33",
            "10.0.0.1/+8",
            "10.0.0.0/24",
            "10.0.0.255",
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255/32",
            "fd00::1",
        ] {
            assert!(ipv4(text).is_err(), "{text}");
        }
        assert_eq!(ipv6("fd00::1"), Ok((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), 64)));
        for text in ["fd00::1/0", "fd00::1/129", "::", "::1", "ff02::1", "10.0.0.1", "::ffff:10.0.0.1"] {
            assert!(ipv6(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_server_is_a_host() {
        assert_eq!(name_server("9.9.9.9"), Ok(Ipv4Addr::new(9, 9, 9, 9)));
        for text in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::1", ""] {
            assert!(name_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_groups_mac_address_and_zero_are_refused() {
        assert!(mac_address("90:90:90:90:90:90").is_ok());
        for text in ["91:90:90:90:90:90", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "90:90:90:90:90", "x"] {
            assert!(mac_address(text).is_err(), "{text}");
        }
    }
}
