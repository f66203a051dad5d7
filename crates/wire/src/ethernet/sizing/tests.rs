use super::*;
use proptest::prelude::*;

/// A frame with these tags and type, and its payload.
pub(crate) fn frame(tags: &[[u8; 4]], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    [addresses.as_slice(), &tags.concat(), &ethertype.to_be_bytes(), payload].concat()
}

pub(crate) fn ipv4(len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    packet
}

fn ipv6(len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&u16::try_from(len - 40).unwrap().to_be_bytes());
    packet[6] = 59;
    packet
}

pub(crate) fn arp(hardware: u8, protocol: u8) -> Vec<u8> {
    let addresses = usize::from(hardware) + usize::from(protocol);
    [&[0, 1, 8, 0, hardware, protocol, 0, 1], vec![0; 2 * addresses].as_slice()].concat()
}

/// A whole frame of each protocol whose length is known.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let with_len = |len: usize, header: &[u8]| {
        let mut payload = vec![0; len];
        payload[..header.len()].copy_from_slice(header);
        payload
    };
    let lldp = [[0x02, 7].as_slice(), &[4; 7], &[0x04, 3, 7, 8, 9], &[0x06, 2, 0, 120], &[0, 0]].concat();
    let mpls = |stack: &[u8], packet: &[u8]| [stack, packet].concat();
    vec![
        frame(&[], 0x0800, &ipv4(20)),
        frame(&[], 0x0800, &ipv4(1500)),
        frame(&[], 0x86dd, &ipv6(40)),
        frame(&[], 0x86dd, &ipv6(1280)),
        frame(&[], 0x0806, &arp(6, 4)),
        frame(&[], 0x8035, &arp(6, 4)),
        frame(&[], 0x80f3, &arp(6, 4)),
        frame(&[[0x81, 0, 0, 7]], 0x0800, &ipv4(84)),
        frame(&[[0x88, 0xa8, 0, 7], [0x81, 0, 0xe0, 9]], 0x86dd, &ipv6(60)),
        frame(&[[0x81, 0, 0, 1]; 40], 0x0806, &arp(6, 4)),
        frame(&[], 38, &with_len(38, &[0x42, 0x42, 3])),
        frame(&[[0x81, 0, 0, 1]], 1500, &[0xaa; 1500]),
        frame(&[], 0x809b, &with_len(0x123, &[0x3d, 0x23])),
        frame(&[], 0x8137, &with_len(34, &[0xff, 0xff, 0, 34])),
        frame(&[], 0x8863, &with_len(10, &[0x11, 9, 0, 0, 0, 4])),
        frame(&[], 0x8864, &with_len(8, &[0x11, 0, 0, 1, 0, 2])),
        frame(&[], 0x888e, &[1, 1, 0, 0]),
        frame(&[], 0x888e, &with_len(9, &[2, 0, 0, 5])),
        frame(&[], 0x88cc, &lldp),
        frame(&[], 0x8847, &mpls(&[0, 1, 1, 64], &ipv4(100))),
        frame(&[], 0x8848, &mpls(&[0, 1, 0, 64, 0, 2, 1, 64], &ipv6(48))),
        frame(&[], 0x9000, &[0; 46]),
    ]
}

fn unknown(ethertype: u16, payload: &[u8]) -> SizeError {
    match frame_len(&frame(&[], ethertype, payload)) {
        Sizing::Unknown(error) => error,
        told => panic!("{told:?} of {ethertype:#x}"),
    }
}

#[test]
fn every_known_protocol_tells_its_length_whatever_follows() {
    for frame in frames() {
        assert_eq!(frame_len(&frame), Sizing::Len(frame.len()), "{frame:02x?}");
        let followed = [frame.as_slice(), &[0xff; 9]].concat();
        assert_eq!(frame_len(&followed), Sizing::Len(frame.len()));
    }
}

#[test]
fn a_cut_frame_tells_the_same_length_or_that_more_is_needed() {
    for frame in frames() {
        for len in 0..frame.len() {
            match frame_len(&frame[..len]) {
                Sizing::NeedMore(more) => assert!((len + 1..=frame.len()).contains(&more)),
                told => assert_eq!(told, Sizing::Len(frame.len())),
            }
        }
    }
}

#[test]
fn a_tags_inner_type_is_big_endian() {
    let tagged = frame(&[[0x81, 0, 0, 7]], 0x0008, &[0; 8]);
    assert_eq!(frame_len(&tagged), Sizing::Len(18 + 8));
}

#[test]
fn a_length_shorter_than_its_header_is_an_error_and_never_a_stall() {
    let short = |ethertype, len| SizeError::TooShort { ethertype: EtherType(ethertype), len };
    assert_eq!(unknown(0x0800, &[0x45, 0, 0, 0]), short(0x0800, 0));
    assert_eq!(unknown(0x0800, &[0x45, 0, 0, 19]), short(0x0800, 19));
    assert_eq!(unknown(0x0800, &[0x4f, 0, 0, 59]), short(0x0800, 59));
    assert_eq!(unknown(0x86dd, &[0x60, 0, 0, 0, 0, 0, 0]), short(0x86dd, 0));
    assert_eq!(unknown(0x809b, &[0, 12]), short(0x809b, 12));
    assert_eq!(unknown(0x8137, &[0xff, 0xff, 0, 29]), short(0x8137, 29));
    assert_eq!(unknown(0x8847, &[0, 0, 1, 0, 0x45, 0, 0, 8]), short(0x8847, 8));
    assert_eq!(unknown(0x0000, &[]), short(0, 0));
    assert_eq!(unknown(0x0002, &[]), short(2, 2));
}

#[test]
fn what_is_not_its_protocols_header_is_an_error() {
    for (ethertype, payload) in [
        (0x0800, [0x65, 0, 0, 20]),
        (0x0800, [0x44, 0, 0, 20]),
        (0x86dd, [0x40, 0, 0, 0]),
        (0x8863, [0x21, 0, 0, 0]),
        (0x88cc, [0x00, 0x01, 0, 0]),
    ] {
        assert_eq!(unknown(ethertype, &payload), SizeError::NotItsHeader(EtherType(ethertype)));
    }
}

#[test]
fn other_types_are_unknown_and_named() {
    for ethertype in [1501, 1535, 0x0600, 0x88b5, 0xffff] {
        assert_eq!(unknown(ethertype, &[0; 64]), SizeError::UnknownType(EtherType(ethertype)));
    }
    assert_eq!(unknown(0x8847, &[0, 0, 1, 0, 0x00]), SizeError::UnknownType(EtherType::MPLS));
    assert!(unknown(0xabcd, &[]).to_string().contains("EtherType 0xabcd"));
}

#[test]
fn padding_is_warned_of_and_cut() {
    let arp = frame(&[], 0x0806, &arp(6, 4));
    assert_eq!(size_warning(&arp), None);
    assert_eq!(without_padding(&arp), arp);

    let padded = [arp.as_slice(), &[0; 18]].concat();
    assert_eq!(size_warning(&padded), Some(SizeWarning { expected: Some(42), actual: 60 }));
    assert_eq!(without_padding(&padded), arp);

    let cut = &frame(&[], 0x0800, &ipv4(100))[..100];
    assert_eq!(size_warning(cut), Some(SizeWarning { expected: Some(114), actual: 100 }));
    assert_eq!(without_padding(cut), cut);

    let unknown = frame(&[], 0x88b5, &[0; 46]);
    assert_eq!(size_warning(&unknown), Some(SizeWarning { expected: None, actual: 60 }));
    assert_eq!(without_padding(&unknown), unknown);
}

proptest! {
    #[test]
    fn any_bytes_are_sized_and_what_is_asked_for_grows(
        tags in 0..3_usize,
        ethertype in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x0806, 0x8137, 0x88cc, 0x8847, 0x8864, 30, 0x9000]),
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = frame(&vec![[0x81, 0, 0, 1]; tags], ethertype, &payload);
        let mut told = None;
        for len in 0..=bytes.len() {
            match frame_len(&bytes[..len]) {
                Sizing::NeedMore(more) => {
                    prop_assert!(more > len && told.is_none());
                }
                sizing => prop_assert_eq!(*told.get_or_insert(sizing), sizing),
            }
        }
        if let Some(Sizing::Len(len)) = told {
            prop_assert!(len > HEADER);
        }
    }
}
