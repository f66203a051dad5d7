//! A server and a guest on one line.

use proptest::prelude::*;

use super::caller::{Caller, Manner};
use super::*;
use hypertap_wire::hdlc::Decoder;

const OWN: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
const DNS: [Ipv4Addr; 2] = [Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::new(1, 1, 1, 1)];
const IPV6CP: Protocol = Protocol(0x8057);

struct Call {
    server: PppServer,
    decoder: Decoder,
    caller: Caller,
    now: Duration,
    /// Which of the next frames are lost, whoever sends them.
    lost: std::vec::IntoIter<bool>,
    /// Packets from the guest.
    packets: Vec<Vec<u8>>,
    received: Vec<&'static str>,
}

impl Call {
    fn new(credentials: Option<(&str, &str)>) -> Self {
        let credentials =
            credentials.map(|(name, password)| Credentials { name: name.into(), password: password.into() });
        let settings = PppSettings { own: OWN, guest: GUEST, dns: DNS.to_vec(), credentials, magic: 4711 };
        Self {
            server: PppServer::new(settings),
            decoder: Decoder::new(MAX_FRAME),
            caller: Caller::new(),
            now: Duration::from_secs(1000),
            lost: Vec::new().into_iter(),
            packets: Vec::new(),
            received: Vec::new(),
        }
    }

    fn opened(credentials: Option<(&str, &str)>) -> Self {
        let mut call = Self::new(credentials);
        call.run(1);
        assert!(call.is_open());
        call
    }

    fn is_open(&self) -> bool {
        self.server.is_open() && self.caller.is_open()
    }

    /// Passes frames until both are silent.
    fn exchange(&mut self) {
        for _ in 0..1000 {
            let mut is_silent = true;
            for frame in self.caller.take_outgoing() {
                is_silent = false;
                if !self.lost.next().unwrap_or(false) {
                    self.handle_stream(&frame);
                }
            }
            while let Some(frame) = self.server.poll_transmit() {
                is_silent = false;
                if !self.lost.next().unwrap_or(false) {
                    self.caller.handle_stream(&frame);
                }
            }
            if is_silent {
                return;
            }
        }
        panic!("the two never fall silent");
    }

    fn handle_stream(&mut self, mut stream: &[u8]) {
        while let Some(frame) = self.decoder.next(&mut stream) {
            let received = self.server.handle_frame(self.now, frame.expect("the guest sends whole frames"));
            match received {
                Received::Packet(packet) => self.packets.push(packet.to_vec()),
                Received::Control => {}
                Received::Malformed => self.received.push("malformed"),
                Received::OutOfPhase => self.received.push("out of phase"),
            }
        }
    }

    /// Lets the guest ask each second.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.caller.tick();
            self.exchange();
            self.now += Duration::from_secs(1);
            self.server.handle_timeout(self.now);
            self.exchange();
        }
    }

    fn send_control(
        &mut self,
        protocol: Protocol,
        code: Code,
        data: &[u8],
    ) -> Vec<(Protocol, Code, Vec<u8>)> {
        self.caller.came.clear();
        self.caller.send_control(protocol, code, 200, data);
        self.exchange();
        std::mem::take(&mut self.caller.came)
    }
}

#[test]
fn a_guest_that_calls_gets_its_address_and_servers() {
    let call = Call::opened(None);
    assert_eq!(call.caller.told(3), Some(&GUEST.octets()[..]));
    assert_eq!(call.caller.told(129), Some(&DNS[0].octets()[..]));
    assert_eq!(call.caller.told(131), Some(&DNS[1].octets()[..]));
    assert_eq!(call.caller.told(2), None, "header compression");
}

#[test]
fn nothing_is_sent_before_the_guest_calls() {
    let mut call = Call::new(None);
    assert_eq!((call.server.poll_transmit(), call.server.timeout()), (None, None));
    call.server.handle_timeout(call.now + Duration::from_secs(3600));
    assert_eq!((call.server.poll_transmit(), call.server.is_over()), (None, false));
}

#[test]
fn an_open_link_waits_for_nothing() {
    assert_eq!(Call::opened(None).server.timeout(), None);
    assert_eq!(Call::new(None).server.timeout(), None);
}

#[test]
fn packets_pass_both_ways() {
    let mut call = Call::opened(None);
    call.caller.accm = call.server.line.guest.accm;
    call.caller.send(Protocol::IPV4, b"\x45 from \x01 the guest ~}");
    assert_eq!(call.server.send_packet(b"\x45 for the guest \x00\x7e"), Ok(()));
    call.exchange();
    assert_eq!(call.packets, [b"\x45 from \x01 the guest ~}"]);
    assert_eq!(call.caller.packets, [b"\x45 for the guest \x00\x7e"]);
}

#[test]
fn no_packet_passes_before_the_guest_has_its_address() {
    let mut call = Call::new(None);
    assert_eq!(call.server.send_packet(b"\x45"), Err(NotSent::NoLink));
    call.caller.send(Protocol::IPV4, b"\x45");
    call.exchange();
    assert_eq!((call.received, call.packets.len()), (vec!["out of phase"], 0));
}

#[test]
fn a_packet_longer_than_the_guest_takes_is_not_sent() {
    let mut call = Call::new(None);
    call.caller.lcp.wishes[0] = (1, 576_u16.to_be_bytes().to_vec());
    call.run(1);
    assert_eq!(call.server.send_packet(&[0x45; 576]), Ok(()));
    assert_eq!(call.server.send_packet(&[0x45; 577]), Err(NotSent::TooLong));
}

#[test]
fn the_newest_packet_is_dropped_when_the_guest_does_not_read() {
    let mut call = Call::opened(None);
    let sent = std::iter::repeat_with(|| call.server.send_packet(b"\x45")).take_while(Result::is_ok).count();
    assert_eq!((sent, call.server.send_packet(b"\x45")), (64, Err(NotSent::Full)));
    for _ in 0..100 {
        let echo = ControlPacket { code: Code::ECHO_REQUEST, identifier: 1, data: &[0; 4] }.to_bytes();
        call.server.handle_frame(call.now, &ppp::frame(Protocol::LCP, &echo));
    }
    assert_eq!(call.server.control_dropped(), 100 - 16);
}

#[test]
fn a_guest_that_knows_the_password_is_let_in() {
    let mut call = Call::new(Some(("gamecube", "secret")));
    call.caller.credentials = Some(("gamecube", "secret"));
    call.run(2);
    assert!(call.is_open() && call.caller.has_proved);
    assert_eq!(call.server.timeout(), None);
}

#[test]
fn a_guest_with_a_wrong_password_is_told_and_hung_up_on() {
    for wrong in [("gamecube", "wrong"), ("wrong", "secret"), ("gamecube", ""), ("gamecube", "secret ")] {
        let mut call = Call::new(Some(("gamecube", "secret")));
        call.caller.credentials = Some(wrong);
        call.caller.tick();
        call.exchange();
        assert_eq!(call.caller.codes(Protocol::PAP), [pap::AUTHENTICATE_NAK]);
        assert!(call.caller.codes(Protocol::LCP).contains(&Code::TERMINATE_REQUEST));
        assert!(call.server.is_over() && !call.server.is_open());
        assert_eq!(call.caller.codes(Protocol::IPCP), []);
    }
}

#[test]
fn a_guest_that_does_not_say_who_it_is_gets_no_address_and_is_hung_up_on() {
    let mut call = Call::new(Some(("gamecube", "secret")));
    call.run(1);
    call.caller.send_control(Protocol::IPCP, Code::CONFIGURE_REQUEST, 1, &[]);
    call.exchange();
    assert_eq!((call.received.clone(), call.caller.codes(Protocol::IPCP)), (vec!["out of phase"], vec![]));
    let due = call.server.timeout().expect("the proof is waited for");
    assert_eq!(due + Duration::from_secs(1), call.now + Duration::from_secs(30));
    call.server.handle_timeout(due);
    call.exchange();
    assert!(call.caller.codes(Protocol::LCP).contains(&Code::TERMINATE_REQUEST));
}

#[test]
fn whatever_a_guest_says_it_is_is_right_where_nobody_asked() {
    let mut call = Call::opened(None);
    let came = call.send_control(Protocol::PAP, pap::AUTHENTICATE_REQUEST, b"\x01a\x01b");
    assert_eq!(
        came.first().map(|(protocol, code, _)| (*protocol, *code)),
        Some((Protocol::PAP, pap::AUTHENTICATE_ACK))
    );
    assert!(call.is_open());
}

#[test]
fn an_echo_comes_back_with_our_number() {
    let mut call = Call::opened(None);
    let magic = call.server.lcp.terms.magic();
    assert_ne!(magic, 0);
    let came = call.send_control(Protocol::LCP, Code::ECHO_REQUEST, &[1, 2, 3, 4, b'h', b'i']);
    let data = [&magic.to_be_bytes()[..], b"hi"].concat();
    assert_eq!(came, [(Protocol::LCP, Code::ECHO_REPLY, data)]);
    assert_eq!(call.send_control(Protocol::LCP, Code::ECHO_REQUEST, &[1, 2, 3]), []);
    assert_eq!(call.send_control(Protocol::LCP, Code::DISCARD_REQUEST, &[0; 4]), []);
}

#[test]
fn an_unknown_protocol_is_rejected() {
    let mut call = Call::opened(None);
    for protocol in [IPV6CP, Protocol(0x80fd), Protocol(0x0057), Protocol(0x002d), Protocol(0xc223)] {
        let came = call.send_control(protocol, Code::CONFIGURE_REQUEST, &[]);
        let data = [&protocol.0.to_be_bytes()[..], &[1, 200, 0, 4]].concat();
        assert_eq!(came, [(Protocol::LCP, Code::PROTOCOL_REJECT, data)]);
    }
    assert!(call.is_open());
}

#[test]
fn a_reject_is_no_longer_than_the_guest_takes() {
    let mut call = Call::opened(None);
    call.caller.send(Protocol(0x0057), &[0x60; 1500]);
    call.exchange();
    let (_, code, data) = call.caller.came.pop().expect("a reject");
    assert_eq!((code, data.len()), (Code::PROTOCOL_REJECT, 1496));
}

#[test]
fn an_unknown_code_is_rejected() {
    let mut call = Call::opened(None);
    for protocol in [Protocol::LCP, Protocol::IPCP] {
        let came = call.send_control(protocol, Code(12), b"x");
        assert_eq!(came, [(protocol, Code::CODE_REJECT, vec![12, 200, 0, 5, b'x'])]);
    }
    assert!(call.is_open());
}

#[test]
fn a_guest_that_does_not_know_our_protocol_loses_the_link() {
    let mut call = Call::opened(None);
    let came = call.send_control(Protocol::LCP, Code::PROTOCOL_REJECT, &[0xc0, 0x21]);
    assert_eq!(came[0].1, Code::TERMINATE_REQUEST);
    assert!(!call.server.is_open());

    let mut call = Call::opened(None);
    let came = call.send_control(Protocol::LCP, Code::PROTOCOL_REJECT, &[0x80, 0x21, 1]);
    let ends =
        [(Protocol::IPCP, Code::TERMINATE_REQUEST, vec![]), (Protocol::LCP, Code::TERMINATE_REQUEST, vec![])];
    assert_eq!(came, ends);
    assert!(call.server.is_over());
}

#[test]
fn a_guest_that_never_gets_as_far_as_packets_is_hung_up_on() {
    let mut call = Call::new(None);
    call.caller.manner = Manner::LinkOnly;
    call.caller.ask(Protocol::LCP);
    for _ in 0..31 {
        call.exchange();
        call.now += Duration::from_secs(1);
        call.server.handle_timeout(call.now);
    }
    call.exchange();
    assert_eq!(call.caller.codes(Protocol::IPCP).len(), 10);
    assert_eq!(call.caller.codes(Protocol::LCP).last(), Some(&Code::TERMINATE_REQUEST));
    assert!(call.server.is_over());
}

#[test]
fn a_guest_that_hung_up_can_call_again() {
    let mut call = Call::opened(None);
    call.caller.hang_up();
    call.exchange();
    assert!(!call.server.is_open());
    assert_eq!(call.caller.codes(Protocol::LCP).last(), Some(&Code::TERMINATE_ACK));
    assert!(!call.server.is_over(), "the guest may have missed the answer");
    call.now += Duration::from_secs(3);
    call.server.handle_timeout(call.now);
    assert!(call.server.is_over());

    call.run(1);
    assert!(call.is_open() && !call.server.is_over());
}

#[test]
fn a_guest_that_starts_anew_without_hanging_up_gets_a_new_link() {
    let mut call = Call::opened(None);
    call.caller = Caller::new();
    call.run(4);
    assert!(call.is_open());
}

#[test]
fn an_answer_of_a_link_that_is_long_over_is_answered_by_its_end() {
    let mut call = Call::new(None);
    let came = call.send_control(Protocol::LCP, Code::CONFIGURE_ACK, &[]);
    assert_eq!(came, [(Protocol::LCP, Code::TERMINATE_ACK, vec![])]);
}

#[test]
fn a_guest_that_insists_on_its_address_is_refused_one_in_the_end() {
    let mut call = Call::new(None);
    call.caller.manner = Manner::Insisting;
    call.caller.ipcp.wishes = vec![(3, vec![10, 9, 8, 7])];
    call.run(1);
    let mut codes = call.caller.codes(Protocol::IPCP);
    codes.retain(|code| matches!(*code, Code::CONFIGURE_NAK | Code::CONFIGURE_REJECT));
    assert_eq!(codes, [vec![Code::CONFIGURE_NAK; 5], vec![Code::CONFIGURE_REJECT]].concat());
    assert!(call.is_open());
}

#[test]
fn credentials_are_not_shown() {
    let credentials = Credentials { name: b"n4me".to_vec(), password: b"s3cret".to_vec() };
    assert_eq!(format!("{credentials:?}"), "Credentials { .. }");
}

proptest! {
    #[test]
    fn a_guest_gets_its_link_however_many_frames_were_lost(lost in prop::collection::vec(any::<bool>(), 0..60), proves: bool) {
        let credentials = proves.then_some(("gamecube", "secret"));
        let mut call = Call::new(credentials);
        call.caller.credentials = credentials;
        call.lost = lost.into_iter();
        call.run(150);
        prop_assert!(call.is_open());
        prop_assert_eq!(call.caller.told(3), Some(&GUEST.octets()[..]));
        call.lost = Vec::new().into_iter();
        call.caller.send(Protocol::IPV4, b"E1");
        call.server.send_packet(b"E2").expect("the link is up");
        call.exchange();
        prop_assert_eq!((&call.packets[..], &call.caller.packets[..]), (&[b"E1".to_vec()][..], &[b"E2".to_vec()][..]));
    }

    #[test]
    fn whatever_a_guest_says_the_server_takes_it_and_then_its_call(
        says in prop::collection::vec(
            (prop_oneof![Just(0xc021_u16), Just(0x8021), Just(0xc023), Just(0x0021), any::<u16>()],
             0..14_u8, 0..4_u8, prop::collection::vec(0..9_u8, 0..20), 0..4_u64),
            0..40),
        raw in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut call = Call::new(None);
        for (number, code, identifier, data, wait) in says {
            let packet = ControlPacket { code: Code(code), identifier, data: &data }.to_bytes();
            call.server.handle_frame(call.now, &ppp::frame(Protocol(number), &packet));
            call.server.handle_frame(call.now, &raw);
            call.now += Duration::from_secs(wait);
            call.server.handle_timeout(call.now);
            while call.server.poll_transmit().is_some() {}
            prop_assert!(call.server.timeout().is_none_or(|due| due > call.now));
        }
        call.run(60);
        prop_assert!(call.is_open());
    }
}
