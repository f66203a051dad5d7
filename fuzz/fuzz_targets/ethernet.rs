//! Ethernet frames: the header, the size against the rules written out once more, and ARP.
//!
//! Input: the frame.
#![no_main]

use hypertap_wire::arp::Arp;
use hypertap_wire::ethernet::sizing::{Sizing, frame_len};
use hypertap_wire::ethernet::{self, EtherType, MacAddress};
use libfuzzer_sys::fuzz_target;

/// Where the header ends and the type, in the plainest way.
fn header(frame: &[u8]) -> Option<(usize, u16)> {
    let mut end = 14;
    loop {
        let kind = u16::from_be_bytes([*frame.get(end - 2)?, *frame.get(end - 1)?]);
        if kind != 0x8100 && kind != 0x88a8 {
            return Some((end, kind));
        }
        end += 4;
    }
}

/// The length of a frame that tells it, when all that it takes is there.
fn plain_len(frame: &[u8]) -> Option<usize> {
    let (end, kind) = header(frame)?;
    let payload = &frame[end..];
    let byte = |at: usize| payload.get(at).map(|byte| usize::from(*byte));
    let word = |at: usize| Some(byte(at)? << 8 | byte(at + 1)?);
    let ip = |at: usize, wanted: Option<usize>| {
        let version = byte(at)? >> 4;
        if wanted.is_some_and(|wanted| wanted != version) {
            return None;
        }
        match version {
            4 => {
                let words = byte(at)? & 15;
                word(at + 2).filter(|len| words >= 5 && *len >= words * 4)
            }
            6 => (word(at + 4)? != 0 || byte(at + 6)? != 0).then_some(40 + word(at + 4)?),
            _ => None,
        }
    };
    let len = match kind {
        3..=1500 => usize::from(kind),
        0x0800 => ip(0, Some(4))?,
        0x86dd => ip(0, Some(6))?,
        0x0806 | 0x8035 | 0x80f3 => 8 + 2 * byte(4)? + 2 * byte(5)?,
        0x809b => Some(word(0)? % 1024).filter(|len| *len >= 13)?,
        0x8137 => word(2).filter(|len| *len >= 30)?,
        0x8863 | 0x8864 => (byte(0)? == 0x11).then_some(6 + word(4)?)?,
        0x888e => 4 + word(2)?,
        0x88cc => {
            let mut at = 0;
            while word(at)? >= 512 {
                at += 2 + word(at)? % 512;
            }
            (word(at)? == 0).then_some(at + 2)?
        }
        0x8847 | 0x8848 => {
            let labels = payload.chunks_exact(4).position(|label| label[2] % 2 == 1)? + 1;
            labels * 4 + ip(labels * 4, None)?
        }
        0x9000 => 46,
        _ => return None,
    };
    Some(end + len)
}

fuzz_target!(|frame: &[u8]| {
    let header = header(frame);
    assert_eq!(ethernet::header_len(frame), header.map(|(end, _)| end));
    assert_eq!(ethernet::ethertype(frame), header.map(|(_, kind)| EtherType(kind)));
    assert_eq!(ethernet::payload(frame).map(|(_, payload)| payload), header.map(|(end, _)| &frame[end..]));
    for (address, at) in [(ethernet::destination(frame), 0), (ethernet::source(frame), 6)] {
        assert_eq!(address.map(|address| address.0.to_vec()), frame.get(at..at + 6).map(<[u8]>::to_vec));
        if let Some(address) = address {
            assert_eq!(address.to_string().parse::<MacAddress>(), Ok(address));
        }
    }

    let told = frame_len(frame);
    let plain = plain_len(frame);
    match told {
        Sizing::Len(len) => {
            assert!(len > ethernet::HEADER);
            assert_eq!(Some(len), plain);
        }
        Sizing::NeedMore(more) => {
            assert!(more > frame.len() && plain.is_none(), "{more} of {}", frame.len());
        }
        Sizing::Unknown(_) => assert_eq!(plain, None),
    }
    for len in 0..frame.len().min(200) {
        match frame_len(&frame[..len]) {
            Sizing::NeedMore(more) => assert!(more > len),
            sooner => assert_eq!(sooner, told, "of {len} bytes"),
        }
    }

    if let (Some(arp), Some((end, _))) = (Arp::parse(frame), header) {
        let again = arp.frame(MacAddress::BROADCAST);
        assert_eq!(again[14..], frame[end..end + 28]);
        assert_eq!(Arp::parse(&again), Some(arp));
    }
});
