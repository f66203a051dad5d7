//! Addresses of stations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A station's address, or a group's (IEEE 802, 8.2). As text, also in JSON: `90:90:90:90:90:90`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No station.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether it is a group's; all stations are one.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it means all stations.
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether it means no station.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Whether it was made up on the spot rather than bought with the hardware.
    pub fn is_locally_administered(self) -> bool {
        self.0[0] & 2 != 0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

/// A text that is no MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address: six bytes in hexadecimal are wanted, as in 02:00:00:00:00:01")]
pub struct InvalidMacAddress;

impl FromStr for MacAddress {
    type Err = InvalidMacAddress;

    /// Six numbers of one or two hexadecimal digits with colons between, or with hyphens.
    fn from_str(text: &str) -> Result<Self, InvalidMacAddress> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().ok_or(InvalidMacAddress)?;
            if !(1..=2).contains(&part.len()) || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(InvalidMacAddress);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| InvalidMacAddress)?;
        }
        if parts.next().is_some() { Err(InvalidMacAddress) } else { Ok(Self(bytes)) }
    }
}

impl Serialize for MacAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_six_bytes_in_hexadecimal() {
        for (text, wanted) in [
            ("90:90:90:90:90:90", Some([0x90; 6])),
            ("00:1B:c0:Ff:ee:01", Some([0, 0x1b, 0xc0, 0xff, 0xee, 1])),
            ("2-0-0-0-0-a", Some([2, 0, 0, 0, 0, 10])),
            ("", None),
            ("90:90:90:90:90", None),
            ("90:90:90:90:90:90:90", None),
            ("90:90:90:90:90:", None),
            ("90:90:90-90:90:90", None),
            ("90:90:90:90:90:090", None),
            ("90:90:90:90:90:+9", None),
            ("90:90:90:90:90:9g", None),
            ("90:90:90:90:90:é", None),
        ] {
            assert_eq!(text.parse().ok(), wanted.map(MacAddress), "{text}");
        }
    }

    #[test]
    fn groups_and_nobody_are_told_from_stations() {
        let station: MacAddress = "02:00:00:00:00:01".parse().unwrap();
        assert!(!station.is_multicast() && !station.is_zero() && station.is_locally_administered());
        let group: MacAddress = "01:00:5e:00:00:fb".parse().unwrap();
        assert!(group.is_multicast() && !group.is_broadcast() && !group.is_locally_administered());
        assert!(MacAddress::BROADCAST.is_multicast() && MacAddress::BROADCAST.is_broadcast());
        assert!(MacAddress::ZERO.is_zero() && !MacAddress::ZERO.is_multicast());
    }

    proptest! {
        #[test]
        fn every_address_is_read_as_it_is_shown(bytes: [u8; 6]) {
            let address = MacAddress(bytes);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            let json = serde_json::to_string(&address).unwrap();
            prop_assert_eq!(serde_json::from_str::<MacAddress>(&json).unwrap(), address);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f:é-]{0,20}") {
            let _ = text.parse::<MacAddress>();
        }
    }
}
