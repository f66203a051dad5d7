//! Batches of messages: recvmmsg(2), sendmmsg(2), and UDP's own joining of them.
//!
//! Over UDP a row of packets of one size, of which the last may be shorter, is one message that the
//! kernel cuts (`UDP_SEGMENT`, udp(7)), and the other way round one message that it did not cut
//! (`UDP_GRO`). Where it refuses the one, and over `SOCK_SEQPACKET`, packets are messages of their
//! own in one sendmmsg(2) or recvmmsg(2).

mod name;
mod send;

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use hypertap_wire::batch::Batch;
use libc::{c_int, cmsghdr, iovec, mmsghdr, sockaddr_storage};
use nix::sys::socket::{setsockopt, sockopt};

use self::name::{socklen, source};
pub use self::send::Sender;
use crate::datagram::Message;

/// Messages in one call.
const MESSAGES: usize = 64;
/// Packets in one received UDP message at most.
const MAX_SEGMENTS_RECEIVED: usize = 128;
/// The longest message is shorter; one that fills its slot is too long to be a packet.
const SLOT: usize = 64 << 10;
/// Slots begin on different cache sets, not all on the same.
const STRIDE: usize = SLOT + 192;
/// Bytes received by one call that are still in the second-level cache when they are passed on.
const RECEIVE_ENOUGH: usize = 128 << 10;
/// Room for one control message of an `int`, aligned as a `cmsghdr`.
type Control = [u64; 4];

/// Prepares a UDP socket for batches: never blocking, large buffers, messages received uncut.
///
/// # Errors
/// What the kernel says of non-blocking mode; the rest is left where it is refused.
pub fn prepare_udp(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    crate::program::enlarge_buffers(socket);
    // Without it each packet is a message, which works too.
    let _ = setsockopt(socket, sockopt::UdpGroSegment, &true);
    Ok(())
}

/// The arrays that one call works on; their pointers are set anew before each call.
struct Arrays {
    messages: Box<[mmsghdr]>,
    pieces: Box<[iovec]>,
    names: Box<[sockaddr_storage]>,
    controls: Box<[Control]>,
}

// SAFETY: the raw pointers inside are written and used within one method of the owner each, which
// holds it exclusively, and point into memory that it owns or borrows for that long.
unsafe impl Send for Arrays {}

impl Arrays {
    fn new() -> Self {
        // SAFETY: for all three types all bytes zero is a valid value (null pointers, no lengths).
        let (message, piece, name) = unsafe { (mem::zeroed::<mmsghdr>(), mem::zeroed(), mem::zeroed()) };
        Self {
            messages: vec![message; MESSAGES].into(),
            pieces: vec![piece; MESSAGES].into(),
            names: vec![name; MESSAGES].into(),
            controls: vec![[0; 4]; MESSAGES].into(),
        }
    }
}

/// Receives batches from a datagram socket.
pub struct Receiver {
    batch: Batch,
    messages: Vec<Message>,
    arrays: Arrays,
    slots: usize,
    /// Whether control messages are taken: UDP says in them where datagrams were joined. Over a Unix
    /// socket they would bring descriptors, which the kernel keeps to itself where none are taken.
    takes_control: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// A receiver with memory of its own, of which only what traffic needs becomes resident.
    pub fn new() -> Self {
        Self {
            batch: Batch::new(STRIDE * MESSAGES, MESSAGES * MAX_SEGMENTS_RECEIVED),
            messages: Vec::with_capacity(MESSAGES),
            arrays: Arrays::new(),
            slots: MESSAGES,
            takes_control: true,
        }
    }

    /// A receiver for a connected Unix socket (`SOCK_SEQPACKET`).
    pub fn connected() -> Self {
        Self { takes_control: false, ..Self::new() }
    }

    /// Receives the messages that wait, without blocking; what was received before is forgotten.
    /// Returns whether more may wait. A connection that ended (`SOCK_SEQPACKET`) gives
    /// empty packets.
    ///
    /// # Errors
    /// What recvmmsg(2) says; [`io::ErrorKind::WouldBlock`] when nothing waits.
    pub fn recv(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.batch.clear();
        self.messages.clear();
        self.prepare();
        let slots = u32::try_from(self.slots).unwrap_or(1);
        // SAFETY: the first `slots` headers point to a piece, a name and a control buffer of their
        // own, each valid for the length given, and the pieces into the batch's buffer, one slot each.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.arrays.messages.as_mut_ptr(),
                slots,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let mut longest = 1;
        for index in 0..received {
            longest = longest.max(self.take(index));
        }
        let more = received == self.slots;
        self.slots = (RECEIVE_ENOUGH / longest).clamp(2, MESSAGES);
        Ok(more)
    }

    fn prepare(&mut self) {
        let buffer = self.batch.buffer();
        let slots = buffer.chunks_exact_mut(STRIDE).take(self.slots);
        let Arrays { messages, pieces, names, controls } = &mut self.arrays;
        for ((((slot, message), piece), name), control) in
            slots.zip(&mut messages[..]).zip(&mut pieces[..]).zip(&mut names[..]).zip(&mut controls[..])
        {
            *piece = iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT };
            let header = &mut message.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = socklen::<sockaddr_storage>();
            header.msg_iov = piece;
            header.msg_iovlen = 1;
            header.msg_control =
                if self.takes_control { control.as_mut_ptr().cast() } else { ptr::null_mut() };
            header.msg_controllen = if self.takes_control { mem::size_of::<Control>() } else { 0 };
            header.msg_flags = 0;
        }
    }

    /// Makes packets of the message at `index`. Returns its length in bytes.
    fn take(&mut self, index: usize) -> usize {
        let message = &self.arrays.messages[index];
        let len = (message.msg_len as usize).min(SLOT);
        // SAFETY: the kernel has filled the header and the control buffer it points to, which is
        // this index's own and untouched since.
        let segment =
            unsafe { segment_size(&message.msg_hdr) }.filter(|size| (1..len).contains(size)).unwrap_or(len);
        let named = message.msg_hdr.msg_namelen as usize;
        let source = source(&self.arrays.names[index], named);
        let (start, first) = (index * STRIDE, self.batch.len());
        if len == 0 {
            self.batch.mark(start, 0);
        }
        for at in (0..len).step_by(segment.max(1)) {
            self.batch.mark(start + at, segment.min(len - at));
        }
        self.messages.push(Message { packets: first..self.batch.len(), source });
        len
    }

    /// What was received last, to look at and to pass on.
    pub fn received(&mut self) -> (&mut Batch, &[Message]) {
        (&mut self.batch, &self.messages)
    }
}

/// The size of the segments that an uncut UDP message is made of.
///
/// # Safety
/// The header's control pointer must be valid for its length.
unsafe fn segment_size(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: as the caller promises; CMSG_NXTHDR stays within the control length.
    unsafe {
        let mut control: *const cmsghdr = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_UDP && (*control).cmsg_type == libc::UDP_GRO {
                let size = libc::CMSG_DATA(control).cast::<c_int>().read_unaligned();
                return usize::try_from(size).ok();
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

#[cfg(test)]
mod tests;
