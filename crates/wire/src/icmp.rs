//! ICMP messages that a service's address answers with (RFC 792, RFC 4443).

use crate::ip::{Fragment, ICMP, ICMPV6, Ip, answer, header_len};

/// The length in bytes of what an error or an echo has before its data.
const HEADER: usize = 8;
/// Where a message has its checksum.
const CHECKSUM: usize = 2;
/// The longest packet that an error may be, over IPv4 (RFC 1812, section 4.3.2.3) and over IPv6: the least
/// MTU (RFC 4443, section 2.4).
const MAX_ERROR: [usize; 2] = [576, 1280];
/// The first type of `ICMPv6` that is no error.
const FIRST_INFORMATION: u8 = 128;

/// Type numbers in ICMP and in `ICMPv6`: destination unreachable, echo request and echo reply.
const UNREACHABLE: [u8; 2] = [3, 1];
const ECHO: [u8; 2] = [8, 128];
const ECHO_REPLY: [u8; 2] = [0, 129];

/// Why a packet does not get where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// The destination cannot be reached: code 1, of `ICMPv6` 3. A program sees "no route to host".
    Host,
    /// It may not be reached: code 13, of `ICMPv6` 1. A program sees "permission denied" (IPv4: "no route
    /// to host").
    Prohibited,
    /// Nobody takes datagrams there: code 3, of `ICMPv6` 4. A program sees "connection refused".
    Port,
}

impl Unreachable {
    /// Its codes in ICMP and in `ICMPv6`.
    fn codes(self) -> [u8; 2] {
        match self {
            Self::Host => [1, 3],
            Self::Prohibited => [13, 1],
            Self::Port => [3, 4],
        }
    }
}

/// The packet that says why another got no further; it comes from where that one goes, and quotes as much
/// of it as it may. `None` when it must not be answered: it is an ICMP error itself (over IPv4 anything of
/// ICMP but an echo request), a later fragment, or one of its addresses is not a single machine's.
pub fn unreachable(ip: &Ip<'_>, why: Unreachable) -> Option<Vec<u8>> {
    let may_be_error = match ip.protocol {
        ICMP => ip.payload.first() != Some(&ECHO[0]),
        ICMPV6 => ip.payload.first().is_none_or(|kind| *kind < FIRST_INFORMATION),
        _ => false,
    };
    if may_be_error || ip.fragment == Fragment::Later || !ip.is_answerable() {
        return None;
    }
    let version = usize::from(ip.source.is_ipv6());
    let quote = ip.packet.get(..MAX_ERROR[version] - header_len(ip.source) - HEADER).unwrap_or(ip.packet);
    let head = [UNREACHABLE[version], why.codes()[version], 0, 0, 0, 0, 0, 0];
    answer(ip, protocol(ip), &[&head, quote].concat(), CHECKSUM)
}

/// The reply to an echo request; `None` when it is none, its checksum is wrong, it is a fragment, or one of
/// its addresses is not a single machine's.
pub fn echo_reply(ip: &Ip<'_>) -> Option<Vec<u8>> {
    let version = usize::from(ip.source.is_ipv6());
    let is_request = ip.protocol == protocol(ip)
        && ip.payload.len() >= HEADER
        && ip.payload.starts_with(&[ECHO[version], 0])
        && ip.fragment == Fragment::Whole;
    if !is_request || !ip.is_answerable() || !ip.is_checksum_right() {
        return None;
    }
    let (_, data) = ip.payload.split_at_checked(CHECKSUM + 2)?;
    answer(ip, protocol(ip), &[&[ECHO_REPLY[version], 0, 0, 0], data].concat(), CHECKSUM)
}

fn protocol(ip: &Ip<'_>) -> u8 {
    if ip.source.is_ipv6() { ICMPV6 } else { ICMP }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::tests::{packet, summed};
    use crate::ip::{TCP, UDP};
    use crate::packet::validate;
    use proptest::prelude::*;

    fn echo(v6: bool, data: &[u8]) -> Vec<u8> {
        let message = [&[ECHO[usize::from(v6)], 0, 0, 0, 1, 2, 3, 4], data].concat();
        summed(v6, if v6 { ICMPV6 } else { ICMP }, &message, CHECKSUM)
    }

    fn answer_to(packet: &[u8], why: Unreachable) -> Option<Vec<u8>> {
        unreachable(&Ip::parse(packet).unwrap(), why)
    }

    #[test]
    fn each_reason_has_its_type_and_code() {
        for (why, v4, v6) in [
            (Unreachable::Host, [3, 1], [1, 3]),
            (Unreachable::Prohibited, [3, 13], [1, 1]),
            (Unreachable::Port, [3, 3], [1, 4]),
        ] {
            for (is_v6, wanted) in [(false, v4), (true, v6)] {
                let asked = packet(is_v6, TCP, &[7; 40]);
                let answer = answer_to(&asked, why).unwrap();
                assert_eq!(validate(&answer, 1280), Ok(()));
                let (ip, asked_ip) = (Ip::parse(&answer).unwrap(), Ip::parse(&asked).unwrap());
                assert_eq!((ip.source, ip.destination), (asked_ip.destination, asked_ip.source));
                assert_eq!(ip.payload[..2], wanted);
                assert_eq!(ip.payload[4..8], [0; 4]);
                assert_eq!(ip.payload[8..], asked, "the whole of it is quoted");
                assert!(ip.is_checksum_right());
            }
        }
    }

    #[test]
    fn a_long_packet_is_quoted_as_far_as_it_may() {
        for (v6, most) in [(false, 576), (true, 1280)] {
            let asked = packet(v6, UDP, &[7; 5001]);
            let answer = answer_to(&asked, Unreachable::Host).unwrap();
            assert_eq!(answer.len(), most);
            assert!(asked.starts_with(&Ip::parse(&answer).unwrap().payload[8..]));
        }
    }

    #[test]
    fn what_must_not_be_answered_is_not() {
        for v6 in [false, true] {
            let error = answer_to(&packet(v6, TCP, &[7; 40]), Unreachable::Host).unwrap();
            assert_eq!(answer_to(&error, Unreachable::Host), None, "an error");
            assert!(answer_to(&echo(v6, b""), Unreachable::Host).is_some(), "a ping");
            assert_eq!(answer_to(&packet(v6, if v6 { ICMPV6 } else { ICMP }, &[]), Unreachable::Host), None);
        }
        let later = packet(true, 44, &[UDP, 0, 0, 8, 0, 0, 0, 1, 9, 9]);
        assert_eq!(answer_to(&later, Unreachable::Host), None, "a later fragment");
        let mut to_many = packet(true, TCP, &[7; 40]);
        to_many[24] = 0xff;
        assert_eq!(answer_to(&to_many, Unreachable::Host), None, "multicast");
    }

    #[test]
    fn what_is_no_ping_has_no_reply() {
        let reply = |packet: &[u8]| echo_reply(&Ip::parse(packet).unwrap());
        for v6 in [false, true] {
            let good = echo(v6, b"data");
            let answer = reply(&good).unwrap();
            assert_eq!(reply(&answer), None, "a reply");
            let mut broken = good.clone();
            *broken.last_mut().unwrap() ^= 1;
            assert_eq!(reply(&broken), None, "a wrong checksum");
            assert_eq!(reply(&packet(v6, TCP, &[8; 20])), None, "another protocol");
            let protocol = if v6 { ICMP } else { ICMPV6 };
            let other = [8, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(reply(&summed(v6, protocol, &other, CHECKSUM)), None, "of the other version");
            let kind = ECHO[usize::from(v6)];
            let protocol = if v6 { ICMPV6 } else { ICMP };
            assert_eq!(reply(&summed(v6, protocol, &[kind, 0, 0, 0], CHECKSUM)), None, "cut off");
            assert_eq!(reply(&summed(v6, protocol, &[kind, 1, 0, 0, 0, 0, 0, 0], CHECKSUM)), None, "a code");
        }
    }

    proptest! {
        #[test]
        fn a_ping_comes_back_with_its_data(data in prop::collection::vec(any::<u8>(), 0..2000), v6: bool) {
            let asked = echo(v6, &data);
            let ip = Ip::parse(&asked).unwrap();
            let answer = echo_reply(&ip).unwrap();
            prop_assert_eq!(validate(&answer, 4000), Ok(()));
            let back = Ip::parse(&answer).unwrap();
            prop_assert_eq!((back.source, back.destination), (ip.destination, ip.source));
            prop_assert!(back.is_checksum_right());
            prop_assert_eq!(&back.payload[..2], &[ECHO_REPLY[usize::from(v6)], 0]);
            prop_assert_eq!(&back.payload[4..], &ip.payload[4..]);
        }
    }
}
