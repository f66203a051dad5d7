//! The interface's queue: packets in one at a time, and out together.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use hypertap_engine::tcp::MAX_PACKET;
use hypertap_platform::node_link::watch;
use hypertap_wire::batch::Batch;
use hypertap_wire::offload::VirtioHeader;
use hypertap_wire::udp;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// The longest packet that the interface hands over, with its header.
pub const ROOM: usize = VirtioHeader::LEN + 65_536;

/// A queue, and the packets that are to go into it.
pub struct Interface {
    device: AsyncFd<File>,
    out: Batch,
}

impl Interface {
    /// Of a queue that is non-blocking and has a virtio-net header.
    ///
    /// # Errors
    /// The descriptor cannot be waited on.
    pub fn new(queue: OwnedFd) -> io::Result<Self> {
        let out = Batch::with_prefix(2 * MAX_PACKET + (256 << 10), 256, VirtioHeader::LEN);
        Ok(Self { device: watch(queue)?, out })
    }

    /// Reads a packet with its header, and yields its length.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = match self.device.poll_read_ready(cx) {
                Poll::Ready(guard) => guard?,
                Poll::Pending => ready!(self.poll_gone(cx))?,
            };
            match guard.get_inner().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Ready when the interface is gone, which epoll does not tell those who wait for something to read.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'_, File>>> {
        loop {
            let mut guard = ready!(self.device.poll_write_ready(cx))?;
            if guard.ready().is_write_closed() {
                return Poll::Ready(Ok(guard));
            }
            guard.clear_ready();
        }
    }

    /// The packets that are to go out, with room for at least one more.
    pub fn out(&mut self) -> &mut Batch {
        if self.out.packets_left() == 0 || self.out.left() < VirtioHeader::LEN + MAX_PACKET {
            // Whether it is gone shows again when all is sent.
            let _ = self.flush();
        }
        &mut self.out
    }

    /// Has a packet go out.
    pub fn push(&mut self, packet: &[u8]) {
        self.append(|room| {
            room.get_mut(..packet.len())?.copy_from_slice(packet);
            Some(packet.len())
        });
    }

    /// Has a datagram go out. One that is too long for a packet is dropped.
    pub fn push_datagram(&mut self, source: SocketAddr, destination: SocketAddr, data: &[u8]) {
        self.append(|room| udp::emit(room, source, destination, data));
    }

    fn append(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let out = self.out();
        let at = out.len();
        if let Some(len) = write(out.room())
            && out.commit(len)
            && let Some(prefix) = out.prefix_mut(at).and_then(|prefix| prefix.first_chunk_mut())
        {
            *prefix = VirtioHeader::default().emit();
        }
    }

    /// Sends what is to go out.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for index in 0..self.out.len() {
            let Some(packet) = self.out.with_headers(index..index + 1, VirtioHeader::LEN) else { continue };
            match self.device.get_ref().write(packet) {
                Ok(_) => {}
                Err(error) if is_gone(&error) => result = Err(error),
                // What the interface does not take is lost as in any network: TCP sends it again.
                Err(error) => tracing::trace!(%error, "the interface did not take a packet"),
            }
        }
        self.out.clear();
        result
    }
}

/// Whether the interface is gone, and not only down or short of memory.
pub fn is_gone(error: &io::Error) -> bool {
    /// `EBADFD`: the descriptor has no interface any more.
    const NO_INTERFACE: i32 = 77;
    error.raw_os_error() == Some(NO_INTERFACE)
}
