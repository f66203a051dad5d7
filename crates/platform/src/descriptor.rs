//! Bytes and descriptors over a Unix socket (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer, SendAncillaryMessage, recvmsg, sendmsg,
};

#[cfg(target_os = "linux")]
use crate::linux::socket::{RECEIVE, SEND, close_on_exec};
#[cfg(target_os = "macos")]
use crate::macos::socket::{RECEIVE, SEND, close_on_exec};

/// How many descriptors one message can bring; the kernel's own limit is 253.
pub const MAX_DESCRIPTORS: usize = 64;

/// Room for as many.
type Space = [MaybeUninit<u8>; rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];

/// Sends bytes, and with the first of them `descriptors`, at most [`MAX_DESCRIPTORS`]. Does not block;
/// returns how many bytes went.
///
/// # Errors
/// Of sendmsg(2); `WouldBlock` when the socket's buffer is full, nothing sent then.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space: Space = [MaybeUninit::uninit(); _];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SEND)?)
}

/// Receives bytes, and what descriptors came with them (close-on-exec); of more than
/// [`MAX_DESCRIPTORS`] the kernel drops the rest. Does not block; 0 bytes is the end of the stream.
///
/// # Errors
/// Of recvmsg(2); `WouldBlock` when nothing is there.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space: Space = [MaybeUninit::uninit(); _];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RECEIVE)?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    close_on_exec(&descriptors)?;
    Ok((message.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::net::SendFlags;

    #[test]
    fn a_descriptor_arrives_with_its_bytes() {
        let (left, right) = UnixStream::pair().expect("a pair");
        let (mut kept, given) = UnixStream::pair().expect("a pair");
        assert_eq!(send(left.as_fd(), b"take", &[given.as_fd()]).expect("sent"), 4);
        drop(given);
        let mut bytes = [0; 16];
        let (count, mut descriptors) = receive(right.as_fd(), &mut bytes).expect("received");
        assert_eq!((&bytes[..count], descriptors.len()), (&b"take"[..], 1));
        let mut given = UnixStream::from(descriptors.remove(0));
        given.write_all(b"x").expect("the pair lives");
        let mut byte = [0];
        kept.read_exact(&mut byte).expect("it arrived");
        assert_eq!(byte, *b"x");
    }

    #[test]
    fn nothing_there_would_block_and_the_end_is_zero_bytes() {
        let (left, right) = UnixStream::pair().expect("a pair");
        let error = receive(right.as_fd(), &mut [0; 4]).expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // Not dropped: a program that another test is just starting would hold it open a moment longer.
        left.shutdown(Shutdown::Both).expect("it is connected");
        assert_eq!(receive(right.as_fd(), &mut [0; 4]).expect("the end").0, 0);
    }

    #[test]
    fn more_descriptors_than_there_is_room_for_do_not_leak() {
        let open = || std::fs::read_dir("/proc/self/fd").expect("our descriptors").count();
        let (left, right) = UnixStream::pair().expect("a pair");
        let many = vec![left.as_fd(); 2 * MAX_DESCRIPTORS];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2 * MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        sendmsg(&left, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).expect("sent");
        // Other tests open and close descriptors meanwhile, but not this many.
        let before = open();
        let (_, descriptors) = receive(right.as_fd(), &mut [0; 4]).expect("received");
        // The room is padded, so that a few more fit.
        assert!((MAX_DESCRIPTORS..MAX_DESCRIPTORS + 8).contains(&descriptors.len()));
        drop(descriptors);
        assert!(open() < before + MAX_DESCRIPTORS / 2);
        assert!(send(left.as_fd(), b"x", &many).is_err());
    }
}
