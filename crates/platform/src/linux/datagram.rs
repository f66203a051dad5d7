//! Batches of messages: recvmmsg(2), sendmmsg(2), and UDP's own joining of them.
//!
//! Over UDP a row of packets of one size, of which the last may be shorter, is one message that the
//! kernel cuts (`UDP_SEGMENT`, udp(7)), and the other way round one message that it did not cut
//! (`UDP_GRO`). Where it refuses the one, and over `SOCK_SEQPACKET`, packets are messages of their
//! own in one sendmmsg(2) or recvmmsg(2).

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use hypertap_wire::batch::Batch;
use hypertap_wire::packet::MAX_PACKET;
use libc::{c_int, c_void, cmsghdr, iovec, mmsghdr, sockaddr_in, sockaddr_in6, sockaddr_storage};
use nix::sys::socket::{setsockopt, sockopt};

use crate::datagram::{Message, Progress};

/// Messages in one call.
const MESSAGES: usize = 64;
/// Packets in one UDP message (`UDP_MAX_SEGMENTS` was 64 before Linux 6.9).
const SEGMENTS: usize = 64;
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

fn source(name: &sockaddr_storage, len: usize) -> Option<SocketAddr> {
    match c_int::from(name.ss_family) {
        libc::AF_INET if len >= mem::size_of::<sockaddr_in>() => {
            // SAFETY: a sockaddr_storage is large enough and aligned for every address, and the
            // family says that this is one.
            let name = unsafe { &*ptr::from_ref(name).cast::<sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 if len >= mem::size_of::<sockaddr_in6>() => {
            // SAFETY: as above.
            let name = unsafe { &*ptr::from_ref(name).cast::<sockaddr_in6>() };
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(name.sin6_addr.s6_addr.into(), port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<T>()).expect("addresses are small")
}

/// Sends batches to a datagram socket.
pub struct Sender {
    arrays: Arrays,
    destination: Option<(sockaddr_storage, libc::socklen_t)>,
    joined: bool,
    /// How many packets each message of the call holds.
    counts: [usize; MESSAGES],
}

impl Sender {
    /// A sender of UDP datagrams to `destination`.
    pub fn udp(destination: SocketAddr) -> Self {
        Self {
            destination: Some(name_of(destination)),
            joined: true,
            arrays: Arrays::new(),
            counts: [0; MESSAGES],
        }
    }

    /// A sender of messages over a connected socket.
    pub fn connected() -> Self {
        Self { destination: None, joined: false, arrays: Arrays::new(), counts: [0; MESSAGES] }
    }

    /// Sends the packets of `batch` from the one at `first` on, without blocking, until all are
    /// sent or one is refused.
    pub fn send(&mut self, socket: BorrowedFd<'_>, batch: &Batch, first: usize) -> Progress {
        let mut next = first;
        while next < batch.len() {
            let messages = self.prepare(batch, next);
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            let count = libc::c_uint::try_from(messages).unwrap_or(1);
            // SAFETY: the first `messages` headers point to one piece each, which lies in the borrowed
            // batch, and to the destination and a control message of this sender or to nothing; the
            // kernel only reads through them.
            let sent = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), self.arrays.messages.as_mut_ptr(), count, flags)
            };
            let Ok(sent) = usize::try_from(sent) else {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    // Too old for UDP_SEGMENT, or on a route where it cannot be.
                    Some(libc::EINVAL | libc::EIO | libc::EOPNOTSUPP)
                        if self.joined && self.counts[0] > 1 =>
                    {
                        self.joined = false;
                        continue;
                    }
                    _ => return Progress { next, error: Some(error), refused: self.counts[0] },
                }
            };
            next += self.counts[..sent].iter().sum::<usize>();
        }
        Progress { next, error: None, refused: 0 }
    }

    /// Lays out messages for the packets from the one at `first` on. Returns how many messages.
    fn prepare(&mut self, batch: &Batch, first: usize) -> usize {
        let mut next = first;
        let mut messages = 0;
        while messages < MESSAGES && next < batch.len() {
            let run = if self.joined { run_of(batch, next) } else { next..next + 1 };
            let memory = batch.contiguous(run.clone()).unwrap_or_default();
            let segment = if run.len() > 1 { batch.get(next).map(<[u8]>::len) } else { None };
            self.write_message(messages, memory, segment);
            self.counts[messages] = run.len();
            next = run.end;
            messages += 1;
        }
        messages
    }

    fn write_message(&mut self, index: usize, memory: &[u8], segment: Option<usize>) {
        let Arrays { messages, pieces, controls, .. } = &mut self.arrays;
        pieces[index] =
            iovec { iov_base: memory.as_ptr().cast_mut().cast::<c_void>(), iov_len: memory.len() };
        let header = &mut messages[index].msg_hdr;
        if let Some((name, len)) = &mut self.destination {
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = *len;
        }
        header.msg_iov = &raw mut pieces[index];
        header.msg_iovlen = 1;
        header.msg_control = ptr::null_mut();
        header.msg_controllen = 0;
        if let Some(segment) = segment.and_then(|size| u16::try_from(size).ok()) {
            header.msg_control = controls[index].as_mut_ptr().cast();
            // SAFETY: the control buffer is this index's own, aligned, and longer than the space of
            // one control message with a u16.
            unsafe {
                header.msg_controllen = libc::CMSG_SPACE(2) as usize;
                let control = libc::CMSG_FIRSTHDR(header);
                (*control).cmsg_level = libc::SOL_UDP;
                (*control).cmsg_type = libc::UDP_SEGMENT;
                (*control).cmsg_len = libc::CMSG_LEN(2) as usize;
                libc::CMSG_DATA(control).cast::<u16>().write_unaligned(segment);
            }
        }
    }
}

/// The packets from the one at `first` on that one message can hold: back to back, of one size, the
/// last perhaps shorter, not more than a datagram in all.
fn run_of(batch: &Batch, first: usize) -> Range<usize> {
    let mut lengths = batch.lengths().skip(first);
    let size = lengths.next().unwrap_or(0);
    let (mut count, mut total) = (1, size);
    for len in lengths.take(SEGMENTS - 1) {
        if len > size || total + len > MAX_PACKET {
            break;
        }
        count += 1;
        total += len;
        if len < size {
            break;
        }
    }
    let run = first..first + count;
    if batch.contiguous(run.clone()).is_some() { run } else { first..first + 1 }
}

fn name_of(address: SocketAddr) -> (sockaddr_storage, libc::socklen_t) {
    // SAFETY: for all these types all bytes zero is a valid value.
    let mut storage: sockaddr_storage = unsafe { mem::zeroed() };
    match address {
        SocketAddr::V4(address) => {
            let mut name: sockaddr_in = unsafe { mem::zeroed() };
            name.sin_family = libc::sa_family_t::try_from(libc::AF_INET).expect("families are small");
            name.sin_port = address.port().to_be();
            name.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            // SAFETY: a sockaddr_storage is large enough and aligned for every address.
            unsafe { ptr::from_mut(&mut storage).cast::<sockaddr_in>().write(name) };
            (storage, socklen::<sockaddr_in>())
        }
        SocketAddr::V6(address) => {
            // SAFETY: all bytes zero is a valid value.
            let mut name: sockaddr_in6 = unsafe { mem::zeroed() };
            name.sin6_family = libc::sa_family_t::try_from(libc::AF_INET6).expect("families are small");
            name.sin6_port = address.port().to_be();
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_scope_id = address.scope_id();
            // SAFETY: as above.
            unsafe { ptr::from_mut(&mut storage).cast::<sockaddr_in6>().write(name) };
            (storage, socklen::<sockaddr_in6>())
        }
    }
}

#[cfg(test)]
mod tests;
