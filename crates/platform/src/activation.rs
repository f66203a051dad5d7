//! Sockets that a service manager opened for us (`sd_listen_fds(3)`).

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};

/// What the service manager handed over.
#[derive(Debug, Default)]
pub struct Activated {
    /// A listening TCP socket.
    pub tcp: Option<TcpListener>,
    /// A listening Unix stream socket.
    pub unix: Option<UnixListener>,
    /// A UDP socket.
    pub udp: Option<UdpSocket>,
}

/// Takes the sockets that `LISTEN_FDS` announces, once; each is told by its kind.
///
/// # Errors
/// When the variables are malformed, or a socket is of another kind or comes twice.
pub fn take() -> io::Result<Activated> {
    let mut activated = Activated::default();
    for raw in sd_notify::listen_fds()? {
        // SAFETY: the service manager's contract: these descriptors are ours alone.
        activated.add(unsafe { OwnedFd::from_raw_fd(raw) })?;
    }
    Ok(activated)
}

impl Activated {
    fn add(&mut self, descriptor: OwnedFd) -> io::Result<()> {
        let address: SockaddrStorage = getsockname(descriptor.as_raw_fd())?;
        let kind = getsockopt(&descriptor, sockopt::SockType)?;
        let taken = match (address.family(), kind) {
            (Some(AddressFamily::Inet | AddressFamily::Inet6), SockType::Stream) => {
                self.tcp.replace(descriptor.into()).is_some()
            }
            (Some(AddressFamily::Unix), SockType::Stream) => self.unix.replace(descriptor.into()).is_some(),
            (Some(AddressFamily::Inet | AddressFamily::Inet6), SockType::Datagram) => {
                self.udp.replace(descriptor.into()).is_some()
            }
            (family, kind) => {
                let text = format!("the service manager passed a socket of no use here: {family:?} {kind:?}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        if taken {
            let text = format!("the service manager passed two sockets of one kind: {kind:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }
}
