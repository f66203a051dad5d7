//! What `start` is asked for, and how its data plane is reached.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{SocketAddrUnix, SocketType, connect};
use serde_json::{Map, Value};

use crate::channel::{Channel, Kind};
use crate::error::{Error, Result, Violation};
use crate::system::unix_socket;

/// A tunnel to be started: its interface's address, and what has a default.
///
/// ```
/// use hypertap_client::{Plane, Start};
/// let start = Start { mtu: Some(1400), plane: Plane::Stream, ..Start::new([10, 9, 0, 1].into()) };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The interface's IPv4 address, as a /32.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address, as a /128. Without one, IPv6 still works over routes.
    pub ipv6: Option<Ipv6Addr>,
    /// Its MTU in bytes, 68 to 65,507 (from 1280 with an IPv6 address); else the daemon's setting.
    pub mtu: Option<u32>,
    /// Its exact name; else the first free one of `hypertap0`, `hypertap1`, ….
    pub name: Option<String>,
    /// How packets travel.
    pub plane: Plane,
    /// Stop the tunnel when the machine's default route goes away or moves to another device.
    pub follow_default_route: bool,
}

/// How packets travel between the program and the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plane {
    /// One packet a UDP datagram, on loopback.
    Udp {
        /// Where the daemon takes packets.
        daemon: SocketAddr,
        /// Where the program takes them. Its port goes with `start`; port 0 is any free one. The
        /// address must be the daemon's.
        program: SocketAddr,
    },
    /// One packet a message of a Unix `SOCK_SEQPACKET` socket.
    Unix,
    /// Packets after their lengths in a Unix stream: many a system call, for the highest rates.
    Stream,
    /// The kernel's device itself, with nothing in between. Only over a Unix command socket.
    Fd {
        /// Leave the virtio-net header (10 bytes) on every packet and let segments be up to 64 KiB.
        offload: bool,
    },
}

impl Default for Plane {
    /// UDP, from the program's 127.0.0.1:5502 to the daemon's 127.0.0.1:5501.
    fn default() -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::Udp { daemon: at(5501), program: at(5502) }
    }
}

impl Plane {
    fn name(self) -> &'static str {
        match self {
            Self::Udp { .. } => "udp",
            Self::Unix => "unix",
            Self::Stream => "stream",
            Self::Fd { .. } => "fd",
        }
    }
}

impl Start {
    /// A tunnel with everything else at its default.
    pub fn new(ipv4: Ipv4Addr) -> Self {
        Self { ipv4, ipv6: None, mtu: None, name: None, plane: Plane::default(), follow_default_route: false }
    }
}

/// A start whose own end of the data plane is ready, so that no packet comes too early.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The fields of the command.
    pub(crate) fields: Map<String, Value>,
    plane: Plane,
    udp: Option<UdpSocket>,
}

impl Prepared {
    /// Binds what the program binds.
    ///
    /// # Errors
    /// [`Error::Io`] when the port is taken.
    pub(crate) fn new(start: &Start) -> Result<Self> {
        let failed = |source| Error::Io { doing: "bind the program's UDP address for packets", source };
        let udp = match start.plane {
            Plane::Udp { daemon, program } => Some(bind(daemon, program).map_err(failed)?),
            _ => None,
        };
        let mut fields = Map::new();
        fields.insert("myIPv4Address".into(), start.ipv4.to_string().into());
        let optional = [
            ("myIPv6Address", start.ipv6.map(|address| address.to_string().into())),
            ("mtu", start.mtu.map(Value::from)),
            ("name", start.name.as_deref().map(Value::from)),
            ("followDefaultRoute", start.follow_default_route.then_some(true.into())),
            ("offload", (start.plane == Plane::Fd { offload: true }).then_some(true.into())),
            // An old daemon knows UDP only, and no word for it.
            ("dataPlane", udp.is_none().then(|| start.plane.name().into())),
        ];
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        if let Some(udp) = &udp {
            fields.insert("receivePort".into(), udp.local_addr().map_err(failed)?.port().into());
        }
        Ok(Self { fields, plane: start.plane, udp })
    }

    /// Opens the data plane that the daemon's reply describes.
    ///
    /// # Errors
    /// [`Violation`] when it does not; [`Error::Io`] of connecting.
    pub(crate) fn open(self, reply: &Map<String, Value>, device: Option<OwnedFd>) -> Result<Channel> {
        let (descriptor, kind) = match (self.plane, self.udp) {
            (Plane::Udp { .. }, Some(udp)) => (udp.into(), Kind::Datagrams),
            (Plane::Fd { .. }, _) => (device.ok_or(Violation::NoDescriptor)?, Kind::Device),
            (plane, _) => {
                let path = reply.get("dataPath").and_then(Value::as_str);
                let path = path.ok_or(Violation::Field { verb: "start", field: "dataPath" })?;
                let (type_, kind) = match plane {
                    Plane::Unix => (SocketType::SEQPACKET, Kind::Messages),
                    _ => (SocketType::STREAM, Kind::frames()),
                };
                let failed = |source| Error::Io { doing: "connect to the daemon's data socket", source };
                (connect_unix(Path::new(path), type_).map_err(failed)?, kind)
            }
        };
        let failed = |source| Error::Io { doing: "prepare the data socket", source };
        Channel::new(descriptor, kind).map_err(failed)
    }
}

/// A UDP socket that takes packets from the daemon's address only.
fn bind(daemon: SocketAddr, program: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(program)?;
    socket.connect(daemon)?;
    Ok(socket)
}

/// Connects at once: the daemon listens before it names the path.
fn connect_unix(path: &Path, type_: SocketType) -> io::Result<OwnedFd> {
    let socket = unix_socket(type_)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypertap_wire::command::{DataPlane, StartFields};

    fn parsed(start: &Start) -> (StartFields, Prepared) {
        let prepared = Prepared::new(start).expect("a free port");
        (StartFields::parse(&prepared.fields).expect("what the daemon takes"), prepared)
    }

    #[test]
    fn the_daemon_reads_what_was_asked_for() {
        let start = Start {
            ipv6: Some(Ipv6Addr::LOCALHOST.to_bits().wrapping_add(0xfd << 120).into()),
            mtu: Some(1400),
            name: Some("t0".into()),
            plane: Plane::Fd { offload: true },
            follow_default_route: true,
            ..Start::new([10, 9, 0, 1].into())
        };
        let (fields, _) = parsed(&start);
        assert_eq!((fields.ipv4, fields.ipv6, fields.mtu), (start.ipv4, start.ipv6, start.mtu));
        assert_eq!((fields.name, fields.data_plane), (start.name, DataPlane::Fd));
        assert!(fields.offload && fields.follow_default_route);
        for (plane, wire) in [(Plane::Unix, DataPlane::Unix), (Plane::Stream, DataPlane::Stream)] {
            let (fields, _) = parsed(&Start { plane, ..Start::new([10, 9, 0, 1].into()) });
            assert_eq!(fields.data_plane, wire);
        }
    }

    #[test]
    fn over_udp_the_port_that_is_bound_is_the_port_that_is_asked_for() {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let plane = Plane::Udp { daemon: at(5501), program: at(0) };
        let (fields, prepared) = parsed(&Start { plane, ..Start::new([10, 9, 0, 1].into()) });
        let bound = prepared.udp.expect("bound").local_addr().expect("an address").port();
        assert_eq!((fields.data_plane, fields.receive_port), (DataPlane::Udp, Some(bound)));
        assert!(!prepared.fields.contains_key("dataPlane"), "an old daemon has no such field");
    }

    #[test]
    fn a_reply_without_the_way_to_the_data_plane_is_a_violation() {
        let open = |plane| {
            let start = Start { plane, ..Start::new([10, 9, 0, 1].into()) };
            Prepared::new(&start).expect("nothing to bind").open(&Map::new(), None).expect_err("no way")
        };
        assert!(matches!(open(Plane::Fd { offload: false }), Error::Protocol(Violation::NoDescriptor)));
        assert!(matches!(open(Plane::Stream), Error::Protocol(Violation::Field { verb: "start", .. })));
    }
}
