//! The same of Ethernet frames.

use super::*;

/// The packet behind an Ethernet header with `tags` VLAN tags, of which the last says `vlan`.
fn framed(tags: usize, vlan: u8, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in 1..=tags {
        let is_last = tag == tags;
        frame.extend(if is_last { [0x81, 0x00] } else { [0x88, 0xa8] });
        frame.extend([0x20, if is_last { vlan } else { 9 }]);
    }
    frame.extend(if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    frame.extend(packet);
    frame
}

fn all_framed(tags: usize, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| framed(tags, 5, packet)).collect()
}

fn counts(frames: &[Vec<u8>]) -> Vec<usize> {
    writes_on(Layer::Link, frames).iter().map(|write| write.2).collect()
}

#[test]
fn a_run_of_datagrams_ends_sooner_than_one_of_segments() {
    let row = |is_tcp, count| all_framed(0, &built(&flow(true, is_tcp, count, 100, 100)));
    assert_eq!(counts(&row(false, 20)), [16, 4]);
    assert_eq!(counts(&row(true, 70)), [64, 6]);
}

#[test]
fn a_row_of_one_flow_is_one_write_with_one_ethernet_header() {
    for (tags, is_v4, is_tcp) in [(0, true, true), (1, false, true), (2, true, false), (0, false, false)] {
        let frames = all_framed(tags, &built(&flow(is_v4, is_tcp, 16, 1400, 333)));
        let writes = writes_on(Layer::Link, &frames);
        assert_eq!(writes.len(), 1, "{tags} tags, v4 {is_v4}, tcp {is_tcp}");
        let (header, segment, _) = &writes[0];
        let link = 14 + 4 * tags;
        assert_eq!(usize::from(header.csum_start), link + if is_v4 { 20 } else { 40 });
        assert_eq!(segment[..link], frames[0][..link]);
        assert_eq!(split_all_on(Layer::Link, &writes), frames);
    }
}

#[test]
fn frames_are_joined_only_with_the_same_ethernet_header() {
    let packets = built(&flow(true, true, 2, 100, 100));
    for at in 0..16 {
        let mut frames = all_framed(1, &packets);
        frames[1][at] ^= 1;
        assert_eq!(counts(&frames), [1, 1], "byte {at}");
    }
    let frames = [framed(1, 5, &packets[0]), framed(1, 6, &packets[1])];
    assert_eq!(counts(&frames), [1, 1], "of two VLANs");
    let frames = [framed(0, 0, &packets[0]), framed(1, 5, &packets[1])];
    assert_eq!(counts(&frames), [1, 1], "one with a tag");
}

#[test]
fn what_is_not_a_whole_packet_of_ip_stays_alone() {
    let frames = all_framed(0, &built(&flow(true, true, 2, 100, 100)));
    assert_eq!(counts(&frames), [2], "what is broken below was whole");
    let broken = |harm: &dyn Fn(&mut Vec<u8>)| {
        let mut frames = frames.clone();
        frames.iter_mut().for_each(harm);
        frames
    };
    assert_eq!(counts(&broken(&|frame| frame.extend([0; 3]))), [1, 1], "padded");
    assert_eq!(counts(&broken(&|frame| frame[13] = 6)), [1, 1], "another type");
    assert_eq!(
        counts(&broken(&|frame| frame[12..14].copy_from_slice(&[0x86, 0xdd]))),
        [1, 1],
        "two versions"
    );
    assert_eq!(counts(&broken(&|frame| frame[24] ^= 1)), [1, 1], "a wrong checksum in the IPv4 header");
    for len in 0..60 {
        assert_eq!(counts(&broken(&|frame| frame.truncate(len))), [1, 1], "cut to {len}");
    }
    let deep = all_framed(20, &built(&flow(true, true, 2, 100, 100)));
    assert_eq!(counts(&deep), [1, 1], "more tags than a shared header has room for");
}

#[test]
fn a_checksum_left_open_is_made_behind_the_ethernet_header() {
    let spec = Spec::tcp(false, 5, &[3; 999]);
    let (mut header, segment) = segment(&spec, GsoType::None, 0);
    header.csum_start += 18;
    let mut batch = Batch::new(1 << 16, 64);
    assert_eq!(split(Layer::Link, &header, &framed(1, 5, &segment), &mut batch), Ok(1));
    assert_eq!(batch.get(0), Some(&*framed(1, 5, &spec.build())));
}

#[test]
fn a_segment_without_ip_where_its_type_says_is_refused() {
    let (mut header, packet) = segment(&Spec::tcp(true, 5, &[3; 3000]), GsoType::TcpV4, 1000);
    header.csum_start += 14;
    let right = framed(0, 0, &packet);
    let mut batch = Batch::new(1 << 16, 64);
    assert_eq!(split(Layer::Link, &header, &right, &mut batch), Ok(3));
    batch.clear();
    for kind in [[0x86, 0xdd], [0x88, 0x64], [0x81, 0x00]] {
        let mut frame = right.clone();
        frame[12..14].copy_from_slice(&kind);
        assert_eq!(split(Layer::Link, &header, &frame, &mut batch), Err(DropCause::BadOffload), "{kind:x?}");
    }
    let short = VirtioHeader { csum_start: 13, ..header };
    assert_eq!(split(Layer::Link, &short, &right, &mut batch), Err(DropCause::BadOffload));
    assert!(batch.is_empty());
}

proptest! {
    #[test]
    fn splitting_what_was_merged_gives_the_frames_that_went_in(
        tags in 0..4_usize, (is_v4, is_tcp) in any::<(bool, bool)>(), count in 1..100_u16, size in 1..1460_u16, rest in 1..1460_u16,
    ) {
        let frames = all_framed(tags, &built(&flow(is_v4, is_tcp, count, size, rest.min(size))));
        let writes = writes_on(Layer::Link, &frames);
        let most = usize::from(count).div_ceil(if is_tcp { 40 } else { 16 }) + 2;
        prop_assert!(tags > 2 || writes.len() <= most);
        prop_assert_eq!(split_all_on(Layer::Link, &writes), frames);
    }

    #[test]
    fn any_mix_of_frames_goes_through_unchanged(
        packets in prop::collection::vec((0..3_usize, 0..2_u8, any_packet()), 1..30),
        at in 0..160_usize, bit in 0..8_u8, cut in 0..200_usize, broken in 0..30_usize,
    ) {
        // Identifications may restart where they mean nothing; none of these do.
        let packets = packets.into_iter().filter(|(_, _, packet)| !packet.is_empty());
        let mut frames: Vec<_> = packets.map(|(tags, vlan, packet)| framed(tags, vlan, &packet)).collect();
        if let Some(frame) = frames.get_mut(broken) {
            frame.truncate(cut);
            if let Some(byte) = frame.get_mut(at) { *byte ^= 1 << bit; }
        }
        let out = split_all_on(Layer::Link, &writes_on(Layer::Link, &frames));
        prop_assert_eq!(out.len(), frames.len());
        for (out, frame) in out.iter().zip(&frames) {
            let has_no_id = Layer::Link.open(frame).is_some_and(|(_, packet)| packet.get(4..6) == Some(&[0, 0]));
            prop_assert!(out == frame || has_no_id);
        }
    }

    #[test]
    fn any_header_on_any_frame_splits_or_is_refused(
        header in any_header(), tags in 0..3_usize, bytes in any_packet(), link in 0..30_u16, cut in 0..150_usize,
    ) {
        prop_assume!(!bytes.is_empty());
        let header = VirtioHeader { csum_start: header.csum_start.wrapping_add(link), ..header };
        let frame = framed(tags, 5, &bytes);
        let mut batch = Batch::new(1 << 16, 512);
        let _ = split(Layer::Link, &header, &frame[..frame.len().min(cut)], &mut batch);
    }
}
