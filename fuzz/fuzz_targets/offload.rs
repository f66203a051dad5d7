//! Segmentation offload: what the kernel says of a segment may be wrong in any way, and what was
//! joined comes apart again as it was.
//!
//! Input: a byte that is even for splitting, odd for joining; its bit 2 is for Ethernet frames instead of
//! packets of IP. For splitting: room for packets (u8) and in KiB (u8), the virtio-net header (10 bytes),
//! the segment. For joining: packets, each a byte of bits (see [`read_packets`]), its length (u16,
//! big-endian) and its bytes. Frames are made of such packets, behind the link header that bits choose;
//! bit 16 leaves out all that makes a packet whole, so that a frame is any bytes.
#![no_main]

use hypertap_fuzz::{Input, TCP, seal, transport, transport_checksum, transport_sum};
use hypertap_wire::batch::Batch;
use hypertap_wire::ethernet::header_len;
use hypertap_wire::offload::{GsoType, Head, Layer, VirtioHeader, coalesce, split};
use hypertap_wire::packet::{DropCause, MAX_PACKET, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let bits = input.u8();
    let layer = if bits & 2 == 0 { Layer::Network } else { Layer::Link };
    if bits & 1 == 0 { check_split(layer, input) } else { check_joining(layer, input) }
});

/// Where the packet of IP begins in what is whole.
fn network(layer: Layer, packet: &[u8]) -> usize {
    match layer {
        Layer::Network => 0,
        Layer::Link => header_len(packet).expect("its Ethernet header is whole"),
    }
}

fn check_split(layer: Layer, mut input: Input) {
    let (packets, bytes) = (usize::from(input.u8()), usize::from(input.u8()) << 10);
    let Ok(header) = <[u8; VirtioHeader::LEN]>::try_from(input.take(VirtioHeader::LEN)) else { return };
    let header = VirtioHeader::parse(&header);
    let segment = input.0;
    // Something is in the batch already, and stays as it is.
    let mut batch = Batch::with_prefix(bytes + 16, packets + 1, 2);
    assert!(batch.push(b"before"));
    let used = batch.used();

    let result = split(layer, &header, segment, &mut batch);
    assert_eq!(batch.get(0), Some(&b"before"[..]));
    let Ok(count) = result else {
        assert_eq!(result, Err(DropCause::BadOffload));
        assert_eq!((batch.len(), batch.used()), (1, used), "all or none");
        return;
    };
    assert_eq!(batch.len(), 1 + count);
    match header.gso().expect("an unknown type is refused") {
        GsoType::None => assert_eq!(batch.get(1).map(<[u8]>::len), Some(segment.len())),
        gso => check_pieces(layer, &header, gso, segment, &batch),
    }
}

/// Each packet is whole in itself, and together they carry the segment's payload.
fn check_pieces(layer: Layer, header: &VirtioHeader, gso: GsoType, segment: &[u8], batch: &Batch) {
    let network = network(layer, segment);
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
        assert_eq!(packet[..network], segment[..network]);
        let packet = &packet[network..];
        let wanted = if packet.len() > MAX_PACKET { Err(DropCause::TooLong) } else { Ok(()) };
        assert_eq!(validate(packet, MAX_PACKET), wanted);
    }
    assert_eq!(joined, &segment[payload_at..]);
}

fn check_joining(layer: Layer, input: Input) {
    let packets = read_packets(layer, input);
    let mut batch = Batch::new(packets.iter().map(Vec::len).sum(), packets.len());
    for packet in &packets {
        assert!(batch.push(packet), "the batch is large enough");
    }
    for udp in [false, true] {
        let (mut at, mut head) = (0, Head::default());
        while at < packets.len() {
            let count = coalesce(layer, &batch, at..packets.len(), udp, &mut head);
            assert!((1..=64.min(packets.len() - at)).contains(&count));
            check_write(layer, &head, &packets[at..at + count], udp);
            at += count;
        }
    }
}

/// Cut the way the kernel would, a write gives the packets that it was made of.
fn check_write(layer: Layer, head: &Head, packets: &[Vec<u8>], udp: bool) {
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
    assert_eq!(split(layer, &header, &segment, &mut cut), Ok(packets.len()));
    for (packet, cut) in packets.iter().zip(cut.iter()) {
        let network = network(layer, packet);
        assert_eq!(packet[..network], cut[..network]);
        let (packet, cut) = (&packet[network..], &cut[network..]);
        assert_eq!(validate(packet, MAX_PACKET), Ok(()), "a broken header was joined");
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

/// Packets that pass `validate`, as `coalesce` may ask for, or frames. Bits: 1 makes lengths and checksums
/// right; 2 puts the bytes, as payload, behind the headers of the packet before, counted on; 4 and
/// 8 set PSH and FIN of such a packet. Of frames: 16 takes the bytes as they are; the highest two are how
/// many VLAN tags there are, 32 the last one's number.
fn read_packets(layer: Layer, mut input: Input) -> Vec<Vec<u8>> {
    let (mut packets, mut previous): (Vec<Vec<u8>>, Option<Vec<u8>>) = (Vec::new(), None);
    while !input.is_empty() && packets.len() < 200 {
        let (bits, len) = (input.u8(), input.u16());
        let bytes = input.take(usize::from(len));
        if layer == Layer::Link && bits & 16 != 0 {
            packets.push(bytes.to_vec());
            continue;
        }
        let next =
            previous.as_ref().filter(|_| bits & 2 != 0).and_then(|last| next_of_flow(last, bytes, bits));
        let mut packet = next.unwrap_or_else(|| bytes.to_vec());
        if bits & 1 != 0 {
            seal(&mut packet);
        }
        let is_valid = validate(&packet, MAX_PACKET).is_ok();
        match layer {
            Layer::Network if is_valid => packets.push(packet.clone()),
            Layer::Network => {}
            Layer::Link => packets.push(framed(&packet, bits)),
        }
        if is_valid {
            previous = Some(packet);
        }
    }
    packets
}

/// The packet behind an Ethernet header.
fn framed(packet: &[u8], bits: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for _ in 0..bits >> 6 {
        frame.extend([0x81, 0, 0, bits & 32]);
    }
    let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    frame.extend(if is_v4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    frame.extend(packet);
    frame
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
