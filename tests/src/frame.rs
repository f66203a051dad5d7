//! Ethernet frames as bytes: just enough to ask, answer and recognize.

use std::net::Ipv4Addr;

use crate::packet::{ICMP, checksum, ipv4, ping_reply};

/// A station's address.
pub type Mac = [u8; 6];

/// All stations.
pub const BROADCAST: Mac = [0xff; 6];
/// The types of what an Ethernet frame carries.
pub const IPV4: u16 = 0x0800;
/// Address resolution.
pub const ARP: u16 = 0x0806;
/// IP, version 6.
pub const IPV6: u16 = 0x86dd;

/// A frame, not padded.
pub fn frame(destination: Mac, source: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &kind.to_be_bytes(), payload].concat()
}

/// The type of a frame without tags.
pub fn kind(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}

/// Whence a frame comes.
pub fn source(frame: &[u8]) -> Mac {
    frame[6..12].try_into().expect("six bytes")
}

/// Whom a frame is for.
pub fn destination(frame: &[u8]) -> Mac {
    frame[..6].try_into().expect("six bytes")
}

fn arp(operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&head[..], &sender.0, &sender.1.octets(), &target.0, &target.1.octets()].concat()
}

/// A question of everybody for who has an address.
pub fn arp_request(asker: (Mac, Ipv4Addr), wanted: Ipv4Addr) -> Vec<u8> {
    frame(BROADCAST, asker.0, ARP, &arp(1, asker, ([0; 6], wanted)))
}

/// The answer of who has `ours` to a question for it; `None` for any other frame.
pub fn arp_reply(request: &[u8], ours: (Mac, Ipv4Addr)) -> Option<Vec<u8>> {
    let is_for_us = request.len() >= 42
        && kind(request) == ARP
        && request[20..22] == [0, 1]
        && request[38..42] == ours.1.octets();
    if !is_for_us {
        return None;
    }
    let asker = source(request);
    let address: [u8; 4] = request[28..32].try_into().expect("four bytes");
    Some(frame(asker, ours.0, ARP, &arp(2, ours, (asker, address.into()))))
}

/// The address that a frame answers a question for `of` with.
pub fn arp_answer(frame: &[u8], of: Ipv4Addr) -> Option<Mac> {
    let is_answer =
        frame.len() >= 42 && kind(frame) == ARP && frame[20..22] == [0, 2] && frame[28..32] == of.octets();
    is_answer.then(|| frame[22..28].try_into().expect("six bytes"))
}

/// An echo request.
pub fn ping(from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr), number: u16, payload: &[u8]) -> Vec<u8> {
    let mut icmp = [&[8, 0, 0, 0, 0x12, 0x34][..], &number.to_be_bytes(), payload].concat();
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    frame(to.0, from.0, IPV4, &ipv4(from.1, to.1, ICMP, &icmp))
}

/// Whether a frame answers [`ping`] of this number.
pub fn is_pong(frame: &[u8], number: u16) -> bool {
    frame.len() >= 42
        && kind(frame) == IPV4
        && frame[23] == ICMP
        && frame[34] == 0
        && frame[38..40] == [0x12, 0x34]
        && frame[40..42] == number.to_be_bytes()
}

/// What a station that is there answers: questions for its address, and pings.
pub fn answer(received: &[u8], ours: (Mac, Ipv4Addr)) -> Option<Vec<u8>> {
    if received.len() < 34 {
        return None;
    }
    if let Some(reply) = arp_reply(received, ours) {
        return Some(reply);
    }
    if kind(received) != IPV4 || destination(received) != ours.0 || received[30..34] != ours.1.octets() {
        return None;
    }
    let reply = ping_reply(&received[14..])?;
    Some(frame(source(received), ours.0, IPV4, &reply))
}
