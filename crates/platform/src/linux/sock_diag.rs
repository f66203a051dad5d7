//! Who owns the other end of a socket on this machine: `sock_diag(7)`.
//!
//! A single look-up, not a dump: the kernel finds the socket by its addresses, as it would for a
//! packet, and says the uid. Needs no right. The two kinds of look-up put the addresses in opposite
//! order, which is the kernel's doing: for TCP, "source" is the address of the socket that is looked
//! for; for UDP it is the source of a packet that this socket would receive, so it is our address.
//! The other way round, a UDP look-up finds our own socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use netlink_packet_core::{
    NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, Parseable,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

/// The loopback interface's index, the same in every network namespace (the kernel's
/// `LOOPBACK_IFINDEX`). Packets between two addresses of one machine arrive on it.
const LOOPBACK: u32 = 1;
/// "Any cookie": the look-up is by addresses alone.
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// `TCP_LISTEN` of the kernel's `tcp_states.h`.
const LISTEN: u8 = 10;
/// More than the one reply needs, with every attribute that the kernel adds unasked.
const REPLY_BYTES: usize = 4096;

/// A connection to the kernel's socket tables, in the network namespace it was made in.
///
/// One look-up takes some microseconds and never waits for anything but the kernel.
pub struct PeerLookup {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl PeerLookup {
    /// Opens the connection, in the calling thread's network namespace.
    ///
    /// # Errors
    /// What the kernel said to the netlink socket (a kernel without `CONFIG_INET_DIAG` refuses it).
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        // The kernel answers within the send call; the bound only keeps a surprise from blocking us.
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &TimeVal::seconds(1))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(REPLY_BYTES) })
    }

    /// The uid that owns the other end of our TCP connection: `ours` is this end's address,
    /// `peer` the other's. `None` when that end is no open socket of this machine (any more): a
    /// socket that was closed shows uid 0 and inode 0, and must not count as root's.
    ///
    /// # Errors
    /// What the kernel said, other than that there is no such socket.
    pub fn tcp_peer(&mut self, ours: SocketAddr, peer: SocketAddr) -> io::Result<Option<u32>> {
        let Some(header) = self.look_up(libc::IPPROTO_TCP, peer, ours)? else { return Ok(None) };
        // Where the connection is gone, the kernel falls back to whoever listens on its port.
        let listens = header.state == LISTEN || header.socket_id.destination_port != ours.port();
        Ok((!listens && header.inode != 0).then_some(header.uid))
    }

    /// The uid that owns the UDP socket which would receive a datagram from `ours` to `peer`:
    /// connected to us or not, bound to that address or to any.
    ///
    /// # Errors
    /// What the kernel said, other than that there is no such socket.
    pub fn udp_owner(&mut self, ours: SocketAddr, peer: SocketAddr) -> io::Result<Option<u32>> {
        let Some(header) = self.look_up(libc::IPPROTO_UDP, ours, peer)? else { return Ok(None) };
        let found = header.inode != 0 && header.socket_id.source_port == peer.port();
        Ok(found.then_some(header.uid))
    }

    fn look_up(
        &mut self,
        protocol: i32,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> io::Result<Option<InetResponseHeader>> {
        let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
        let family = match (from, to) {
            (IpAddr::V4(_), IpAddr::V4(_)) => libc::AF_INET,
            (IpAddr::V6(_), IpAddr::V6(_)) => libc::AF_INET6,
            _ => return Ok(None),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let request = InetRequest {
            family: u8::try_from(family).expect("the two families fit a byte"),
            protocol: u8::try_from(protocol).expect("the two protocols fit a byte"),
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id: SocketId {
                source_port: source.port(),
                destination_port: destination.port(),
                source_address: from,
                destination_address: to,
                interface_id: scope(source).or_else(|| scope(destination)).unwrap_or(LOOPBACK),
                cookie: NO_COOKIE,
            },
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        let payload = NetlinkPayload::from(SockDiagMessage::InetRequest(request));
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        self.buffer.clear();
        self.buffer.resize(message.buffer_len(), 0);
        message.serialize(&mut self.buffer);
        self.socket.send(&self.buffer, 0)?;
        self.reply()
    }

    /// Reads until the reply to the last request; an answer to an earlier one is skipped.
    fn reply(&mut self) -> io::Result<Option<InetResponseHeader>> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let Ok(packet) = NetlinkBuffer::new_checked(self.buffer.as_slice()) else {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            };
            if packet.sequence_number() != self.sequence {
                continue;
            }
            if packet.message_type() == NLMSG_ERROR {
                return no_socket(packet.payload());
            }
            return InetResponseHeader::parse(packet.payload())
                .map(Some)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
}

/// Reads an `nlmsgerr`: "no such socket" is an answer, everything else an error.
fn no_socket(payload: &[u8]) -> io::Result<Option<InetResponseHeader>> {
    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    match code.wrapping_neg() {
        libc::ENOENT => Ok(None),
        0 => Err(io::Error::from(io::ErrorKind::InvalidData)),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn scope(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => Some(address.scope_id()),
        _ => None,
    }
}
