//! Why something did not go on, and how often.

/// Why a frame or packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ModemDrop {
    /// From the guest: a frame that was cut, given up, or has a wrong check sequence.
    DamagedFrame,
    /// From the guest: a frame longer than it may send.
    OverlongFrame,
    /// From the guest: a frame without a packet of any protocol.
    MalformedFrame,
    /// From the guest: a packet that the link is not ready for.
    OutOfPhase,
    /// From the guest or for it: not a whole IPv4 packet with a right header checksum.
    BadPacket,
    /// From the guest: a source address that is not its own.
    ForeignSource,
    /// From the guest: a destination that no other station has.
    NoDestination,
    /// From the guest: nobody answers for the destination, or for the gateway to it.
    Unresolved,
    /// From the guest: too much waits for answers already.
    TooManyUnresolved,
    /// From the guest: too many frames wait for the LAN.
    LanFull,
    /// For the guest: neither IPv4 nor ARP.
    OtherProtocol,
    /// For the guest: to another station or address.
    NotForGuest,
    /// For the guest: it has no link.
    NoLink,
    /// For the guest: longer than it takes.
    TooLong,
    /// For the guest: too much waits for it already.
    GuestFull,
}

impl ModemDrop {
    /// Every cause, in the order of its number.
    pub const ALL: [Self; 15] = [
        Self::DamagedFrame,
        Self::OverlongFrame,
        Self::MalformedFrame,
        Self::OutOfPhase,
        Self::BadPacket,
        Self::ForeignSource,
        Self::NoDestination,
        Self::Unresolved,
        Self::TooManyUnresolved,
        Self::LanFull,
        Self::OtherProtocol,
        Self::NotForGuest,
        Self::NoLink,
        Self::TooLong,
        Self::GuestFull,
    ];
}

/// How much was dropped, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModemDrops([u64; ModemDrop::ALL.len()]);

impl ModemDrops {
    /// How much was dropped for `cause`.
    pub fn of(&self, cause: ModemDrop) -> u64 {
        self.0[cause as usize]
    }

    pub(super) fn count(&mut self, cause: ModemDrop, many: u64) {
        self.0[cause as usize] += many;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_numbered_as_listed() {
        for (number, cause) in ModemDrop::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, number, "{cause:?}");
        }
    }
}
