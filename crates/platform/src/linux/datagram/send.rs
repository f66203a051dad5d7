//! Sending.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use hypertap_wire::batch::Batch;
use hypertap_wire::packet::MAX_PACKET;
use libc::{c_void, iovec, sockaddr_storage};

use super::name::name_of;
use super::{Arrays, MESSAGES};
use crate::datagram::Progress;

/// Packets in one UDP message (`UDP_MAX_SEGMENTS` was 64 before Linux 6.9).
const SEGMENTS: usize = 64;

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
pub(super) fn run_of(batch: &Batch, first: usize) -> Range<usize> {
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
