//! A guest at the end of a telephone line: PPP in HDLC frames (RFC 1661, 1662, 1332, 1877, 1334), just enough
//! of it to call, log in, ask for an address, and send packets.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::program::Program;
use crate::tap::FrameClient;
use crate::wait::{TIME, left};

const IP: u16 = 0x0021;
const IPCP: u16 = 0x8021;
const LCP: u16 = 0xc021;
const PAP: u16 = 0xc023;

const REQUEST: u8 = 1;
const ACK: u8 = 2;
const NAK: u8 = 3;
const REJECT: u8 = 4;

/// A guest with a link: packets in and out.
#[derive(Debug)]
pub struct Guest {
    line: FrameClient,
    /// Its own address.
    pub address: Ipv4Addr,
    /// The name servers that it was told.
    pub dns: Vec<Ipv4Addr>,
    /// Packets that came while it waited for something else.
    packets: Mutex<VecDeque<Vec<u8>>>,
}

/// The frame check sequence (RFC 1662, C.2), bit by bit.
fn fcs(bytes: &[u8]) -> u16 {
    let step = |fcs: u16, byte: &u8| {
        (0..8).fold(fcs ^ u16::from(*byte), |fcs, _| if fcs & 1 == 1 { fcs >> 1 ^ 0x8408 } else { fcs >> 1 })
    };
    !bytes.iter().fold(0xffff, step)
}

/// A message: one PPP frame in HDLC form, with both flags.
pub fn message(protocol: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0xff, 3][..], &protocol.to_be_bytes(), content].concat();
    let sum = fcs(&bytes);
    bytes.extend(sum.to_le_bytes());
    let mut message = vec![0x7e];
    for byte in bytes {
        if byte < 0x20 || byte == 0x7d || byte == 0x7e {
            message.extend([0x7d, byte ^ 0x20]);
        } else {
            message.push(byte);
        }
    }
    message.push(0x7e);
    message
}

/// The protocol and content of a message.
fn content(message: &[u8]) -> (u16, Vec<u8>) {
    assert!(message.len() > 2 && message.first() == Some(&0x7e) && message.last() == Some(&0x7e));
    let mut bytes = Vec::new();
    let mut escaped = false;
    for byte in &message[1..message.len() - 1] {
        match (escaped, *byte) {
            (false, 0x7d) => escaped = true,
            (false, byte) => bytes.push(byte),
            (true, byte) => {
                bytes.push(byte ^ 0x20);
                escaped = false;
            }
        }
    }
    let (frame, sum) = bytes.split_at(bytes.len() - 2);
    assert_eq!(fcs(frame).to_le_bytes(), sum, "the check sequence of {message:02x?}");
    assert_eq!(frame[..2], [0xff, 3], "address and control, which nobody asked to leave out");
    (u16::from_be_bytes([frame[2], frame[3]]), frame[4..].to_vec())
}

/// A control packet.
fn packet(code: u8, id: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + data.len()).expect("short");
    [&[code, id][..], &length.to_be_bytes(), data].concat()
}

/// Asks once a second until the other end is content, and is content itself with whatever the other asks for.
/// `answer` makes of a refusal what is asked for next.
#[track_caller]
fn agree(
    line: &FrameClient,
    protocol: u16,
    mut options: Vec<u8>,
    packets: &mut VecDeque<Vec<u8>>,
) -> Vec<u8> {
    let deadline = Instant::now() + TIME;
    let (mut ours, mut theirs, mut id) = (false, false, 0);
    let mut asked = None;
    while !(ours && theirs) {
        let time = left(deadline).unwrap_or_else(|| panic!("no agreement on {protocol:#06x}"));
        if !ours && asked.is_none_or(|asked: Instant| asked.elapsed() > Duration::from_secs(1)) {
            id += 1;
            line.send(&message(protocol, &packet(REQUEST, id, &options)));
            asked = Some(Instant::now());
        }
        let Some(received) = line.receive(time.min(Duration::from_millis(200))) else {
            assert!(!line.has_ended(), "the line was cut");
            continue;
        };
        let (of, content) = content(&received);
        match (of, content.first().copied()) {
            (of, Some(REQUEST)) if of == protocol || of == LCP => {
                let mut reply = content.clone();
                reply[0] = ACK;
                line.send(&message(of, &reply));
                theirs |= of == protocol;
            }
            (of, Some(ACK)) if of == protocol && content[1] == id => ours = true,
            (of, Some(NAK)) if of == protocol && content[1] == id => {
                // What is wanted instead stands in it.
                for wanted in split(&content[4..]) {
                    replace(&mut options, &wanted);
                }
                asked = None;
            }
            (of, Some(REJECT)) if of == protocol && content[1] == id => {
                let rejected = split(&content[4..]);
                options = split(&options)
                    .into_iter()
                    .filter(|option| !rejected.contains(option))
                    .flatten()
                    .collect();
                asked = None;
            }
            (IP, _) => packets.push_back(content),
            _ => {}
        }
    }
    options
}

/// The options of a control packet, each with its type and length.
fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut options = Vec::new();
    while let [_, length, ..] = bytes {
        let (option, rest) = bytes.split_at(usize::from(*length));
        options.push(option.to_vec());
        bytes = rest;
    }
    options
}

/// Puts an option in the place of that of its type.
fn replace(options: &mut Vec<u8>, wanted: &[u8]) {
    let all = split(options).into_iter();
    *options = all.flat_map(|option| if option[0] == wanted[0] { wanted.to_vec() } else { option }).collect();
}

impl Guest {
    /// Calls, logs in where a name is given, and asks for an address and name servers.
    #[track_caller]
    pub fn call(line: FrameClient, login: Option<(&str, &str)>) -> Self {
        let mut packets = VecDeque::new();
        agree(&line, LCP, vec![2, 6, 0, 0, 0, 0, 5, 6, 1, 2, 3, 4], &mut packets);
        if let Some((name, password)) = login {
            assert_eq!(log_in(&line, name, password), ACK, "it knows the password");
        }
        let asked = vec![3, 6, 0, 0, 0, 0, 129, 6, 0, 0, 0, 0, 131, 6, 0, 0, 0, 0];
        let granted = agree(&line, IPCP, asked, &mut packets);
        let of = |kind: u8| {
            let option = split(&granted).into_iter().find(|option| option[0] == kind)?;
            let address: [u8; 4] = option[2..].try_into().ok()?;
            Some(Ipv4Addr::from(address))
        };
        let dns = [129, 131].into_iter().filter_map(of).collect();
        let address = of(3).expect("it has one");
        Self { line, address, dns, packets: Mutex::new(packets) }
    }

    /// Calls and says who it is; yields the code of the answer: 2 where it is let in, 3 where it is not.
    #[track_caller]
    pub fn call_and_log_in(line: &FrameClient, name: &str, password: &str) -> u8 {
        agree(line, LCP, vec![2, 6, 0, 0, 0, 0], &mut VecDeque::new());
        log_in(line, name, password)
    }
}

#[track_caller]
fn log_in(line: &FrameClient, name: &str, password: &str) -> u8 {
    let field = |text: &str| [&[u8::try_from(text.len()).expect("short")][..], text.as_bytes()].concat();
    line.send(&message(PAP, &packet(REQUEST, 9, &[field(name), field(password)].concat())));
    let said = line.expect_frame("an answer to PAP", |message| content(message).0 == PAP);
    content(&said).1[0]
}

impl Program for Guest {
    fn send(&self, packet: &[u8]) {
        self.line.send(&message(IP, packet));
    }

    fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        if let Some(packet) = self.packets.lock().expect("no test has panicked here").pop_front() {
            return Some(packet);
        }
        let deadline = Instant::now() + limit;
        while let Some(received) = left(deadline).and_then(|time| self.line.receive(time)) {
            if let (IP, packet) = content(&received) {
                return Some(packet);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_made() {
        let bytes: Vec<u8> = (0..=255).collect();
        let message = message(IP, &bytes);
        assert!(message[1..message.len() - 1].iter().all(|byte| *byte != 0x7e && *byte >= 0x20));
        assert_eq!(content(&message), (IP, bytes));
    }
}
