//! Datagrams of guests: recvmmsg(2) with names and credentials.

mod answer;

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use hypertap_wire::batch::Batch;
use libc::{iovec, mmsghdr, sockaddr_un, ucred};
use nix::sys::socket::{setsockopt, sockopt};

pub use self::answer::Answer;
use super::socket::set_buffers;
use crate::guest_socket::{GuestName, Sender};

/// Datagrams in one call.
const MESSAGES: usize = 64;
/// How much the kernel may queue of what we send, for all connected guests together, in bytes.
const BUFFER: usize = 4 << 20;
/// Room for just the credentials: with none left, the kernel keeps descriptors that are passed to itself. So where
/// there are no credentials there must be no room.
type Control = [u64; CONTROL / 8];
// SAFETY: CMSG_SPACE only calculates.
const CONTROL: usize = unsafe { libc::CMSG_SPACE(mem::size_of::<ucred>() as libc::c_uint) } as usize;

/// The arrays that one call works on; their pointers are set anew before each call.
struct Arrays {
    messages: Box<[mmsghdr]>,
    pieces: Box<[iovec]>,
    names: Box<[sockaddr_un]>,
    controls: Box<[Control]>,
}

// SAFETY: the raw pointers inside are written and used within one method of the owner, which holds
// it exclusively, and point into memory that it owns.
unsafe impl Send for Arrays {}

/// A bound socket that guests send to.
pub struct GuestSocket {
    socket: OwnedFd,
    batch: Batch,
    senders: Vec<Sender>,
    /// Whether the kernel says who sent.
    has_credentials: bool,
    arrays: Arrays,
    /// The longest frame in bytes; one byte more tells a longer one.
    max_frame: usize,
    cut: u64,
}

impl GuestSocket {
    /// Takes over a bound datagram socket, for frames of at most `max_frame` bytes. Of what was sent to it before, the
    /// senders' user ids are not known.
    ///
    /// # Errors
    /// What the kernel says of non-blocking mode and of credentials (`SO_PASSCRED`).
    pub fn new(socket: OwnedFd, max_frame: usize) -> io::Result<Self> {
        setsockopt(&socket, sockopt::PassCred, &true)?;
        set_buffers(&socket, BUFFER);
        Self::with_room(socket, max_frame, true)
    }

    /// Takes over a socket that is connected to one guest, whose messages need no names, for frames of at most
    /// `max_frame` bytes.
    ///
    /// # Errors
    /// What the kernel says of non-blocking mode.
    pub fn connected(socket: OwnedFd, max_frame: usize) -> io::Result<Self> {
        Self::with_room(socket, max_frame, false)
    }

    fn with_room(socket: OwnedFd, max_frame: usize, has_credentials: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // SAFETY: for all three types all bytes zero is a valid value (null pointers, no lengths).
        let (message, piece, name) =
            unsafe { (mem::zeroed::<mmsghdr>(), mem::zeroed::<iovec>(), mem::zeroed::<sockaddr_un>()) };
        Ok(Self {
            socket,
            batch: Batch::new((max_frame + 1) * MESSAGES, MESSAGES),
            senders: Vec::with_capacity(MESSAGES),
            has_credentials,
            arrays: Arrays {
                messages: vec![message; MESSAGES].into(),
                pieces: vec![piece; MESSAGES].into(),
                names: vec![name; MESSAGES].into(),
                controls: vec![[0; CONTROL / 8]; MESSAGES].into(),
            },
            max_frame,
            cut: 0,
        })
    }

    /// Receives the datagrams that wait, without blocking; what was received before is forgotten. Empty ones
    /// are ignored, and those that are too long counted.
    ///
    /// # Errors
    /// What recvmmsg(2) says; [`io::ErrorKind::WouldBlock`] when nothing waits.
    pub fn recv(&mut self) -> io::Result<()> {
        self.batch.clear();
        self.senders.clear();
        self.prepare();
        let (flags, slots) = (libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC, self.arrays.messages.len());
        let slots = libc::c_uint::try_from(slots).unwrap_or(1);
        // SAFETY: each header points to a piece, a name and a control buffer of its own, valid for the
        // lengths given, and the pieces into the batch's buffer, one slot each.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                self.arrays.messages.as_mut_ptr(),
                slots,
                flags,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        (0..received).for_each(|index| self.take(index));
        Ok(())
    }

    fn prepare(&mut self) {
        let slots = self.batch.buffer().chunks_exact_mut(self.max_frame + 1);
        let room = if self.has_credentials { mem::size_of::<Control>() } else { 0 };
        let Arrays { messages, pieces, names, controls } = &mut self.arrays;
        for ((((slot, message), piece), name), control) in
            slots.zip(&mut messages[..]).zip(&mut pieces[..]).zip(&mut names[..]).zip(&mut controls[..])
        {
            *piece = iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            let header = &mut message.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = libc::socklen_t::try_from(mem::size_of::<sockaddr_un>()).unwrap_or(0);
            header.msg_iov = piece;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = room;
            header.msg_flags = 0;
        }
    }

    /// Makes a frame of the datagram at `index`.
    fn take(&mut self, index: usize) {
        let message = &self.arrays.messages[index];
        let len = message.msg_len as usize;
        if len > self.max_frame || message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            self.cut += 1;
            return;
        }
        // SAFETY: the kernel has filled the header and the control buffer it points to, which is
        // this index's own and untouched since.
        let uid = unsafe { uid_of(&message.msg_hdr) };
        let name = name_of(&self.arrays.names[index], message.msg_hdr.msg_namelen as usize);
        if len > 0 && self.batch.mark(index * (self.max_frame + 1), len) {
            self.senders.push(Sender { name, uid });
        }
    }

    /// What was received last: frames, and the sender of each.
    pub fn received(&mut self) -> (&mut Batch, &[Sender]) {
        (&mut self.batch, &self.senders)
    }

    /// How many datagrams were too long.
    pub fn cut(&self) -> u64 {
        self.cut
    }
}

impl AsFd for GuestSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The name in the first `len` bytes of an address: a path ends at its first zero byte, an abstract name
/// where the address does.
fn name_of(address: &sockaddr_un, len: usize) -> Option<GuestName> {
    let len = len.checked_sub(mem::offset_of!(sockaddr_un, sun_path))?.min(address.sun_path.len());
    let mut name = [0; mem::size_of::<sockaddr_un>()];
    for (byte, character) in name.iter_mut().zip(&address.sun_path[..len]) {
        *byte = character.to_ne_bytes()[0];
    }
    let name = &name[..len];
    let end = if name.first() == Some(&0) { None } else { name.iter().position(|byte| *byte == 0) };
    GuestName::new(&name[..end.unwrap_or(len)])
}

/// The sender's user id in a message's control messages.
///
/// # Safety
/// The header's control pointer must be valid for its length.
unsafe fn uid_of(header: &libc::msghdr) -> Option<u32> {
    // SAFETY: as the caller promises; CMSG_NXTHDR stays within the control length, and so does a
    // message of credentials that says it is whole.
    unsafe {
        let mut control: *const libc::cmsghdr = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_SOCKET
                && (*control).cmsg_type == libc::SCM_CREDENTIALS
                && (*control).cmsg_len >= CONTROL_LEN
            {
                let credentials = libc::CMSG_DATA(control).cast::<ucred>().read_unaligned();
                // Without a process: sent before credentials were asked for.
                return (credentials.pid != 0).then_some(credentials.uid);
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

// SAFETY: CMSG_LEN only calculates.
const CONTROL_LEN: usize = unsafe { libc::CMSG_LEN(mem::size_of::<ucred>() as libc::c_uint) } as usize;

#[cfg(test)]
mod tests;
