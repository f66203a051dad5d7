//! What an interface is called, and the address that it has unless told.

use std::hash::{BuildHasher, RandomState};
use std::io;

use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::offload::Layer;
use nix::errno::Errno;

/// How many numbers a pattern may get.
const NUMBERS: u32 = 1000;
/// The longest name in bytes.
const LEN: usize = 15;

/// The name that a program asks for: itself, or the first that is not taken by a pattern (`tap%d`), which
/// is that of its kind where it asks for none.
///
/// # Errors
/// `EINVAL` for what cannot be a name; `ENFILE` when all of a pattern are taken.
pub fn resolve(wanted: &str, layer: Layer, is_taken: impl Fn(&str) -> bool) -> io::Result<String> {
    let wanted = match (wanted, layer) {
        ("", Layer::Link) => "tap%d",
        ("", Layer::Network) => "tun%d",
        _ => wanted,
    };
    let name = match wanted.split_once("%d") {
        None => wanted.to_owned(),
        Some((before, after)) => {
            let numbered = |number| format!("{before}{number}{after}");
            (0..NUMBERS).map(numbered).find(|name| !is_taken(name)).ok_or(Errno::ENFILE)?
        }
    };
    let is_name = name.len() <= LEN
        && ![".", ".."].contains(&name.as_str())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte));
    if is_name { Ok(name) } else { Err(Errno::EINVAL.into()) }
}

/// An address of nobody else's: 46 random bits.
pub fn made_up_address() -> MacAddress {
    let random = RandomState::new().hash_one("interface").to_ne_bytes();
    let mut address: [u8; 6] = std::array::from_fn(|at| random[at]);
    address[0] = address[0] & 0xfc | 0x02;
    MacAddress(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_becomes_the_first_name_that_is_free() {
        let taken = ["tap0", "tap1", "x0y"];
        let is_taken = |name: &str| taken.contains(&name);
        let resolved = |wanted, layer| resolve(wanted, layer, is_taken).ok();
        assert_eq!(resolved("tap%d", Layer::Link).as_deref(), Some("tap2"));
        assert_eq!(resolved("", Layer::Link).as_deref(), Some("tap2"));
        assert_eq!(resolved("", Layer::Network).as_deref(), Some("tun0"));
        assert_eq!(resolved("x%dy", Layer::Network).as_deref(), Some("x1y"));
        assert_eq!(resolved("tap0", Layer::Link).as_deref(), Some("tap0"), "for the caller to refuse");
        for wrong in ["a/b", "a b", "%s", "%d%d", "..", "sixteen-letters-"] {
            assert_eq!(resolved(wrong, Layer::Link), None, "{wrong}");
        }
    }

    #[test]
    fn a_made_up_address_is_one_station_s_own() {
        let (one, other) = (made_up_address(), made_up_address());
        assert!(one.is_locally_administered() && !one.is_multicast());
        assert_ne!(one, other);
    }
}
