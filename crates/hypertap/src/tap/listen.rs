//! Where clients come in: sockets of our own, inherited ones, and the tasks that accept.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hypertap_platform::guest_socket::GuestSocket;
use hypertap_platform::inherited::Inherited;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, UnixDatagram, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::fabric::ListenId;
use super::refusals::Refusals;
use super::settings::{Protocol, Settings};
use crate::cli::tap::Place;
use crate::exit::{Exit, Failure};
use crate::socket_file::{self, Kind, NotBound, SocketFile, Whom};

/// How long is waited when the process has run out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How many may wait in the kernel to be accepted.
const BACKLOG: i32 = 128;
/// How many that have connected may wait for the server.
const ARRIVALS: usize = 16;

/// A client that has connected.
#[derive(Debug)]
pub struct Newcomer {
    /// Its connection.
    pub stream: OwnedFd,
    /// How it speaks.
    pub protocol: Protocol,
    /// Where it came in, to show.
    pub by: String,
    /// Whether it is the program that was started.
    pub is_program: bool,
}

/// Somebody who came.
#[derive(Debug)]
pub enum Arrival {
    /// A client.
    Client(Newcomer),
    /// The first datagram of a socket for guests, which is still in it.
    Guests(Door),
}

/// A socket for guests.
#[derive(Debug)]
pub struct Door {
    /// Its number.
    pub id: ListenId,
    /// The socket.
    pub socket: OwnedFd,
}

/// All that clients come in by.
#[derive(Debug, Default)]
pub struct Doors {
    listeners: Vec<(Listener, Protocol, String)>,
    datagrams: Vec<(OwnedFd, String)>,
    /// Those that are connected already.
    pub connected: Vec<Newcomer>,
    /// The files of our own sockets.
    pub files: Vec<SocketFile>,
}

#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Doors {
    /// Opens what the settings name, and sorts what was inherited. To be called while the process has one
    /// thread, in a tokio runtime.
    ///
    /// # Errors
    /// [`Exit::Taken`] naming the place, or why it cannot be had.
    pub fn open(settings: &Settings, inherited: Vec<(i32, Inherited)>) -> Result<Self, Failure> {
        let mut doors = Self::default();
        for (place, protocol) in &settings.listens {
            doors.open_one(settings, place, *protocol)?;
        }
        for (number, socket) in inherited {
            doors.sort(settings, number, socket)?;
        }
        Ok(doors)
    }

    fn open_one(&mut self, settings: &Settings, place: &Place, protocol: Protocol) -> Result<(), Failure> {
        let name = place.to_string();
        let listener = match place {
            Place::Tcp(address) => {
                let others = settings.listens.iter().map(|(place, _)| place);
                Listener::Tcp(listen_tcp(*address, leaves_ipv4_to_another(*address, others))?)
            }
            Place::Unix(path) => {
                let kind = if protocol == Protocol::Datagram { Kind::Datagram } else { Kind::Stream };
                let bound = socket_file::bind_for(path, kind, &settings.access);
                let (socket, file) = bound.map_err(|error| refused(path, error))?;
                self.files.push(file);
                if kind == Kind::Datagram {
                    return self.add_datagrams(settings, socket, name);
                }
                Listener::Unix(unix(socket).with_context(|| format!("cannot listen on {name}"))?)
            }
        };
        self.listeners.push((listener, protocol, name));
        Ok(())
    }

    /// Adds a socket for guests. From now on the kernel says of each datagram who sent it, also of the first,
    /// which comes before the socket is the fabric's.
    fn add_datagrams(&mut self, settings: &Settings, socket: OwnedFd, name: String) -> Result<(), Failure> {
        let another = socket.try_clone();
        let set_up = another.and_then(|socket| GuestSocket::new(socket, settings.mtu as usize));
        set_up.with_context(|| format!("cannot serve guests on {name}"))?;
        self.datagrams.push((socket, name));
        Ok(())
    }

    fn sort(&mut self, settings: &Settings, number: i32, socket: Inherited) -> Result<(), Failure> {
        let protocol = settings.protocol;
        let name = format!("descriptor {number}");
        let is_datagram = matches!(socket, Inherited::Datagram(_) | Inherited::ConnectedDatagram(_));
        let usage = |text: &str| Failure::new(Exit::Usage, anyhow!("--fd {number}: {text}"));
        if protocol == Protocol::Datagram && !is_datagram {
            return Err(usage("it is a stream, and --framing is datagram"));
        }
        match socket {
            Inherited::Stream(stream) => {
                prepare(&stream).with_context(|| format!("--fd {number}"))?;
                self.connected.push(Newcomer { stream, protocol, by: name, is_program: false })
            }
            Inherited::UnixListener(socket) => {
                let listener = unix(socket).with_context(|| format!("--fd {number}"))?;
                self.listeners.push((Listener::Unix(listener), protocol, name));
            }
            Inherited::TcpListener(socket) => {
                let listener = tcp(socket.into()).with_context(|| format!("--fd {number}"))?;
                self.listeners.push((Listener::Tcp(listener), protocol, name));
            }
            _ if is_datagram && protocol == Protocol::Modem => {
                return Err(usage("it is a datagram socket, and a modem's guest speaks in a stream"));
            }
            Inherited::Datagram(socket) => self.add_datagrams(settings, socket, name)?,
            Inherited::ConnectedDatagram(stream) => {
                let protocol = Protocol::Datagram;
                self.connected.push(Newcomer { stream, protocol, by: name, is_program: false });
            }
        }
        Ok(())
    }

    /// Whether somebody may come in later.
    pub fn is_open(&self) -> bool {
        !self.listeners.is_empty() || !self.datagrams.is_empty()
    }

    /// Where clients may connect, with how they are to speak; for the log.
    pub fn names(&self) -> Vec<(String, Protocol)> {
        let listeners = self.listeners.iter().map(|(_, protocol, name)| (name.clone(), *protocol));
        let datagrams = self.datagrams.iter().map(|(_, name)| (name.clone(), Protocol::Datagram));
        listeners.chain(datagrams).collect()
    }

    /// The name of a socket for guests.
    pub fn name_of(&self, id: ListenId) -> &str {
        self.datagrams.get(id.0).map_or("", |(_, name)| name)
    }

    /// Starts accepting, in tasks that end with the set.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn accept(&mut self) -> io::Result<(JoinSet<()>, mpsc::Receiver<Arrival>)> {
        let (arrivals, arrived) = mpsc::channel(ARRIVALS);
        let mut tasks = JoinSet::new();
        for (listener, protocol, name) in self.listeners.drain(..) {
            tasks.spawn(accept(listener, protocol, name, arrivals.clone()));
        }
        for (at, (socket, _)) in self.datagrams.iter().enumerate() {
            let door = Door { id: ListenId(at), socket: socket.try_clone()? };
            tasks.spawn(wait_for_guests(door, arrivals.clone()));
        }
        Ok((tasks, arrived))
    }
}

fn unix(socket: OwnedFd) -> io::Result<UnixListener> {
    let listener = StdUnixListener::from(socket);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn tcp(listener: StdTcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Whether a socket at this address is to leave IPv4 to another that has the port there: one at `[::]` alone takes
/// both.
fn leaves_ipv4_to_another<'a>(address: SocketAddr, mut places: impl Iterator<Item = &'a Place>) -> bool {
    address.is_ipv6()
        && places.any(
            |place| matches!(place, Place::Tcp(other) if other.is_ipv4() && other.port() == address.port()),
        )
}

fn bind_tcp(address: SocketAddr, only_v6: bool) -> io::Result<StdTcpListener> {
    if !only_v6 {
        return StdTcpListener::bind(address);
    }
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.set_only_v6(true)?;
    // As the other way has it.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn listen_tcp(address: SocketAddr, only_v6: bool) -> Result<TcpListener, Failure> {
    let listener = bind_tcp(address, only_v6).and_then(tcp).map_err(|error| {
        let (exit, what) = match error.kind() {
            ErrorKind::AddrInUse => {
                (Exit::Taken, "is in use by another program; choose another with --listen")
            }
            ErrorKind::AddrNotAvailable => {
                (Exit::Taken, "is no address of this machine; choose another with --listen")
            }
            ErrorKind::PermissionDenied => {
                (Exit::Right, "needs a right that this process lacks; choose a port above 1023 with --listen")
            }
            _ => {
                let context = format!("cannot listen on TCP {address}");
                return Failure::new(Exit::Other, anyhow::Error::from(error).context(context));
            }
        };
        Failure::new(exit, anyhow!("TCP {address} {what}"))
    })?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches this address over the network may send and get frames");
    }
    Ok(listener)
}

/// The sentence for a path that cannot be listened on.
fn refused(path: &Path, error: NotBound) -> Failure {
    let path = path.display();
    match error {
        NotBound::Other | NotBound::Live | NotBound::Foreign | NotBound::Replaced => {
            Failure::new(Exit::Taken, anyhow!("{path} {error}; choose another path with --listen"))
        }
        NotBound::NotGiven { whom, .. } => {
            let remedy = match whom {
                Whom::User(_) => "only root gives files away: leave --socket-owner out, or use sudo",
                Whom::Group(_) => {
                    "it takes root, or a member: choose one of yours with --socket-group, or use sudo"
                }
            };
            Failure::new(Exit::Right, anyhow!("{path} {error}; {remedy}"))
        }
        NotBound::Io(error) => {
            let (exit, remedy) = match error.kind() {
                ErrorKind::PermissionDenied => (Exit::Right, "; choose another path with --listen"),
                ErrorKind::NotFound => {
                    (Exit::Usage, "; make its folder, or choose another path with --listen")
                }
                ErrorKind::NotADirectory => (Exit::Usage, "; choose another path with --listen"),
                _ => (Exit::Other, ""),
            };
            let context = format!("cannot listen on {path}{remedy}");
            Failure::new(exit, anyhow::Error::from(error).context(context))
        }
    }
}

/// Takes connections for ever.
async fn accept(listener: Listener, protocol: Protocol, name: String, arrivals: mpsc::Sender<Arrival>) {
    let mut failures = Refusals::default();
    loop {
        let accepted = match &listener {
            Listener::Unix(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    stream.into_std().map(|stream: StdUnixStream| (stream.into(), name.clone()))
                }
                Err(error) => Err(error),
            },
            Listener::Tcp(listener) => match listener.accept().await {
                Ok((stream, peer)) => stream.into_std().and_then(|stream| {
                    prepare(&stream)?;
                    Ok((stream.into(), format!("{name} from {peer}")))
                }),
                Err(error) => Err(error),
            },
        };
        match accepted {
            Ok((stream, by)) => {
                let newcomer = Newcomer { stream, protocol, by, is_program: false };
                if arrivals.send(Arrival::Client(newcomer)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                if let Some(times) = failures.count(Instant::now()) {
                    tracing::warn!(%error, listen = name, times, "cannot accept a connection");
                }
                if error.kind() != ErrorKind::ConnectionAborted {
                    sleep(EXHAUSTED).await;
                }
            }
        }
    }
}

/// Over TCP frames do not wait for more of them, and a machine that is gone is found out some day.
fn prepare(stream: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(stream);
    if socket.local_addr()?.as_socket().is_none() {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)
}

/// Waits for the first datagram, which is left where it is: the interface is to be there before.
async fn wait_for_guests(door: Door, arrivals: mpsc::Sender<Arrival>) {
    let socket = door.socket.try_clone().and_then(|socket| UnixDatagram::from_std(socket.into()));
    let waited = match socket {
        Ok(socket) => socket.readable().await,
        Err(error) => Err(error),
    };
    if let Err(error) = waited {
        tracing::warn!(%error, "cannot wait for guests; they are served at once");
    }
    let _ = arrivals.send(Arrival::Guests(door)).await;
}
