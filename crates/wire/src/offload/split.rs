//! A segment from the kernel, cut into packets.

use super::{
    CWR, FIN, GsoType, Layer, PSH, TCP_CHECKSUM, TCP_FLAGS, TCP_HEADER, UDP_CHECKSUM, UDP_HEADER,
    VirtioHeader,
};
use crate::batch::Batch;
use crate::checksum::Sum;
use crate::packet::{DropCause, IPV4_HEADER, IPV6_HEADER};

/// Appends to `batch` the packets of one segment that the kernel gave with `header`: all or none.
/// Each has its own lengths, IPv4 identification, sequence number, flags and checksums.
/// Returns how many they are.
///
/// # Errors
/// [`DropCause::BadOffload`] when the header does not describe the segment, or the batch has no
/// room for all of it.
pub fn split(
    layer: Layer,
    header: &VirtioHeader,
    segment: &[u8],
    batch: &mut Batch,
) -> Result<usize, DropCause> {
    match header.gso() {
        Some(GsoType::None) => {
            let room = batch.room().get_mut(..segment.len()).ok_or(DropCause::BadOffload)?;
            room.copy_from_slice(segment);
            finish(header, room)?;
            if batch.commit(segment.len()) { Ok(1) } else { Err(DropCause::BadOffload) }
        }
        Some(gso) => Layout::of(layer, header, gso, segment)
            .and_then(|layout| layout.cut(segment, batch))
            .ok_or(DropCause::BadOffload),
        None => Err(DropCause::BadOffload),
    }
}

/// Makes the checksum that the kernel left open in a packet that is not to be cut.
///
/// # Errors
/// [`DropCause::BadOffload`] when its place is outside the packet.
pub fn finish(header: &VirtioHeader, packet: &mut [u8]) -> Result<(), DropCause> {
    if !header.needs_checksum() {
        return Ok(());
    }
    let covered = packet.get_mut(usize::from(header.csum_start)..).ok_or(DropCause::BadOffload)?;
    let checksum = Sum::ZERO.add(covered).checksum_not_zero();
    let at = usize::from(header.csum_offset);
    covered
        .get_mut(at..)
        .and_then(<[u8]>::first_chunk_mut::<2>)
        .map(|field| *field = checksum)
        .ok_or(DropCause::BadOffload)
}

/// Where things are in a segment.
struct Layout {
    /// Where the network header begins, in bytes; all below count from there.
    network: usize,
    is_v4: bool,
    is_tcp: bool,
    /// Where the transport header begins, in bytes.
    transport: usize,
    /// Where the payload begins, in bytes.
    payload: usize,
    /// Payload of each packet but the last, in bytes.
    size: usize,
    /// The pseudo-header's sum without its length field.
    pseudo: Sum,
}

impl Layout {
    fn of(layer: Layer, header: &VirtioHeader, gso: GsoType, segment: &[u8]) -> Option<Self> {
        let (link, segment) = layer.open(segment)?;
        let is_v4 = segment.first()? >> 4 == 4;
        let is_tcp = gso != GsoType::Udp;
        let transport = usize::from(header.csum_start).checked_sub(link.len())?;
        let network = if is_v4 { usize::from(segment[0] & 0x0f) * 4 } else { IPV6_HEADER };
        let version_fits = match gso {
            GsoType::TcpV4 => is_v4,
            GsoType::TcpV6 => segment[0] >> 4 == 6,
            GsoType::Udp => is_v4 || segment[0] >> 4 == 6,
            GsoType::None => false,
        };
        // IPv6 extension headers may lie between the network and the transport header.
        let starts_right =
            if is_v4 { network >= IPV4_HEADER && transport == network } else { transport >= network };
        let checksum = if is_tcp { TCP_CHECKSUM } else { UDP_CHECKSUM };
        let described = header.needs_checksum() && usize::from(header.csum_offset) == checksum;
        let transport_len =
            if is_tcp { usize::from(segment.get(transport + 12)? >> 4) * 4 } else { UDP_HEADER };
        let payload = transport + transport_len;
        let long_enough =
            transport_len >= if is_tcp { TCP_HEADER } else { UDP_HEADER } && segment.len() > payload;
        let size = usize::from(header.gso_size);
        if !(version_fits && starts_right && described && long_enough && size > 0) {
            return None;
        }
        // The field holds the sum of the pseudo-header with the whole segment's length in it.
        let whole = u16::try_from(segment.len() - transport).ok()?;
        let at = transport + checksum;
        let pseudo = Sum::ZERO.add(segment.get(at..at + 2)?).remove_u16(whole);
        Some(Self { network: link.len(), is_v4, is_tcp, transport, payload, size, pseudo })
    }

    fn cut(&self, segment: &[u8], batch: &mut Batch) -> Option<usize> {
        let (headers, payload) = segment.split_at_checked(self.network + self.payload)?;
        let count = payload.len().div_ceil(self.size);
        let bytes = payload.len() + count * (headers.len() + batch.prefix());
        if count > batch.packets_left() || bytes > batch.left() {
            return None;
        }
        for (index, piece) in payload.chunks(self.size).enumerate() {
            let packet = batch.append(headers.len() + piece.len())?;
            let (head, body) = packet.split_at_mut(headers.len());
            head.copy_from_slice(headers);
            body.copy_from_slice(piece);
            self.rewrite(packet.get_mut(self.network..)?, index, index + 1 == count)?;
        }
        Some(count)
    }

    /// Makes the headers of the packet at `index`, which are the segment's still, its own.
    fn rewrite(&self, packet: &mut [u8], index: usize, is_last: bool) -> Option<()> {
        let (network, transport) = packet.split_at_mut_checked(self.transport)?;
        let transport_len = u16::try_from(transport.len()).ok()?;
        let total = u16::try_from(network.len() + transport.len()).ok()?;
        if self.is_v4 {
            let fixed = network.first_chunk_mut::<IPV4_HEADER>()?;
            let id = u16::from_be_bytes([fixed[4], fixed[5]]).wrapping_add(u16::try_from(index).ok()?);
            fixed[2..4].copy_from_slice(&total.to_be_bytes());
            fixed[4..6].copy_from_slice(&id.to_be_bytes());
            fixed[10..12].fill(0);
            let checksum = Sum::ZERO.add(network).checksum();
            network.get_mut(10..12)?.copy_from_slice(&checksum);
        } else {
            let payload_len = u16::try_from(usize::from(total).checked_sub(IPV6_HEADER)?).ok()?;
            network.get_mut(4..6)?.copy_from_slice(&payload_len.to_be_bytes());
        }
        let checksum_at = if self.is_tcp {
            let header = transport.first_chunk_mut::<TCP_HEADER>()?;
            let sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let sequence = sequence.wrapping_add(u32::try_from(index * self.size).ok()?);
            header[4..8].copy_from_slice(&sequence.to_be_bytes());
            if index > 0 {
                header[TCP_FLAGS] &= !CWR;
            }
            if !is_last {
                header[TCP_FLAGS] &= !(FIN | PSH);
            }
            TCP_CHECKSUM
        } else {
            transport.get_mut(4..6)?.copy_from_slice(&transport_len.to_be_bytes());
            UDP_CHECKSUM
        };
        transport.get_mut(checksum_at..checksum_at + 2)?.fill(0);
        let checksum = self.pseudo.add_u16(transport_len).add(transport).checksum_not_zero();
        transport.get_mut(checksum_at..checksum_at + 2)?.copy_from_slice(&checksum);
        Some(())
    }
}
