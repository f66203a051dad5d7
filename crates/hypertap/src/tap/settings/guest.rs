//! What a modem's guest is given.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;

use hypertap_engine::modem::{Credentials, ModemSettings};
use ipnet::Ipv4Net;

use super::identity::guest_mac_address;
use super::usage;
use crate::cli::tap::TapArgs;
use crate::exit::Failure;

/// The settings of a server whose clients are modems.
///
/// # Errors
/// The first option that is wrong.
pub(super) fn modem(args: &TapArgs) -> Result<ModemSettings, Failure> {
    let (host, prefix) = args.ip_address;
    if args.max_clients > 1 {
        return Err(usage(
            "--max-clients: one modem guest is all that a server has addresses for; start another",
        ));
    }
    if prefix > 30 {
        return Err(usage(format!(
            "--ip-address {host}/{prefix}: a modem's guest needs an address beside it; use /30 or less"
        )));
    }
    let mask = u32::MAX << (32 - prefix);
    let guest = match args.guest_address {
        None => next_host(host, prefix),
        Some(guest) => guest,
    };
    let is_end = guest.to_bits() & !mask == 0 || guest.to_bits() & !mask == !mask;
    if guest == host || guest.to_bits() & mask != host.to_bits() & mask || is_end {
        return Err(usage(format!(
            "--guest-address {guest}: wanted an address of the network of {host}/{prefix}, other than the host's"
        )));
    }
    if args.dns.len() > 2 {
        return Err(usage("--dns: a modem's guest can be told two name servers, no more"));
    }
    // The hasher's keys are random.
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    let credentials = args.pap.as_deref().map(credentials).transpose()?;
    Ok(ModemSettings {
        mac: guest_mac_address(args),
        address: Ipv4Net::new(guest, prefix).map_err(anyhow::Error::from)?,
        host,
        dns: if args.dns.is_empty() { vec![host] } else { args.dns.clone() },
        credentials,
        magic: u32::from_ne_bytes([a, b, c, d]),
    })
}

/// The host address after this one in its network, of at least four addresses; after the last, the first.
fn next_host(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let hosts = u32::MAX >> prefix;
    let (network, host) = (address.to_bits() & !hosts, address.to_bits() & hosts);
    let next = if host + 1 >= hosts { 1 } else { host + 1 };
    Ipv4Addr::from_bits(network | next)
}

/// The longest name or password that PAP carries (RFC 1334, 2.2.1: a length of one byte).
const LONGEST_CREDENTIAL: usize = 255;

/// A name, and the password that is the first line of a file.
fn credentials(text: &str) -> Result<Credentials, Failure> {
    let wanted =
        || usage("--pap: wanted a name and a file that has the password, as in guest:/etc/guest.pap");
    let (name, file) = text.split_once(':').ok_or_else(wanted)?;
    if name.is_empty() || file.is_empty() || name.len() > LONGEST_CREDENTIAL {
        return Err(wanted());
    }
    let mut line = String::new();
    let opened = fs::File::open(file)
        .and_then(|opened| BufReader::new(opened.take(LONGEST_CREDENTIAL as u64 + 3)).read_line(&mut line));
    opened.map_err(|error| usage(format!("--pap: cannot read the password in {file}: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.len() > LONGEST_CREDENTIAL {
        return Err(usage(format!("--pap: the first line of {file} is no password of 1 to 255 bytes")));
    }
    Ok(Credentials { name: name.into(), password: password.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn the_guest_has_the_next_address_that_is_a_hosts() {
        for (host, prefix, guest) in [
            ("172.30.0.1", 24, "172.30.0.2"),
            ("172.30.0.254", 24, "172.30.0.1"),
            ("10.0.0.5", 30, "10.0.0.6"),
            ("10.0.0.6", 30, "10.0.0.5"),
            ("10.255.255.254", 8, "10.0.0.1"),
        ] {
            let next = next_host(host.parse().expect("good"), prefix);
            assert_eq!(next.to_string(), guest, "{host}/{prefix}");
        }
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).expect("ours");
            format!("guest:{}", path.display())
        };
        let good = credentials(&file("good", "secret: x\r\nmore\n")).expect("good");
        assert_eq!((&good.name[..], &good.password[..]), (&b"guest"[..], &b"secret: x"[..]));
        for wrong in [file("empty", ""), file("long", &"x".repeat(256)), "guest".to_owned(), ":/x".to_owned()]
        {
            assert_eq!(credentials(&wrong).expect_err("wrong").exit, Exit::Usage, "{wrong}");
        }
    }
}
