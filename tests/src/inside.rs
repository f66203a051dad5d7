//! The machine's end of the tunnel: a UDP socket at the tunnel's address, and packets that come to it from
//! afar.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use crate::packet::udp4;
use crate::wait::TIME;

/// The tunnel's address, which `start` is given.
pub const OURS: Ipv4Addr = Ipv4Addr::new(5, 5, 5, 5);
/// An address beyond the tunnel, in 10.9.0.0/16.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// Where [`receiver`] listens.
const PORT: u16 = 7000;
/// Whence [`to_us`] comes.
const FAR_PORT: u16 = 8000;

/// A socket that waits for what comes to [`OURS`] at port 7000.
#[track_caller]
pub fn receiver() -> UdpSocket {
    receiver_at((OURS, PORT).into())
}

/// As [`receiver`], somewhere else.
#[track_caller]
pub fn receiver_at(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("the address is here");
    socket.set_read_timeout(Some(TIME)).expect("not zero");
    socket
}

/// The next datagram, and who sent it.
#[track_caller]
pub fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65536];
    let (count, from) = socket.recv_from(&mut bytes).expect("it arrives");
    bytes.truncate(count);
    (bytes, from)
}

/// The next datagram must be this.
#[track_caller]
pub fn assert_received(socket: &UdpSocket, expected: &[u8]) {
    assert_eq!(received(socket).0, expected);
}

/// A packet from [`FAR`] at port 8000 to [`receiver`].
pub fn to_us(payload: &[u8]) -> Vec<u8> {
    udp4((FAR, FAR_PORT), (OURS, PORT), payload)
}
