//! What a frame carries.

use std::fmt;

/// The field after the addresses (IEEE 802.3, 3.2.6): from 0x0600 a protocol, up to
/// [`Self::MAX_LENGTH`] the payload's length. Shown as `0x0800`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// The largest value that is a length in bytes; those between it and 0x0600 mean nothing.
    pub const MAX_LENGTH: Self = Self(1500);

    /// IPv4 (RFC 894).
    pub const IPV4: Self = Self(0x0800);
    /// ARP (RFC 826).
    pub const ARP: Self = Self(0x0806);
    /// RARP (RFC 903).
    pub const RARP: Self = Self(0x8035);
    /// `AppleTalk`'s datagrams, of `EtherTalk` phase 1.
    pub const APPLETALK: Self = Self(0x809b);
    /// `AppleTalk`'s address resolution.
    pub const AARP: Self = Self(0x80f3);
    /// A customer's VLAN tag (IEEE 802.1Q).
    pub const VLAN: Self = Self(0x8100);
    /// Novell IPX.
    pub const IPX: Self = Self(0x8137);
    /// IPv6 (RFC 2464).
    pub const IPV6: Self = Self(0x86dd);
    /// MPLS (RFC 3032).
    pub const MPLS: Self = Self(0x8847);
    /// MPLS with a label that upstream assigned (RFC 5332).
    pub const MPLS_UPSTREAM: Self = Self(0x8848);
    /// `PPPoE`, discovery (RFC 2516).
    pub const PPPOE_DISCOVERY: Self = Self(0x8863);
    /// `PPPoE`, session (RFC 2516).
    pub const PPPOE_SESSION: Self = Self(0x8864);
    /// EAP over LANs (IEEE 802.1X).
    pub const EAPOL: Self = Self(0x888e);
    /// A provider's VLAN tag (IEEE 802.1ad).
    pub const SERVICE_VLAN: Self = Self(0x88a8);
    /// LLDP (IEEE 802.1AB).
    pub const LLDP: Self = Self(0x88cc);
    /// The configuration testing protocol, which sends frames back (Ethernet 2.0, 8).
    pub const LOOPBACK: Self = Self(0x9000);

    /// Whether a VLAN tag begins with it, so that the type proper comes later.
    pub fn is_tag(self) -> bool {
        matches!(self, Self::VLAN | Self::SERVICE_VLAN)
    }

    /// Whether it names a protocol, known here or not.
    pub fn is_protocol(self) -> bool {
        self.0 >= 0x0600
    }

    /// The payload's length in bytes, of an 802.3 frame that has one in place of a type.
    pub fn length(self) -> Option<usize> {
        (self <= Self::MAX_LENGTH).then_some(usize::from(self.0))
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_shown_with_four_digits() {
        assert_eq!(EtherType::IPV4.to_string(), "0x0800");
        assert_eq!(EtherType(0xabcd).to_string(), "0xabcd");
    }

    #[test]
    fn lengths_end_at_1500() {
        assert_eq!(EtherType(1500).length(), Some(1500));
        assert_eq!(EtherType(1501).length(), None);
        assert!(!EtherType(1535).is_protocol() && EtherType(1536).is_protocol());
    }
}
