//! Sockets that this process was started with, by their numbers, and a socket for a program that it starts.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getpeername, getsockname, getsockopt, sockopt,
};
use nix::unistd::dup2_stdin;

/// A socket that this process inherited, by what can be done with it.
#[derive(Debug)]
pub enum Inherited {
    /// A stream that is connected.
    Stream(OwnedFd),
    /// A TCP socket that listens.
    TcpListener(OwnedFd),
    /// A Unix stream socket that listens.
    UnixListener(OwnedFd),
    /// A Unix datagram socket.
    Datagram(OwnedFd),
}

/// Takes the socket of a number, which no program that is started later inherits. To be called once for
/// each number, before this process opens anything: what was not passed would be taken to be what it opened.
///
/// # Errors
/// When nothing is open under the number, or it is no socket of these kinds.
pub fn take(number: RawFd) -> io::Result<Inherited> {
    if number == STANDARD_INPUT {
        return take_standard_input();
    }
    // SAFETY: no memory is passed, and the kernel looks whether the descriptor is open.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })
        .map_err(|errno| invalid(format!("no such descriptor was inherited: {}", errno.desc())))?;
    // SAFETY: it is open, and by contract nothing in this process has it yet.
    told(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The number of standard input.
const STANDARD_INPUT: RawFd = 0;

/// Takes the socket that is standard input, which is empty from then on.
fn take_standard_input() -> io::Result<Inherited> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    told(socket)
}

/// Tells a socket's kind.
fn told(descriptor: OwnedFd) -> io::Result<Inherited> {
    let address: SockaddrStorage = getsockname(descriptor.as_raw_fd()).map_err(|errno| match errno {
        Errno::ENOTSOCK => invalid("it is no socket".to_owned()),
        errno => errno.into(),
    })?;
    let listens = || getsockopt(&descriptor, sockopt::AcceptConn).map_err(io::Error::from);
    match (address.family(), getsockopt(&descriptor, sockopt::SockType)?) {
        (Some(AddressFamily::Unix), SockType::Stream) if listens()? => {
            Ok(Inherited::UnixListener(descriptor))
        }
        (Some(AddressFamily::Inet | AddressFamily::Inet6), SockType::Stream) if listens()? => {
            Ok(Inherited::TcpListener(descriptor))
        }
        (_, SockType::Stream) => match getpeername::<SockaddrStorage>(descriptor.as_raw_fd()) {
            Ok(_) => Ok(Inherited::Stream(descriptor)),
            Err(errno) => Err(invalid(format!("it neither listens nor is connected: {}", errno.desc()))),
        },
        (Some(AddressFamily::Unix), SockType::Datagram) => Ok(Inherited::Datagram(descriptor)),
        (family, kind) => Err(invalid(format!("a socket of no use here: {family:?} {kind:?}"))),
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

/// Two ends of a stream: ours, and one that programs started from now on inherit under its number. Drop
/// that once the program runs.
///
/// # Errors
/// Of socketpair(2) and fcntl(2).
pub fn pair_for_program() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    fcntl(theirs.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok((ours.into(), theirs.into()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn each_socket_is_told_by_its_kind() {
        let folder = tempfile::tempdir().expect("a folder");
        let unix = UnixListener::bind(folder.path().join("a")).expect("ours");
        let datagram = UnixDatagram::bind(folder.path().join("b")).expect("ours");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let connected = TcpStream::connect(tcp.local_addr().expect("bound")).expect("it listens");
        let (stream, _other) = UnixStream::pair().expect("a pair");
        assert!(matches!(told(unix.into()), Ok(Inherited::UnixListener(_))));
        assert!(matches!(told(datagram.into()), Ok(Inherited::Datagram(_))));
        assert!(matches!(told(connected.into()), Ok(Inherited::Stream(_))));
        assert!(matches!(told(tcp.into()), Ok(Inherited::TcpListener(_))));
        assert!(matches!(take(stream.into_raw_fd()), Ok(Inherited::Stream(_))));
    }

    #[test]
    fn what_is_of_no_use_is_refused_and_said_to_be() {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let file = std::fs::File::open("/dev/null").expect("there is one");
        for (descriptor, word) in [(OwnedFd::from(udp), "of no use"), (file.into(), "no socket")] {
            let error = told(descriptor).expect_err("of no use").to_string();
            assert!(error.contains(word), "{error}");
        }
        let error = take(1 << 20).expect_err("nobody opened that").to_string();
        assert!(error.contains("no such descriptor"), "{error}");
    }
}
