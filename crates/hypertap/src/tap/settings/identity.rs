//! Addresses of stations that nobody chose: the same the next time, and no other server's.

use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStringExt;

use hypertap_wire::ethernet::MacAddress;
use nix::unistd::gethostname;

use crate::cli::tap::TapArgs;

/// An address that this server alone has, and has again the next time: made of where it listens and of the
/// machine's own number, as servers of several machines may be in one LAN.
pub(super) fn own_mac_address(args: &TapArgs) -> MacAddress {
    mac_address_of(&own_text(args))
}

/// The same for a modem's guest.
pub(super) fn guest_mac_address(args: &TapArgs) -> MacAddress {
    let mut text = own_text(args);
    text.extend(b"\0guest");
    mac_address_of(&text)
}

fn own_text(args: &TapArgs) -> Vec<u8> {
    let mut text = machine(fs::read("/etc/machine-id").ok(), gethostname().ok());
    match args.listen.first() {
        Some(listen) => text.extend(listen.place.to_string().bytes()),
        // Whoever passes a socket may do so often.
        None if args.command.is_empty() => text.extend(std::process::id().to_be_bytes()),
        None => text.extend(args.command.iter().flat_map(|word| word.as_encoded_bytes())),
    }
    text
}

/// What tells this machine from others: its number (machine-id(5)), else its name, else a number that it has for now.
fn machine(id: Option<Vec<u8>>, name: Option<OsString>) -> Vec<u8> {
    let id = id.map(|id| id.trim_ascii().to_vec());
    // As an image has it that was never started; and names that any machine may have.
    let id = id.filter(|id| !id.is_empty() && id != b"uninitialized");
    let name = name.map(OsString::into_vec);
    let name =
        name.filter(|name| !matches!(&name[..], b"" | b"(none)" | b"localhost" | b"localhost.localdomain"));
    id.or(name).unwrap_or_else(|| RandomState::new().hash_one(()).to_ne_bytes().to_vec())
}

/// A locally administered unicast address of a text's hash (FNV-1a, which stays the same for ever).
fn mac_address_of(text: &[u8]) -> MacAddress {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let [_, _, bytes @ ..] = hash.to_be_bytes();
    let mut mac = MacAddress(bytes);
    mac.0[0] = mac.0[0] & 0xfc | 2;
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_mac_address_is_the_same_again_and_another_elsewhere() {
        let of = |text: &str| mac_address_of(text.as_bytes());
        assert_eq!(of("/tmp/dolphin-tap"), of("/tmp/dolphin-tap"));
        assert_ne!(of("/tmp/dolphin-tap"), of("/tmp/dolphin-tap2"));
        for text in ["", "/a", "/b", "/tmp/dolphin-tap", "127.0.0.1:5600"] {
            let mac = of(text);
            assert!(mac.is_locally_administered() && !mac.is_multicast(), "{text}: {mac}");
        }
    }

    #[test]
    fn a_machine_without_a_number_is_told_by_its_name_and_one_without_a_name_by_chance() {
        let of = |id: &str, name: &str| machine(Some(id.into()), Some(name.into()));
        assert_eq!(of("0123abcd\n", "one"), b"0123abcd");
        assert_eq!(of("\n", "one"), b"one");
        assert_eq!(of("uninitialized\n", "one"), b"one");
        assert_eq!(machine(None, Some("one".into())), b"one");
        for name in ["", "localhost", "(none)"] {
            assert_ne!(of("", name), of("", name), "{name}");
        }
        assert_ne!(machine(None, None), machine(None, None));
    }
}
