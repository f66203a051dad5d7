//! Clients on a telephone line.

use std::fs::File;
use std::net::Ipv4Addr;
use std::rc::Rc;

use hypertap_wire::ethernet::{EtherType, ethertype, source};
use hypertap_wire::hdlc::{Accm, Decoder, encode};
use hypertap_wire::ppp::control::{Code, ControlPacket};
use hypertap_wire::ppp::{self, Protocol};

use super::*;
use crate::tap::fabric::lan::Lan;
use crate::tap::fabric::modem::ModemLine;
use crate::tap::fabric::port::Link;

const STATION: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x77]);

fn settings() -> ModemSettings {
    ModemSettings {
        mac: STATION,
        address: "10.9.8.2/24".parse().unwrap(),
        host: Ipv4Addr::new(10, 9, 8, 1),
        dns: Vec::new(),
        credentials: None,
        magic: 7,
    }
}

impl Bench {
    async fn modem(&self) -> Client {
        let (near, stream) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let id = ClientId::next();
        self.fabric.attach_modem(id, self.places.take().unwrap(), near.into(), settings()).await;
        Client { id, stream }
    }
}

impl Client {
    fn send_control(&mut self, protocol: Protocol, packet: ControlPacket<'_>) {
        let mut message = Vec::new();
        encode(&ppp::frame(protocol, &packet.to_bytes()), Accm(u32::MAX), &mut message);
        self.send(&[message]);
    }

    /// Reads one message and acknowledges it if it is a request. Returns what it was.
    fn answer(&mut self) -> (Protocol, Code) {
        let message = self.receive_le16();
        let mut decoder = Decoder::new(2000);
        let frame = decoder.next(&mut message.as_slice()).expect("a message is a frame").unwrap().to_vec();
        let (protocol, packet) = ppp::parse(&frame).unwrap();
        let packet = ControlPacket::parse(packet).unwrap();
        if packet.code == Code::CONFIGURE_REQUEST {
            self.send_control(protocol, ControlPacket { code: Code::CONFIGURE_ACK, ..packet });
        }
        (protocol, packet.code)
    }
}

#[tokio::test]
async fn a_guest_on_a_line_is_a_station_of_the_lan() {
    let bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let mut guest = bench.modem().await;
    let request = |data| ControlPacket { code: Code::CONFIGURE_REQUEST, identifier: 1, data };
    guest.send_control(Protocol::LCP, request(&[]));
    while guest.answer() != (Protocol::LCP, Code::CONFIGURE_ACK) {}
    guest.send_control(Protocol::IPCP, request(&[3, 6, 10, 9, 8, 2]));
    while guest.answer() != (Protocol::IPCP, Code::CONFIGURE_ACK) {}
    let announced = machine.receive(1).remove(0);
    assert_eq!((source(&announced), ethertype(&announced)), (Some(STATION), Some(EtherType::ARP)));

    // Who has its address? The station answers.
    let mut asking = [[0xff; 6].as_slice(), &HOST, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &HOST].concat();
    asking.extend_from_slice(&[10, 9, 8, 1, 0, 0, 0, 0, 0, 0, 10, 9, 8, 2]);
    machine.send(&[asking]);
    let answer = machine.receive(1).remove(0);
    assert_eq!((&answer[..6], &answer[20..22]), (HOST.as_slice(), [0, 2].as_slice()));
}

#[tokio::test]
async fn a_report_tells_what_the_station_dropped() {
    let bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let mut guest = bench.modem().await;
    guest.send(&[vec![0x7e, 1, 2, 3, 4, 5, 6, 0x7e]]);
    machine.send(&[frame(STATION.0, HOST, 1, 60)]);
    bench.until(guest.origin(), |port| port.frames_out == 1 && port.frames_in == 1).await;
    let report = bench.report_of(guest.origin()).await;
    assert_eq!(report.modem.into_iter().collect::<Vec<_>>(), [("badPacket", 1), ("damagedFrame", 1)]);
}

#[tokio::test]
async fn what_a_line_waits_for_is_sent_again_in_time() {
    let bench = Bench::start(1);
    let mut guest = bench.modem().await;
    guest.send_control(
        Protocol::LCP,
        ControlPacket { code: Code::CONFIGURE_REQUEST, identifier: 1, data: &[] },
    );
    let (mut requests, mut decoder) = (0, Decoder::new(2000));
    while requests < 2 {
        let message = guest.receive_le16();
        let frame = decoder.next(&mut message.as_slice()).unwrap().unwrap();
        let (_, packet) = ppp::parse(frame).unwrap();
        requests += usize::from(ControlPacket::parse(packet).unwrap().code == Code::CONFIGURE_REQUEST);
    }
}

#[test]
fn a_station_waits_once_for_its_turn_however_much_comes_for_it() {
    let mut lan = Lan::new(Poller::new().unwrap(), 7, None);
    let mut add = |stream: UnixStream| {
        let line = ModemLine::new(Rc::new(File::from(OwnedFd::from(stream))), settings());
        lan.add(Origin::Client(ClientId::next()), Link::Modem(Box::new(line)), None).unwrap()
    };
    let (one, other) = UnixStream::pair().unwrap();
    let (from, to) = (add(one), add(other));
    let mut batch = Batch::new(6000, 100);
    for number in 0..100 {
        assert!(batch.push(&frame([0xff; 6], mac(1), number, 60)));
    }
    for _ in 0..2 {
        lan.forward(from, &mut batch, 0);
        lan.list_modem(to.slot());
        assert_eq!((lan.take_modem(), lan.take_modem()), (Some(to.slot()), None));
    }
}
