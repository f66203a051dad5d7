//! A guest for the tests: the calling end, written as plainly as it can be.

use hypertap_wire::hdlc::{self, Accm, Decoder};
use hypertap_wire::ppp::control::{Code, ConfigureOption, ControlPacket, options};
use hypertap_wire::ppp::{self, Protocol};

/// An option by number and value.
pub(crate) type Wish = (u8, Vec<u8>);

/// One control protocol of the guest's.
pub(crate) struct Side {
    pub(crate) wishes: Vec<Wish>,
    identifier: u8,
    /// The server granted the wishes.
    pub(crate) is_granted: bool,
    /// The guest granted the server's.
    has_granted: bool,
}

impl Side {
    fn new(wishes: Vec<Wish>) -> Self {
        Self { wishes, identifier: 0, is_granted: false, has_granted: false }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_granted && self.has_granted
    }

    fn reset(&mut self) {
        (self.is_granted, self.has_granted) = (false, false);
    }

    fn list(&self) -> Vec<u8> {
        let mut list = Vec::new();
        self.wishes.iter().for_each(|(kind, value)| ConfigureOption { kind: *kind, value }.write(&mut list));
        list
    }
}

/// How a guest behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Plain,
    /// It takes what the server would rather have for nothing.
    Insisting,
    /// It knows of nothing but LCP.
    LinkOnly,
}

pub(crate) struct Caller {
    pub(crate) lcp: Side,
    pub(crate) ipcp: Side,
    pub(crate) credentials: Option<(&'static str, &'static str)>,
    has_to_prove: bool,
    pub(crate) has_proved: bool,
    pub(crate) manner: Manner,
    /// How often it asked since something came.
    unanswered: u8,
    decoder: Decoder,
    pub(crate) accm: Accm,
    outgoing: Vec<Vec<u8>>,
    /// Control packets that came.
    pub(crate) came: Vec<(Protocol, Code, Vec<u8>)>,
    /// IPv4 packets that came.
    pub(crate) packets: Vec<Vec<u8>>,
}

impl Caller {
    /// A guest that asks for what consoles ask for: an MRU, no escapes, a number, both compressions;
    /// header compression, an address, two servers.
    pub(crate) fn new() -> Self {
        let link = vec![(1, vec![5, 0xdc]), (2, vec![0; 4]), (5, vec![1, 2, 3, 4]), (7, vec![]), (8, vec![])];
        let address = vec![(2, vec![0, 0x2d, 15, 1]), (3, vec![0; 4]), (129, vec![0; 4]), (131, vec![0; 4])];
        Self {
            lcp: Side::new(link),
            ipcp: Side::new(address),
            credentials: None,
            has_to_prove: false,
            has_proved: false,
            manner: Manner::Plain,
            unanswered: 0,
            decoder: Decoder::new(2000),
            accm: Accm::ALL,
            outgoing: Vec::new(),
            came: Vec::new(),
            packets: Vec::new(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.ipcp.is_open() && self.is_past_proof()
    }

    /// The value that the guest has for an option of IPCP.
    pub(crate) fn told(&self, kind: u8) -> Option<&[u8]> {
        self.ipcp.wishes.iter().find(|(known, _)| *known == kind).map(|(_, value)| &value[..])
    }

    /// The codes that came of a protocol.
    pub(crate) fn codes(&self, protocol: Protocol) -> Vec<Code> {
        let of_it = self.came.iter().filter(|(of, ..)| *of == protocol);
        of_it.map(|(_, code, _)| *code).collect()
    }

    /// Asks (again) for what is not granted yet; hangs up when nothing ever comes.
    pub(crate) fn tick(&mut self) {
        self.unanswered += 1;
        if self.unanswered > 10 {
            self.unanswered = 0;
            self.hang_up();
        }
        if !self.lcp.is_granted {
            self.ask_again(Protocol::LCP);
        } else if self.lcp.is_open() && !self.is_past_proof() {
            if let Some((name, password)) = self.credentials {
                let mut data = Vec::new();
                for text in [name, password] {
                    data.push(u8::try_from(text.len()).unwrap());
                    data.extend(text.as_bytes());
                }
                self.send_control(Protocol::PAP, Code(1), 1, &data);
            }
        } else if self.lcp.is_open() && !self.ipcp.is_granted {
            self.ask_again(Protocol::IPCP);
        } else {
            self.send_control(Protocol::LCP, Code::ECHO_REQUEST, 0, &[0; 4]);
        }
    }

    pub(crate) fn hang_up(&mut self) {
        self.send_control(Protocol::LCP, Code::TERMINATE_REQUEST, 77, b"bye");
        self.lcp.reset();
        self.ipcp.reset();
    }

    pub(crate) fn send(&mut self, protocol: Protocol, packet: &[u8]) {
        let mut frame = Vec::new();
        hdlc::encode(&ppp::frame(protocol, packet), self.accm, &mut frame);
        self.outgoing.push(frame);
    }

    pub(crate) fn send_control(&mut self, protocol: Protocol, code: Code, identifier: u8, data: &[u8]) {
        self.send(protocol, &ControlPacket { code, identifier, data }.to_bytes());
    }

    /// The frames to the server.
    pub(crate) fn take_outgoing(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.outgoing)
    }

    pub(crate) fn handle_stream(&mut self, mut stream: &[u8]) {
        let mut frames = Vec::new();
        while let Some(frame) = self.decoder.next(&mut stream) {
            frames.push(frame.expect("the server sends whole frames").to_vec());
        }
        for frame in frames {
            self.unanswered = 0;
            let (protocol, packet) = ppp::parse(&frame).expect("the server sends packets");
            if protocol == Protocol::IPV4 {
                self.packets.push(packet.to_vec());
            } else {
                let packet = ControlPacket::parse(packet).expect("the server sends control packets");
                self.came.push((protocol, packet.code, packet.data.to_vec()));
                self.on_control(protocol, packet);
            }
        }
    }

    fn is_past_proof(&self) -> bool {
        self.has_proved || !self.has_to_prove
    }

    fn side(&mut self, protocol: Protocol) -> &mut Side {
        if protocol == Protocol::LCP { &mut self.lcp } else { &mut self.ipcp }
    }

    /// Asks anew.
    pub(crate) fn ask(&mut self, protocol: Protocol) {
        let side = self.side(protocol);
        side.identifier = side.identifier.wrapping_add(1);
        self.ask_again(protocol);
    }

    fn ask_again(&mut self, protocol: Protocol) {
        let side = self.side(protocol);
        let (identifier, list) = (side.identifier, side.list());
        self.send_control(protocol, Code::CONFIGURE_REQUEST, identifier, &list);
    }

    fn on_control(&mut self, protocol: Protocol, packet: ControlPacket<'_>) {
        match (protocol, packet.code) {
            (Protocol::PAP, code) => {
                self.has_proved |= code == Code(2);
                self.tick();
            }
            (Protocol::IPCP, _)
                if self.manner == Manner::LinkOnly || !(self.lcp.is_open() && self.is_past_proof()) => {}
            (_, Code::CONFIGURE_REQUEST) => self.on_request(protocol, packet),
            (_, Code::CONFIGURE_ACK) => {
                let was_open = self.lcp.is_open();
                let side = self.side(protocol);
                side.is_granted |= packet.identifier == side.identifier && packet.data == side.list();
                self.go_on(was_open);
            }
            (_, Code::CONFIGURE_NAK | Code::CONFIGURE_REJECT) => self.on_refusal(protocol, packet),
            (_, Code::TERMINATE_REQUEST) => {
                self.send_control(protocol, Code::TERMINATE_ACK, packet.identifier, &[]);
                self.side(protocol).reset();
                self.ipcp.reset();
            }
            _ => {}
        }
    }

    fn on_request(&mut self, protocol: Protocol, packet: ControlPacket<'_>) {
        if protocol == Protocol::LCP {
            let asked = options(packet.data).expect("a list");
            self.has_to_prove = asked.iter().any(|option| option.kind == 3);
            self.ipcp.reset();
            self.has_proved = false;
        }
        let was_open = self.lcp.is_open();
        let side = self.side(protocol);
        let begins_anew = side.is_open();
        side.is_granted &= !begins_anew;
        side.has_granted = true;
        self.send_control(protocol, Code::CONFIGURE_ACK, packet.identifier, packet.data);
        if begins_anew {
            self.ask(protocol);
        }
        self.go_on(was_open);
    }

    /// Begins what comes next when the link has just opened.
    fn go_on(&mut self, was_open: bool) {
        if self.lcp.is_open() && !was_open && self.manner != Manner::LinkOnly {
            self.tick();
        }
    }

    fn on_refusal(&mut self, protocol: Protocol, packet: ControlPacket<'_>) {
        let side = self.side(protocol);
        if packet.identifier != side.identifier {
            return;
        }
        let is_nak = packet.code == Code::CONFIGURE_NAK;
        let stays = is_nak && self.manner == Manner::Insisting;
        let side = self.side(protocol);
        for option in options(packet.data).expect("a list").into_iter().filter(|_| !stays) {
            side.wishes.retain(|(kind, _)| *kind != option.kind);
            if is_nak {
                side.wishes.push((option.kind, option.value.to_vec()));
            }
        }
        self.ask(protocol);
    }
}
