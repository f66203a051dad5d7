//! Sockets that a service manager opened for us (`sd_listen_fds(3)`).

use std::env;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

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

/// Takes the sockets that `LISTEN_FDS` announces, once; each is told by its kind. To be called before this
/// process opens anything: what is announced and was not passed would be taken to be what it opened.
///
/// # Errors
/// When the variables are malformed, or a socket is of another kind, does not listen, or comes twice.
pub fn take() -> io::Result<Activated> {
    let mut activated = Activated::default();
    for raw in announced()? {
        // SAFETY: the service manager's contract: these descriptors are ours alone. Each was seen to be open.
        activated.add(unsafe { OwnedFd::from_raw_fd(raw) })?;
    }
    Ok(activated)
}

/// The descriptors that are announced to this process, each of them open and not inherited any further.
fn announced() -> io::Result<Vec<RawFd>> {
    let (Some(pid), Some(count)) = (number("LISTEN_PID")?, number("LISTEN_FDS")?) else {
        return Ok(Vec::new());
    };
    if pid != std::process::id() {
        return Ok(Vec::new());
    }
    let end = RawFd::try_from(count).ok().and_then(|count| FIRST.checked_add(count));
    let all = FIRST..end.ok_or_else(|| invalid(format!("LISTEN_FDS is {count}")))?;
    for raw in all.clone() {
        // SAFETY: no memory is passed, and the kernel looks whether the descriptor is open.
        Errno::result(unsafe { libc::fcntl(raw, libc::F_SETFD, libc::FD_CLOEXEC) }).map_err(|errno| {
            invalid(format!("LISTEN_FDS is {count}, and descriptor {raw}: {}", errno.desc()))
        })?;
    }
    Ok(all.collect())
}

/// The number that a variable holds, where there is one.
fn number(variable: &str) -> io::Result<Option<u32>> {
    let Some(text) = env::var_os(variable) else { return Ok(None) };
    let parsed = text.to_str().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| invalid(format!("{variable} is {}, wanted a number", text.display())))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

impl Activated {
    fn add(&mut self, descriptor: OwnedFd) -> io::Result<()> {
        let address: SockaddrStorage = getsockname(descriptor.as_raw_fd()).map_err(|errno| match errno {
            Errno::ENOTSOCK => invalid(format!("descriptor {} is no socket", descriptor.as_raw_fd())),
            errno => errno.into(),
        })?;
        let kind = getsockopt(&descriptor, sockopt::SockType)?;
        if kind == SockType::Stream && !getsockopt(&descriptor, sockopt::AcceptConn)? {
            let text = "it passed a stream socket that does not listen; the socket unit needs Accept=no";
            return Err(invalid(text.to_owned()));
        }
        let taken = match (address.family(), kind) {
            (Some(AddressFamily::Inet | AddressFamily::Inet6), SockType::Stream) => {
                self.tcp.replace(descriptor.into()).is_some()
            }
            (Some(AddressFamily::Unix), SockType::Stream) => self.unix.replace(descriptor.into()).is_some(),
            (Some(AddressFamily::Inet | AddressFamily::Inet6), SockType::Datagram) => {
                self.udp.replace(descriptor.into()).is_some()
            }
            (family, kind) => {
                let text = format!("it passed a socket of no use here: {family:?} {kind:?}");
                return Err(invalid(text));
            }
        };
        if taken {
            return Err(invalid(format!("it passed two sockets of one kind: {kind:?}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn refusal(descriptor: impl Into<OwnedFd>) -> String {
        Activated::default().add(descriptor.into()).expect_err("it is of no use").to_string()
    }

    #[test]
    fn each_socket_is_told_by_its_kind_and_none_comes_twice() {
        let tcp = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        let unix = UnixListener::bind(folder.path().join("control.sock")).expect("ours");
        let mut activated = Activated::default();
        for descriptor in [OwnedFd::from(tcp()), udp.into(), unix.into()] {
            activated.add(descriptor).expect("of use");
        }
        assert!(activated.tcp.is_some() && activated.udp.is_some() && activated.unix.is_some());
        let error = activated.add(tcp().into()).expect_err("the second").to_string();
        assert!(error.contains("two sockets"), "{error}");
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let connected = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        assert!(refusal(connected).contains("does not listen"));
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        assert!(refusal(ours).contains("does not listen"));
    }

    #[test]
    fn what_is_no_socket_is_refused_by_its_number() {
        let file = std::fs::File::open("/dev/null").expect("there is one");
        let wanted = format!("descriptor {} is no socket", file.as_raw_fd());
        assert_eq!(refusal(file), wanted);
    }
}
