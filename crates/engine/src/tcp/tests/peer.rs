//! The program's end: a smoltcp stack of its own, with real handshakes and checksums.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use super::super::segment::{FIN, Segment, after};

/// When a FIN is sent again whatever smoltcp does.
const AGAIN: Duration = Duration::from_secs(3);

pub struct Peer {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    device: Queues,
    /// The last FIN that was sent, and when. smoltcp may forget to send it again.
    fin: Option<(Duration, Vec<u8>)>,
    /// The last packet with a window that came. smoltcp may forget to ask for it when it was closed meanwhile.
    open: Option<Vec<u8>>,
}

impl Peer {
    /// A program that connects from `from` to `to` at once.
    pub fn connect(from: SocketAddr, to: SocketAddr, mtu: usize, buffer: usize, seed: u64) -> Self {
        let mut device = Queues { mtu, ..Queues::default() };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(from.ip().into(), 0)).expect("room for one address");
        });
        let buffers = || SocketBuffer::new(vec![0; buffer]);
        let mut socket = Socket::new(buffers(), buffers());
        socket.set_nagle_enabled(false);
        let to = (IpAddress::from(to.ip()), to.port());
        socket.connect(interface.context(), to, from.port()).expect("an address");
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Self { interface, sockets, handle, device, fin: None, open: None }
    }

    pub fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub fn deliver(&mut self, packet: Vec<u8>) {
        let newest = self.open.as_deref().and_then(|open| Segment::parse(open, false));
        if let Some(segment) = Segment::parse(&packet, false)
            && segment.window > 0
            && newest.is_none_or(|newest| !after(newest.ack, segment.ack) && !after(newest.seq, segment.seq))
        {
            self.open = Some(packet.clone());
        }
        self.device.received.push_back(packet);
    }

    /// Works, and returns what it sends.
    pub fn poll(&mut self, now: Duration) -> VecDeque<Vec<u8>> {
        let instant = Instant::from_micros(i64::try_from(now.as_micros()).expect("a test is short"));
        self.interface.poll(instant, &mut self.device, &mut self.sockets);
        let mut sent = std::mem::take(&mut self.device.sent);
        for packet in &sent {
            if Segment::parse(packet, false).is_some_and(|segment| segment.has(FIN)) {
                self.fin = Some((now, packet.clone()));
            }
        }
        let unanswered = matches!(self.socket().state(), State::FinWait1 | State::LastAck | State::Closing);
        if let Some((at, fin)) = &mut self.fin
            && unanswered
            && now >= *at + AGAIN
        {
            sent.push_back(fin.clone());
            *at = now;
        }
        sent
    }

    pub fn poll_at(&mut self, now: Duration) -> Option<Duration> {
        let instant = Instant::from_micros(i64::try_from(now.as_micros()).expect("a test is short"));
        let unanswered = matches!(self.socket().state(), State::FinWait1 | State::LastAck | State::Closing);
        let fin = self.fin.as_ref().filter(|_| unanswered).map(|(at, _)| *at + AGAIN);
        let mut at = self.interface.poll_at(instant, &self.sockets);
        if at.is_none() && self.socket().send_queue() > 0 {
            self.device.received.extend(self.open.clone());
            at = Some(instant + smoltcp::time::Duration::from_secs(1));
        }
        let at = at.map(|at| Duration::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)));
        [at, fin].into_iter().flatten().min()
    }
}

#[derive(Default)]
struct Queues {
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
    mtu: usize,
}

struct Received(Vec<u8>);
struct Sent<'a>(&'a mut VecDeque<Vec<u8>>);

impl Device for Queues {
    type RxToken<'t> = Received;
    type TxToken<'t> = Sent<'t>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sent<'_>)> {
        Some((Received(self.received.pop_front()?), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
