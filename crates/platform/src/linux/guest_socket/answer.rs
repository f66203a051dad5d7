//! How a guest is answered: a socket of its own, or ours, to a name that was looked at.

use std::array;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{SockType, UnixAddr, connect, getsockopt, sockopt};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, lstat};
use nix::unistd::geteuid;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SocketAddrUnix, sendmmsg};

use super::GuestSocket;
use crate::guest_socket::{GuestName, NoAnswer, Refusal, Sent};
use crate::linux::socket::{SEND, unix_socket};

/// Frames in one call.
const MESSAGES: usize = 32;

// unix(7): SIOCOUTQ, which is TIOCOUTQ.
nix::ioctl_read_bad!(outq, libc::TIOCOUTQ, libc::c_int);

/// Where a guest's frames go.
#[derive(Debug)]
pub struct Answer {
    /// The guest's socket file. As long as it is held, its inode's number is no other's.
    pinned: Option<OwnedFd>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// A socket of the guest's own, connected to it.
    Own(OwnedFd),
    /// The socket that it has connected to, with this address.
    Ours(SocketAddrUnix),
}

impl Answer {
    /// Looks at a guest's name and gets ready to send there. `sender` is the user id that its datagram came with.
    ///
    /// # Errors
    /// Why it is not answered; [`NoAnswer::Gone`] when nobody receives there.
    pub fn open(name: &GuestName, sender: Option<u32>) -> Result<Self, NoAnswer> {
        let sender = sender.ok_or(NoAnswer::UnknownSender)?;
        let (pinned, address) = match (name.path(), name.abstract_name()) {
            (Some(path), _) => {
                let pinned = pin(path, sender)?;
                let path = format!("/proc/self/fd/{}", pinned.as_raw_fd());
                (Some(pinned), UnixAddr::new(path.as_str()).map_err(io::Error::from)?)
            }
            (None, Some(name)) if sender == 0 || sender == geteuid().as_raw() => {
                (None, UnixAddr::new_abstract(name).map_err(io::Error::from)?)
            }
            (None, _) => return Err(NoAnswer::Abstract),
        };
        let own = unix_socket(SockType::Datagram)?;
        let way = match connect(own.as_raw_fd(), &address) {
            Ok(()) => Way::Own(own),
            Err(Errno::EPERM) => Way::Ours(match (address.path(), address.as_abstract()) {
                (Some(path), _) => SocketAddrUnix::new(path).map_err(io::Error::from)?,
                (None, name) => {
                    SocketAddrUnix::new_abstract_name(name.unwrap_or_default()).map_err(io::Error::from)?
                }
            }),
            Err(Errno::ECONNREFUSED | Errno::ENOENT) => return Err(NoAnswer::Gone),
            Err(Errno::EPROTOTYPE) => return Err(NoAnswer::NotASocket),
            Err(errno) => return Err(io::Error::from(errno).into()),
        };
        Ok(Self { pinned, way })
    }

    /// By a socket that is connected to one guest ([`GuestSocket::connected`]).
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn connected(socket: &GuestSocket) -> io::Result<Self> {
        Ok(Self { pinned: None, way: Way::Own(socket.as_fd().try_clone_to_owned()?) })
    }

    /// Whether what is at the guest's path is still the socket that frames go to, as far as can be seen.
    pub fn is_current(&self, name: &GuestName) -> bool {
        let identity = |file: FileStat| (file.st_dev, file.st_ino);
        match (&self.pinned, name.path()) {
            (Some(pinned), Some(path)) => match (fstat(pinned), lstat(path)) {
                (Ok(pinned), Ok(there)) => identity(pinned) == identity(there),
                (_, Err(Errno::ENOENT | Errno::ENOTDIR)) => false,
                // It cannot be seen now.
                _ => true,
            },
            _ => true,
        }
    }

    /// The guest's own socket, to wait on for room; nothing where it is ours.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.way {
            Way::Own(socket) => Some(socket.as_fd()),
            Way::Ours(_) => None,
        }
    }

    /// Whether much of what went out by `ours`, the socket that the guest sends to, was not read yet. Its memory is that
    /// of all guests that are answered by it, and the kernel lets any one of them have all of it.
    pub fn is_crowded(&self, ours: BorrowedFd<'_>) -> bool {
        let mut unread = 0;
        // SAFETY: the call writes one int, to where there is one.
        let result = unsafe { outq(ours.as_raw_fd(), &raw mut unread) };
        let all = getsockopt(&ours, sockopt::SndBuf).unwrap_or(usize::MAX);
        result.is_ok() && usize::try_from(unread).is_ok_and(|unread| unread >= all / 2)
    }

    /// Sends frames, a datagram each, without blocking, until all are sent or one is refused. `ours` is the socket
    /// that the guest sends to. No frame may be empty: it would end QEMU's reading.
    pub fn send<'a>(&self, ours: BorrowedFd<'_>, frames: impl IntoIterator<Item = &'a [u8]>) -> Sent {
        let mut frames = frames.into_iter().map(IoSlice::new);
        let mut sent = 0;
        loop {
            let mut pieces = array::from_fn::<_, MESSAGES, _>(|_| [IoSlice::new(&[])]);
            let mut count = 0;
            for (place, frame) in pieces.iter_mut().zip(&mut frames) {
                *place = [frame];
                count += 1;
            }
            if count == 0 {
                return Sent { frames: sent, refusal: None };
            }
            let mut done = 0;
            while done < count {
                match self.send_some(ours, &pieces[done..count]) {
                    Ok(some) => done += some,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(errno) => {
                        return Sent { frames: sent + done, refusal: Some(refusal(errno)) };
                    }
                }
            }
            sent += done;
        }
    }

    fn send_some(&self, ours: BorrowedFd<'_>, pieces: &[[IoSlice<'_>; 1]]) -> rustix::io::Result<usize> {
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; MESSAGES] = Default::default();
        let (socket, address) = match &self.way {
            Way::Own(socket) => (socket.as_fd(), None),
            Way::Ours(address) => (ours, Some(address.clone().into())),
        };
        let mut messages: Vec<MMsgHdr<'_>> = pieces
            .iter()
            .zip(&mut controls)
            .map(|(piece, control)| match &address {
                Some(address) => MMsgHdr::new_with_addr(address, piece, control),
                None => MMsgHdr::new(piece, control),
            })
            .collect();
        sendmmsg(socket, &mut messages, SEND)
    }
}

fn refusal(errno: rustix::io::Errno) -> Refusal {
    use rustix::io::Errno;
    match errno {
        Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => Refusal::Full,
        Errno::CONNREFUSED | Errno::NOENT | Errno::NOTCONN | Errno::CONNRESET | Errno::PIPE => Refusal::Gone,
        Errno::PERM => Refusal::Connected,
        errno => Refusal::Other(errno.into()),
    }
}

/// Opens a socket's file, if it is one and `sender`'s or `sender` is root.
fn pin(path: &Path, sender: u32) -> Result<OwnedFd, NoAnswer> {
    if !path.is_absolute() {
        return Err(NoAnswer::Relative);
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let pinned = match open(path, flags, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(NoAnswer::Gone),
        result => result.map_err(io::Error::from)?,
    };
    let file = fstat(&pinned).map_err(io::Error::from)?;
    if SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Err(NoAnswer::NotASocket);
    }
    if sender != 0 && file.st_uid != sender {
        return Err(NoAnswer::NotTheSenders { owner: file.st_uid, sender });
    }
    Ok(pinned)
}
