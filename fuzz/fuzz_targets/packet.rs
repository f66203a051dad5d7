//! Packets from the program: `validate` against the rules written out once more, and the checksum.
//!
//! Input: the MTU (u16, big-endian), then the packet.
#![no_main]

use hypertap_fuzz::{Input, plain_sum};
use hypertap_wire::checksum::Sum;
use hypertap_wire::packet::{DropCause, MAX_PACKET, validate};
use libfuzzer_sys::fuzz_target;

/// The rules of docs/tunnel.md, "Data plane", each with the cause that it is counted under.
fn broken_rules(packet: &[u8], mtu: usize) -> Vec<DropCause> {
    let len = packet.len();
    let field = |at: usize| usize::from(packet[at]) << 8 | usize::from(packet[at + 1]);
    let mut broken = Vec::new();
    let mut rule = |holds: bool, cause| {
        if !holds {
            broken.push(cause)
        }
    };
    rule(len > 0, DropCause::Empty);
    rule(len <= MAX_PACKET, DropCause::TooLong);
    match packet.first().map_or(0, |first| first >> 4) {
        4 => {
            let words = usize::from(packet[0] & 15);
            let is_whole = len >= 20 && len >= words * 4;
            rule(is_whole, DropCause::TruncatedHeader);
            rule(words >= 5, DropCause::BadHeaderLength);
            rule(len < 20 || field(2) == len, DropCause::LengthMismatch);
            rule(!is_whole || plain_sum(&[&packet[..words * 4]]) == 0xffff, DropCause::BadHeaderChecksum);
        }
        6 => {
            rule(len >= 40, DropCause::TruncatedHeader);
            rule(len < 40 || 40 + field(4) == len, DropCause::LengthMismatch);
        }
        _ => rule(false, DropCause::BadVersion),
    }
    rule(len <= mtu, DropCause::ExceedsMtu);
    broken
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mtu = usize::from(input.u16());
    let packet = input.0;

    let broken = broken_rules(packet, mtu);
    match validate(packet, mtu) {
        Ok(()) => {
            assert!(broken.is_empty(), "passed, yet breaks {broken:?}");
            assert_eq!(validate(packet, packet.len() - 1), Err(DropCause::ExceedsMtu));
            assert!(validate(&packet[..packet.len() - 1], mtu).is_err(), "a cut packet passed");
            assert!(validate(&[packet, &[0]].concat(), mtu + 1).is_err(), "a packet with a tail passed");
        }
        Err(cause) => assert!(broken.contains(&cause), "dropped for {cause:?}, yet breaks {broken:?}"),
    }

    let plain = plain_sum(&[packet]);
    assert_eq!(u16::from_be_bytes(Sum::ZERO.add(packet).folded()), plain);
    let (front, back) = packet.split_at(packet.len() / 4 * 2);
    assert_eq!(u16::from_be_bytes(Sum::ZERO.add(front).add(back).folded()), plain, "in two pieces");
});
