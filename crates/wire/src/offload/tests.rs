use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::batch::Batch;
use crate::checksum::Sum;
use crate::packet::{DropCause, validate};

/// A packet in parts, from which [`Spec::build`] makes bytes with right checksums.
#[derive(Clone, Debug)]
struct Spec {
    is_v4: bool,
    is_tcp: bool,
    ports: (u16, u16),
    id: u16,
    sequence: u32,
    flags: u8,
    options: Vec<u8>,
    payload: Vec<u8>,
}

impl Spec {
    fn tcp(is_v4: bool, sequence: u32, payload: &[u8]) -> Self {
        let (ports, options, payload) = ((80, 40_000), vec![1; 12], payload.to_vec());
        Self { is_v4, is_tcp: true, ports, id: 7, sequence, flags: ACK, options, payload }
    }

    fn transport(&self) -> usize {
        if self.is_v4 { 20 } else { 40 }
    }

    fn build(&self) -> Vec<u8> {
        let mut transport = Vec::new();
        transport.extend(self.ports.0.to_be_bytes());
        transport.extend(self.ports.1.to_be_bytes());
        if self.is_tcp {
            transport.extend(self.sequence.to_be_bytes());
            transport.extend(99_u32.to_be_bytes());
            let words = u8::try_from(5 + self.options.len() / 4).unwrap();
            transport.extend([words << 4, self.flags, 1, 0, 0, 0, 0, 0]);
            transport.extend(&self.options);
        } else {
            transport.extend(u16::try_from(8 + self.payload.len()).unwrap().to_be_bytes());
            transport.extend([0, 0]);
        }
        transport.extend(&self.payload);
        let mut packet = self.network(transport.len());
        packet.extend(transport);
        seal(&mut packet);
        packet
    }

    fn network(&self, len: usize) -> Vec<u8> {
        let protocol = if self.is_tcp { TCP } else { UDP };
        let mut header;
        if self.is_v4 {
            header = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
            header[2..4].copy_from_slice(&u16::try_from(20 + len).unwrap().to_be_bytes());
            header[4..6].copy_from_slice(&self.id.to_be_bytes());
            header.extend(Ipv4Addr::new(10, 0, 0, 1).octets());
            header.extend(Ipv4Addr::new(10, 0, 0, 2).octets());
        } else {
            header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
            header[4..6].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            header.extend(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).octets());
            header.extend(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).octets());
        }
        header
    }
}

/// Makes both checksums right.
fn seal(packet: &mut [u8]) {
    let is_v4 = packet[0] >> 4 == 4;
    if is_v4 {
        packet[10..12].fill(0);
        let checksum = Sum::ZERO.add(&packet[..20]).checksum();
        packet[10..12].copy_from_slice(&checksum);
    }
    let (transport, at) = checksum_place(packet);
    packet[at..at + 2].fill(0);
    let checksum = transport_sum(packet, transport).checksum_not_zero();
    packet[at..at + 2].copy_from_slice(&checksum);
}

fn checksum_place(packet: &[u8]) -> (usize, usize) {
    let (transport, protocol) = if packet[0] >> 4 == 4 { (20, packet[9]) } else { (40, packet[6]) };
    (transport, transport + if protocol == TCP { TCP_CHECKSUM } else { UDP_CHECKSUM })
}

fn transport_sum(packet: &[u8], transport: usize) -> Sum {
    let (addresses, protocol) =
        if transport == 20 { (&packet[12..20], packet[9]) } else { (&packet[8..40], packet[6]) };
    let len = u16::try_from(packet.len() - transport).unwrap();
    Sum::ZERO.add(addresses).add_u16(u16::from(protocol)).add_u16(len).add(&packet[transport..])
}

fn is_right(packet: &[u8]) -> bool {
    validate(packet, 65_507).is_ok() && transport_sum(packet, checksum_place(packet).0).is_whole()
}

fn batch_of(packets: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::new(1 << 20, 4096);
    assert!(packets.iter().all(|packet| batch.push(packet)));
    batch
}

/// What each write would carry: the virtio-net header, the segment, and how many packets that is.
fn writes(packets: &[Vec<u8>]) -> Vec<(VirtioHeader, Vec<u8>, usize)> {
    writes_on(Layer::Network, packets)
}

fn writes_on(layer: Layer, packets: &[Vec<u8>]) -> Vec<(VirtioHeader, Vec<u8>, usize)> {
    let (batch, mut head, mut at, mut out) = (batch_of(packets), Head::default(), 0, Vec::new());
    while at < batch.len() {
        let count = coalesce(layer, &batch, at..batch.len(), true, &mut head);
        let (header, shared) = head.bytes().split_first_chunk().unwrap();
        let mut segment = shared.to_vec();
        for packet in batch.iter().skip(at).take(count) {
            segment.extend(&packet[head.skip()..]);
        }
        out.push((VirtioHeader::parse(header), segment, count));
        at += count;
    }
    out
}

fn split_all(writes: &[(VirtioHeader, Vec<u8>, usize)]) -> Vec<Vec<u8>> {
    split_all_on(Layer::Network, writes)
}

fn split_all_on(layer: Layer, writes: &[(VirtioHeader, Vec<u8>, usize)]) -> Vec<Vec<u8>> {
    let mut batch = Batch::new(1 << 21, 8192);
    for (header, segment, count) in writes {
        assert_eq!(split(layer, header, segment, &mut batch), Ok(*count));
    }
    batch.iter().map(<[u8]>::to_vec).collect()
}

fn counts(packets: &[Vec<u8>]) -> Vec<usize> {
    writes(packets).iter().map(|write| write.2).collect()
}

/// Consecutive packets of one flow, `size` bytes of payload each, the last with `rest`.
fn flow(is_v4: bool, is_tcp: bool, count: u16, size: u16, rest: u16) -> Vec<Spec> {
    (0..count)
        .map(|index| {
            let len = if index + 1 == count { rest } else { size };
            let sequence = u32::MAX.wrapping_sub(2000).wrapping_add(u32::from(index) * u32::from(size));
            let payload: Vec<u8> = (0..len).map(|at| (at ^ index).to_le_bytes()[0]).collect();
            let id = 65_530_u16.wrapping_add(index);
            Spec { is_tcp, id, ..Spec::tcp(is_v4, sequence, &payload) }
        })
        .collect()
}

fn built(specs: &[Spec]) -> Vec<Vec<u8>> {
    specs.iter().map(Spec::build).collect()
}

#[test]
fn a_row_of_one_flow_is_one_write_and_comes_back_as_it_was() {
    for (is_v4, is_tcp) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut specs = flow(is_v4, is_tcp, 20, 1400, 333);
        if is_tcp {
            specs[19].flags |= PSH | FIN;
        }
        let packets = built(&specs);
        let writes = writes(&packets);
        assert_eq!(writes.len(), 1, "v4 {is_v4}, tcp {is_tcp}");
        assert_eq!(writes[0].0.gso_size, 1400);
        assert_eq!(split_all(&writes), packets);
    }
}

#[test]
fn a_wrong_checksum_is_never_merged() {
    for is_tcp in [true, false] {
        for bad in 0..3 {
            let mut packets = built(&flow(true, is_tcp, 3, 100, 100));
            packets[bad][60] ^= 0x10;
            let writes = writes(&packets);
            assert_eq!(split_all(&writes), packets);
            let alone = writes.iter().find(|write| write.1 == packets[bad]).expect("written as it came");
            assert!(alone.2 == 1 && !alone.0.needs_checksum());
        }
    }
}

#[test]
fn errors_that_cancel_out_are_not_merged() {
    let mut packets = built(&flow(true, true, 2, 100, 100));
    packets[0][60] += 1;
    packets[1][60] -= 1;
    assert_eq!(counts(&packets), [1, 1]);
}

#[test]
fn what_opens_resets_or_is_urgent_stays_alone() {
    for flag in [0x02, 0x04, 0x20, CWR] {
        let mut specs = flow(false, true, 3, 100, 100);
        specs[1].flags |= flag;
        assert_eq!(counts(&built(&specs)), [1, 1, 1], "flag {flag:#x}");
    }
    let mut specs = flow(false, true, 3, 100, 100);
    for spec in &mut specs {
        spec.flags = PSH;
    }
    assert_eq!(counts(&built(&specs)), [1, 1, 1], "without ACK");
}

#[test]
fn nothing_follows_a_push_or_a_shorter_packet() {
    let mut specs = flow(true, true, 4, 100, 100);
    specs[1].flags |= PSH;
    assert_eq!(counts(&built(&specs)), [2, 2]);
    let mut specs = flow(true, true, 3, 100, 100);
    specs[1].payload.truncate(99);
    specs[2].sequence -= 1;
    assert_eq!(counts(&built(&specs)), [2, 1]);
    let mut specs = flow(true, true, 2, 100, 101);
    specs[1].flags |= PSH;
    assert_eq!(counts(&built(&specs)), [1, 1], "a longer one does not join");
}

#[test]
fn a_difference_in_any_header_ends_a_run() {
    for (is_v4, is_tcp) in [(true, true), (false, true), (true, false), (false, false)] {
        let packets = built(&flow(is_v4, is_tcp, 2, 100, 100));
        let transport = if is_v4 { 20 } else { 40 };
        let headers = transport + if is_tcp { 32 } else { 8 };
        let (_, checksum) = checksum_place(&packets[1]);
        for at in 0..headers {
            let lengths = if is_v4 { 2..4 } else { 4..6 };
            let udp_length = !is_tcp && (transport + 4..transport + 6).contains(&at);
            let sums = at == checksum || at == checksum + 1 || is_v4 && (at == 10 || at == 11);
            if at == 0 || lengths.contains(&at) || udp_length || sums || (is_tcp && at == transport + 12) {
                continue;
            }
            let mut packets = packets.clone();
            packets[1][at] ^= 1;
            seal(&mut packets[1]);
            let fin = is_tcp && at == transport + TCP_FLAGS;
            assert_eq!(counts(&packets).len(), 1 + usize::from(!fin), "v4 {is_v4}, tcp {is_tcp}, byte {at}");
        }
    }
}

#[test]
fn fragments_and_ip_options_stay_alone() {
    for fragment in [0x2000_u16, 0x0001, 0x8000] {
        let mut packets = built(&flow(true, true, 2, 100, 100));
        for packet in &mut packets {
            packet[6..8].copy_from_slice(&fragment.to_be_bytes());
            seal(packet);
        }
        assert_eq!(counts(&packets), [1, 1], "{fragment:#x}");
    }
}

#[test]
fn identifications_count_up_or_stay_zero_where_they_mean_nothing() {
    let ids = |ids: [u16; 3], dont_fragment: bool| {
        let mut specs = flow(true, true, 3, 100, 100);
        specs.iter_mut().zip(ids).for_each(|(spec, id)| spec.id = id);
        let mut packets = built(&specs);
        packets.iter_mut().filter(|_| !dont_fragment).for_each(|packet| {
            packet[6] = 0;
            seal(packet);
        });
        counts(&packets)
    };
    assert_eq!(ids([65_535, 0, 1], false), [3]);
    assert_eq!(ids([0, 0, 0], true), [3]);
    assert_eq!(ids([0, 0, 0], false), [1, 1, 1]);
    assert_eq!(ids([5, 5, 5], true), [1, 1, 1]);
    assert_eq!(ids([5, 6, 8], true), [2, 1]);
    assert_eq!(ids([0, 0, 1], true), [2, 1]);
    assert_eq!(ids([0, 0, 2], true), [2, 1]);
}

#[test]
fn udp_is_joined_only_where_the_kernel_takes_it_and_only_with_a_checksum() {
    let packets = built(&flow(true, false, 3, 100, 100));
    assert_eq!(coalesce(Layer::Network, &batch_of(&packets), 0..3, false, &mut Head::default()), 1);
    let mut without = packets.clone();
    for packet in &mut without {
        packet[26..28].fill(0);
    }
    assert_eq!(counts(&without), [1, 1, 1]);
}

#[test]
fn a_segment_stays_within_what_a_header_can_say() {
    let packets = built(&flow(true, true, 60, 1448, 1448));
    let writes = writes(&packets);
    assert!(writes.len() == 2 && writes.iter().all(|write| write.1.len() <= 65_535));
    assert_eq!(split_all(&writes), packets);
}

/// A segment as the kernel gives it: the pseudo-header's sum with its whole length in the field.
fn segment(spec: &Spec, gso: GsoType, gso_size: u16) -> (VirtioHeader, Vec<u8>) {
    let mut packet = spec.build();
    let (transport, at) = checksum_place(&packet);
    let len = packet.len() - transport;
    packet[at..at + 2].fill(0);
    let pseudo = transport_sum(&packet[..], transport).remove_u16(0);
    let data = Sum::ZERO.add(&packet[transport..]).folded();
    let pseudo = pseudo.remove_u16(u16::from_be_bytes(data)).folded();
    packet[at..at + 2].copy_from_slice(&pseudo);
    assert!(len < 65_536);
    let header = VirtioHeader {
        flags: NEEDS_CSUM,
        gso_type: gso as u8,
        hdr_len: 0,
        gso_size,
        csum_start: u16::try_from(transport).unwrap(),
        csum_offset: u16::try_from(at - transport).unwrap(),
    };
    (header, packet)
}

#[test]
fn only_the_last_packet_has_fin_and_push_and_only_the_first_cwr() {
    let spec = Spec { flags: ACK | FIN | PSH | CWR | ECE, ..Spec::tcp(true, 5, &[3; 3000]) };
    let (header, segment) = segment(&spec, GsoType::TcpV4, 1400);
    let mut batch = Batch::new(1 << 16, 64);
    assert_eq!(split(Layer::Network, &header, &segment, &mut batch), Ok(3));
    let flags: Vec<u8> = batch.iter().map(|packet| packet[33]).collect();
    assert_eq!(flags, [ACK | CWR | ECE, ACK | ECE, ACK | ECE | FIN | PSH]);
    assert!(batch.iter().all(is_right));
}

#[test]
fn a_checksum_left_open_is_made() {
    let spec = Spec::tcp(false, 5, &[3; 999]);
    let (header, segment) = segment(&spec, GsoType::None, 0);
    let mut batch = Batch::new(1 << 16, 64);
    assert_eq!(split(Layer::Network, &header, &segment, &mut batch), Ok(1));
    assert_eq!(batch.get(0), Some(&*spec.build()));
}

#[test]
fn a_segment_is_split_whole_or_not_at_all() {
    let (header, segment) = segment(&Spec::tcp(true, 5, &[3; 3000]), GsoType::TcpV4, 1000);
    for mut batch in [Batch::new(3000, 64), Batch::new(1 << 16, 2)] {
        assert_eq!(split(Layer::Network, &header, &segment, &mut batch), Err(DropCause::BadOffload));
        assert!(batch.is_empty() && batch.used() == 0);
    }
}

#[test]
fn a_header_that_does_not_describe_its_segment_is_refused() {
    let (right, segment) = segment(&Spec::tcp(true, 5, &[3; 3000]), GsoType::TcpV4, 1000);
    let wrong = [
        VirtioHeader { gso_size: 0, ..right },
        VirtioHeader { gso_type: GsoType::TcpV6 as u8, ..right },
        VirtioHeader { gso_type: GsoType::Udp as u8, ..right },
        VirtioHeader { gso_type: 3, ..right },
        VirtioHeader { flags: 0, ..right },
        VirtioHeader { csum_start: 24, ..right },
        VirtioHeader { csum_start: 65_535, ..right },
        VirtioHeader { csum_offset: 6, ..right },
        VirtioHeader { gso_type: 0, csum_offset: 65_535, ..right },
    ];
    for header in wrong {
        let mut batch = Batch::new(1 << 16, 64);
        assert_eq!(
            split(Layer::Network, &header, &segment, &mut batch),
            Err(DropCause::BadOffload),
            "{header:?}"
        );
        assert!(batch.is_empty());
    }
}

fn any_header() -> impl Strategy<Value = VirtioHeader> {
    (
        0..3_u8,
        prop_oneof![Just(0_u8), Just(1), Just(4), Just(5), any::<u8>()],
        0..200_u16,
        prop_oneof![Just(20_u16), Just(40), any::<u16>()],
        prop_oneof![Just(16_u16), Just(6), any::<u16>()],
    )
        .prop_map(|(flags, gso_type, gso_size, csum_start, csum_offset)| VirtioHeader {
            flags,
            gso_type,
            hdr_len: 0,
            gso_size,
            csum_start,
            csum_offset,
        })
}

fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let spec = (any::<bool>(), any::<bool>(), 0..3_u16, 0..3_u32, 0..6_u8, 0..4_usize);
    let built = spec.prop_map(|(is_v4, is_tcp, id, step, flags, len)| {
        let flags = [ACK, ACK | PSH, ACK | FIN, ACK | CWR, 2, ACK | ECE][usize::from(flags)];
        let payload = vec![9; [0, 50, 100, 100][len]];
        Spec { is_tcp, id, flags, ..Spec::tcp(is_v4, step * 100, &payload) }.build()
    });
    prop_oneof![4 => built, 1 => prop::collection::vec(any::<u8>(), 0..120)]
}

proptest! {
    #[test]
    fn splitting_what_was_merged_gives_the_packets_that_went_in(
        (is_v4, is_tcp) in any::<(bool, bool)>(), count in 1..100_u16, size in 1..1460_u16, rest in 1..1460_u16, push in 0..100_usize,
    ) {
        let mut specs = flow(is_v4, is_tcp, count, size, rest.min(size));
        if let (true, Some(spec)) = (is_tcp, specs.get_mut(push)) {
            spec.flags |= PSH;
        }
        let packets = built(&specs);
        let writes = writes(&packets);
        prop_assert!(writes.len() <= usize::from(count).div_ceil(40) + 2);
        prop_assert_eq!(split_all(&writes), packets);
    }

    #[test]
    fn any_mix_of_packets_goes_through_unchanged(packets in prop::collection::vec(any_packet(), 1..30)) {
        // Identifications may restart where they mean nothing; none of these do.
        let packets: Vec<_> = packets.into_iter().filter(|packet| validate(packet, 1500).is_ok()).collect();
        let fixed = packets.iter().filter(|packet| packet[0] == 0x45 && packet[4..6] == [0, 0]).count();
        let out = split_all(&writes(&packets));
        if fixed < 2 {
            prop_assert_eq!(&out, &packets);
        }
        prop_assert_eq!(out.len(), packets.len());
    }

    #[test]
    fn split_packets_are_valid_with_right_checksums(
        (is_v4, is_tcp) in any::<(bool, bool)>(), len in 1..60_000_usize, size in 40..9000_u16, flags: u8, id: u16,
    ) {
        let flags = flags & (FIN | PSH | CWR | ECE) | ACK;
        let payload: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        let spec = Spec { is_tcp, id, flags, ..Spec::tcp(is_v4, u32::MAX - 9, &payload) };
        let gso = match (is_tcp, is_v4) { (true, true) => GsoType::TcpV4, (true, false) => GsoType::TcpV6, _ => GsoType::Udp };
        let (header, segment) = segment(&spec, gso, size);
        let mut batch = Batch::new(1 << 19, 4096);
        prop_assert_eq!(split(Layer::Network, &header, &segment, &mut batch), Ok(len.div_ceil(usize::from(size))));
        prop_assert!(batch.iter().all(is_right));
        let start = spec.transport() + if is_tcp { 32 } else { 8 };
        let joined: Vec<u8> = batch.iter().flat_map(|packet| &packet[start..]).copied().collect();
        prop_assert_eq!(joined, payload);
    }

    #[test]
    fn any_header_on_any_bytes_splits_or_is_refused(header in any_header(), bytes in any_packet(), cut in 0..120_usize) {
        let mut batch = Batch::new(1 << 16, 512);
        let _ = split(Layer::Network, &header, &bytes[..bytes.len().min(cut)], &mut batch);
    }

    #[test]
    fn any_bytes_coalesce_without_panic(packets in prop::collection::vec(any_packet(), 1..20), cut in 0..150_usize, at in 0..140_usize, bit in 0..8_u8) {
        let packets: Vec<Vec<u8>> = packets.into_iter().map(|mut packet| {
            packet.truncate(cut);
            if let Some(byte) = packet.get_mut(at) { *byte ^= 1 << bit; }
            packet
        }).collect();
        let (batch, mut head, mut at) = (batch_of(&packets), Head::default(), 0);
        while at < batch.len() {
            let count = coalesce(Layer::Network, &batch, at..batch.len(), true, &mut head);
            prop_assert!(count >= 1 && at + count <= batch.len());
            at += count;
        }
    }

    #[test]
    fn a_virtio_header_reads_back_as_written(header in any_header()) {
        prop_assert_eq!(VirtioHeader::parse(&header.emit()), header);
    }
}

mod frames;
