//! What Linux adds to sockets, and what takes its place elsewhere (on macOS, where it was never run):
//! many messages a system call, the true length of one that was cut, descriptors that no other program
//! inherits, writing to a closed socket without a signal (elsewhere left to Rust's runtime, which
//! ignores SIGPIPE).

#[cfg(target_os = "linux")]
pub(crate) use linux::{RECEIVE, SEND, close_on_exec, receive_packet, send_packets, unix_socket};
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{RECEIVE, SEND, close_on_exec, receive_packet, send_packets, unix_socket};

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, IoSlice};
    use std::os::fd::OwnedFd;

    use rustix::net::{
        AddressFamily, MMsgHdr, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, recv,
        sendmmsg, socket_with,
    };

    /// Does not block, and raises no signal where the other end has closed.
    pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
    /// Does not block; descriptors come closed on exec.
    pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);
    /// How many messages go in one system call.
    const MESSAGES: usize = 64;

    /// Closes received descriptors on exec; here [`RECEIVE`] has done it.
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
    pub(crate) fn close_on_exec(_descriptors: &[OwnedFd]) -> io::Result<()> {
        Ok(())
    }

    /// Receives one packet, cut to the buffer. Returns the length that it had.
    pub(crate) fn receive_packet(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, length) = recv(socket, buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC)?;
        Ok(length)
    }

    /// Sends the first of `packets`, as many as there is room for, and returns how many.
    pub(crate) fn send_packets(socket: &OwnedFd, packets: &[&[u8]]) -> io::Result<usize> {
        let slices: Vec<IoSlice<'_>> =
            packets.iter().take(MESSAGES).map(|packet| IoSlice::new(packet)).collect();
        let mut controls: Vec<_> = slices.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<MMsgHdr<'_>> = slices
            .chunks(1)
            .zip(&mut controls)
            .map(|(slice, control)| MMsgHdr::new(slice, control))
            .collect();
        Ok(sendmmsg(socket, &mut messages, SEND)?)
    }

    /// A Unix socket.
    pub(crate) fn unix_socket(type_: SocketType) -> io::Result<OwnedFd> {
        Ok(socket_with(AddressFamily::UNIX, type_, SocketFlags::CLOEXEC, None)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io::{self, IoSliceMut};
    use std::os::fd::OwnedFd;

    use rustix::io::ioctl_fioclex;
    use rustix::net::{
        AddressFamily, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags, SocketFlags, SocketType,
        recvmsg, send, socket_with,
    };

    /// Does not block.
    pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT;
    /// Does not block.
    pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

    /// Closes received descriptors on exec; another thread may start a program just before.
    pub(crate) fn close_on_exec(descriptors: &[OwnedFd]) -> io::Result<()> {
        Ok(descriptors.iter().try_for_each(ioctl_fioclex)?)
    }

    /// Receives one packet, cut to the buffer. Returns the length that it had or, where it was cut, one
    /// byte more than there was room for.
    pub(crate) fn receive_packet(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        let slices = &mut [IoSliceMut::new(buffer)];
        let message = recvmsg(socket, slices, &mut RecvAncillaryBuffer::default(), RecvFlags::DONTWAIT)?;
        Ok(message.bytes + usize::from(message.flags.contains(ReturnFlags::TRUNC)))
    }

    /// Sends the first of `packets`, as many as there is room for, and returns how many.
    pub(crate) fn send_packets(socket: &OwnedFd, packets: &[&[u8]]) -> io::Result<usize> {
        for (sent, packet) in packets.iter().enumerate() {
            match send(socket, packet, SEND) {
                Ok(_) => {}
                Err(error) if sent == 0 => return Err(error.into()),
                Err(_) => return Ok(sent),
            }
        }
        Ok(packets.len())
    }

    /// A Unix socket; another thread may start a program just before it is closed on exec.
    pub(crate) fn unix_socket(type_: SocketType) -> io::Result<OwnedFd> {
        let socket = socket_with(AddressFamily::UNIX, type_, SocketFlags::empty(), None)?;
        ioctl_fioclex(&socket)?;
        Ok(socket)
    }
}
