//! What lies before the IP header.

use crate::ethernet::{self, EtherType};

/// What a packet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The IP header, as in a TUN.
    Network,
    /// An Ethernet header, behind which there may be VLAN tags, as in a TAP.
    Link,
}

/// The longest link header before packets that are joined, in bytes: Ethernet's with the two tags of
/// IEEE 802.1ad.
pub(super) const MAX_LINK: usize = ethernet::HEADER + 2 * ethernet::TAG;

impl Layer {
    /// The header before that of IP, and the packet; nothing when IP does not follow.
    pub(super) fn open(self, packet: &[u8]) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Network => Some(packet.split_at(0)),
            Self::Link => open_frame(packet),
        }
    }
}

fn open_frame(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let (kind, packet) = ethernet::payload(frame)?;
    let version = match kind {
        EtherType::IPV4 => 4,
        EtherType::IPV6 => 6,
        _ => return None,
    };
    let (link, packet) = frame.split_at_checked(frame.len() - packet.len())?;
    (packet.first()? >> 4 == version).then_some((link, packet))
}
