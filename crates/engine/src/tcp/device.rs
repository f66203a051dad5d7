//! smoltcp's device: two slices of memory.

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::segment::IPV6_HEADER;

/// The longest packet that smoltcp may see or make, in bytes: a full IPv6 payload and its header.
/// Longer ones do not exist, so its own MTU never decides.
pub(super) const MAX_FRAME: usize = 65_535 + IPV6_HEADER;

/// A device that receives one slice and transmits into another.
pub(super) struct Slices<'a> {
    packet: Option<&'a [u8]>,
    room: &'a mut [u8],
    /// The length of the packet that was made in the room.
    pub made: Option<usize>,
    offload: bool,
}

impl<'a> Slices<'a> {
    /// A device that has a packet, or none, and room for another.
    pub fn new(packet: Option<&'a [u8]>, room: &'a mut [u8], offload: bool) -> Self {
        Self { packet, room, made: None, offload }
    }
}

pub(super) struct Given<'a>(&'a [u8]);

pub(super) struct Room<'a> {
    room: &'a mut [u8],
    made: &'a mut Option<usize>,
}

impl Device for Slices<'_> {
    type RxToken<'t>
        = Given<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Room<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Given<'_>, Room<'_>)> {
        let packet = self.packet.take()?;
        Some((Given(packet), Room { room: self.room, made: &mut self.made }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        Some(Room { room: self.room, made: &mut self.made })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MAX_FRAME;
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::None;
        if self.offload {
            let most = std::num::NonZeroUsize::new(usize::from(u16::MAX));
            capabilities.segmentation.tcpv4 = most;
            capabilities.segmentation.tcpv6 = most;
        }
        capabilities
    }
}

impl RxToken for Given<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        if let Some(room) = self.room.get_mut(..len) {
            *self.made = Some(len);
            f(room)
        } else {
            // Callers give room enough. Were it not so, this is a lost packet.
            f(&mut vec![0; len])
        }
    }
}
