//! Segmentation offload: what the kernel says of a segment may be wrong in any way, and what was
//! joined comes apart again as it was.
//!
//! Input: a byte that is even for splitting, odd for joining. For splitting: room for packets (u8)
//! and in KiB (u8), the virtio-net header (10 bytes), the segment. For joining: packets, each a
//! byte of bits (see [`read_packets`]), its length (u16, big-endian) and its bytes.
#![no_main]

use hypertap_fuzz::{Input, TCP, seal, transport, transport_checksum, transport_sum};
use hypertap_wire::batch::Batch;
use hypertap_wire::offload::{GsoType, Head, VirtioHeader, coalesce, split};
use hypertap_wire::packet::{DropCause, MAX_PACKET, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    if input.u8() & 1 == 0 { check_split(input) } else { check_joining(input) }
});

fn check_split(mut input: Input) {
    let (packets, bytes) = (usize::from(input.u8()), usize::from(input.u8()) << 10);
    let Ok(header) = <[u8; VirtioHeader::LEN]>::try_from(input.take(VirtioHeader::LEN)) else { return };
    let header = VirtioHeader::parse(&header);
    let segment = input.0;
    // Something is in the batch already, and stays as it is.
    let mut batch = Batch::with_prefix(bytes + 16, packets + 1, 2);
    assert!(batch.push(b"before"));
    let used = batch.used();

    let result = split(&header, segment, &mut batch);
    assert_eq!(batch.get(0), Some(&b"before"[..]));
    let Ok(count) = result else {
        assert_eq!(result, Err(DropCause::BadOffload));
        assert_eq!((batch.len(), batch.used()), (1, used), "all or none");
        return;
    };
    assert_eq!(batch.len(), 1 + count);
    match header.gso().expect("an unknown type is refused") {
        GsoType::None => assert_eq!(batch.get(1).map(<[u8]>::len), Some(segment.len())),
        gso => check_pieces(&header, gso, segment, &batch),
    }
}

/// Each packet is whole in itself, and together they carry the segment's payload.
fn check_pieces(header: &VirtioHeader, gso: GsoType, segment: &[u8], batch: &Batch) {
    let start = usize::from(header.csum_start);
    let payload_at = start + if gso == GsoType::Udp { 8 } else { usize::from(segment[start + 12] >> 4) * 4 };
    let mut joined: Vec<u8> = Vec::new();
    for (index, packet) in batch.iter().skip(1).enumerate() {
        let is_last = index + 2 == batch.len();
        let payload = packet.len() - payload_at;
        assert!(
            payload == usize::from(header.gso_size)
                || (is_last && (1..=usize::from(header.gso_size)).contains(&payload))
        );
        joined.extend(&packet[payload_at..]);
        let wanted = if packet.len() > MAX_PACKET { Err(DropCause::TooLong) } else { Ok(()) };
        assert_eq!(validate(packet, MAX_PACKET), wanted);
    }
    assert_eq!(joined, &segment[payload_at..]);
}

fn check_joining(input: Input) {
    let packets = read_packets(input);
    let mut batch = Batch::new(packets.iter().map(Vec::len).sum(), packets.len());
    for packet in &packets {
        assert!(batch.push(packet), "the batch is large enough");
    }
    for udp in [false, true] {
        let (mut at, mut head) = (0, Head::default());
        while at < packets.len() {
            let count = coalesce(&batch, at..packets.len(), udp, &mut head);
            assert!((1..=64.min(packets.len() - at)).contains(&count));
            check_write(&head, &packets[at..at + count], udp);
            at += count;
        }
    }
}

/// Cut the way the kernel would, a write gives the packets that it was made of.
fn check_write(head: &Head, packets: &[Vec<u8>], udp: bool) {
    let (header, shared) = head.bytes().split_first_chunk().expect("a write begins with a header");
    let header = VirtioHeader::parse(header);
    if packets.len() == 1 {
        assert_eq!((header, shared.len(), head.skip()), (VirtioHeader::default(), 0, 0));
        return;
    }
    let mut segment = shared.to_vec();
    for packet in packets {
        segment.extend(&packet[head.skip()..]);
    }
    let mut cut = Batch::new(1 << 17, 64);
    assert_eq!(split(&header, &segment, &mut cut), Ok(packets.len()));
    for (packet, cut) in packets.iter().zip(cut.iter()) {
        assert_eq!(transport_sum(packet), Some(0xffff), "a broken packet was joined");
        assert_eq!(transport_sum(cut), Some(0xffff), "a packet broke");
        assert_eq!(validate(cut, MAX_PACKET), Ok(()));
        assert!(udp || transport(packet).is_some_and(|(_, protocol)| protocol == TCP), "UDP was joined");
        assert_eq!(without_equals(cut, packet), without_equals(packet, packet));
    }
}

/// The packet with what has two forms of one meaning blanked: checksums, which were looked at
/// already (0 is 0xffff), and the identification that means nothing (RFC 6864: `original` has
/// zero and "don't fragment").
fn without_equals(packet: &[u8], original: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if let Some(at) = transport_checksum(&packet) {
        packet[at..at + 2].fill(0);
    }
    if original[0] >> 4 == 4 {
        packet[10..12].fill(0);
        if original[4..6] == [0, 0] && original[6] & 0x40 != 0 {
            packet[4..6].fill(0);
        }
    }
    packet
}

/// Packets that pass `validate`, as `coalesce` may ask for. Bits: 1 makes lengths and checksums
/// right; 2 puts the bytes, as payload, behind the headers of the packet before, counted on; 4 and
/// 8 set PSH and FIN of such a packet.
fn read_packets(mut input: Input) -> Vec<Vec<u8>> {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    while !input.is_empty() && packets.len() < 200 {
        let (bits, len) = (input.u8(), input.u16());
        let bytes = input.take(usize::from(len));
        let next = packets.last().filter(|_| bits & 2 != 0).and_then(|last| next_of_flow(last, bytes, bits));
        let mut packet = next.unwrap_or_else(|| bytes.to_vec());
        if bits & 1 != 0 {
            seal(&mut packet);
        }
        if validate(&packet, MAX_PACKET).is_ok() {
            packets.push(packet);
        }
    }
    packets
}

fn next_of_flow(last: &[u8], payload: &[u8], bits: u8) -> Option<Vec<u8>> {
    let (at, protocol) = transport(last)?;
    let is_tcp = protocol == TCP;
    let header_len = if is_tcp { usize::from(last.get(at + 12)? >> 4) * 4 } else { 8 };
    let mut packet = last.get(..at + header_len)?.to_vec();
    if packet[0] >> 4 == 4 {
        let id = u16::from_be_bytes([packet[4], packet[5]]);
        packet[4..6].copy_from_slice(&id.wrapping_add(1).to_be_bytes());
    }
    if is_tcp && header_len >= 20 {
        let sequence = u32::from_be_bytes(packet[at + 4..at + 8].try_into().ok()?);
        let sent = u32::try_from(last.len() - packet.len()).ok()?;
        packet[at + 4..at + 8].copy_from_slice(&sequence.wrapping_add(sent).to_be_bytes());
        packet[at + 13] |= if bits & 4 != 0 { 8 } else { 0 } | if bits & 8 != 0 { 1 } else { 0 };
    }
    packet.extend(payload);
    Some(packet)
}
