//! What stands before each packet that the program reads and writes: the kernel's packet information and
//! virtio-net header, either, both or none (`IFF_NO_PI`, `IFF_VNET_HDR`).

use std::sync::atomic::{AtomicUsize, Ordering};

use hypertap_wire::batch::Batch;
use hypertap_wire::ethernet;
use hypertap_wire::offload::{self, Layer, VirtioHeader};

/// Flags and protocol, 16 bits each, the protocol in network order.
const PACKET_INFORMATION: usize = 4;

/// The headers of one device. Their sizes may change while packets travel, as the kernel's may.
#[derive(Debug)]
pub struct Header {
    layer: Layer,
    has_information: bool,
    has_virtio: bool,
    /// The length of the virtio-net header, if there is one or not.
    virtio: AtomicUsize,
}

impl Header {
    /// Of a TUN or TAP as the program asked for it.
    pub fn new(layer: Layer, has_information: bool, has_virtio: bool) -> Self {
        Self { layer, has_information, has_virtio, virtio: AtomicUsize::new(VirtioHeader::LEN) }
    }

    /// What packets are.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// The virtio-net header's length in bytes, 0 without one.
    fn virtio(&self) -> usize {
        if self.has_virtio { self.virtio_size() } else { 0 }
    }

    /// The length in bytes that such a header has, or would have.
    pub fn virtio_size(&self) -> usize {
        self.virtio.load(Ordering::Relaxed)
    }

    /// Sets that length. Returns whether there can be such a header.
    pub fn set_virtio(&self, len: usize) -> bool {
        let can = (VirtioHeader::LEN..=128).contains(&len);
        if can {
            self.virtio.store(len, Ordering::Relaxed);
        }
        can
    }

    /// How many bytes stand before each packet.
    fn len(&self) -> usize {
        self.virtio() + if self.has_information { PACKET_INFORMATION } else { 0 }
    }

    /// Makes of what the program wrote the packets that it means, one or, of a segment, several, and
    /// appends them to `batch`. Returns whether it means any.
    pub fn take(&self, written: &[u8], batch: &mut Batch) -> bool {
        let virtio = self.virtio();
        let shortest = if self.layer == Layer::Link { ethernet::HEADER } else { 1 };
        let Some(packet) = written.get(self.len()..).filter(|packet| packet.len() >= shortest) else {
            return false;
        };
        if virtio == 0 {
            return batch.push(packet);
        }
        let header = written.get(self.len() - virtio..).and_then(<[u8]>::first_chunk);
        let header = header.map(VirtioHeader::parse).unwrap_or_default();
        offload::split(self.layer, &header, packet, batch).is_ok()
    }

    /// What the program reads when `packet` is for it; it is built in `room` if anything stands before.
    pub fn put<'a>(&self, packet: &'a [u8], room: &'a mut Vec<u8>) -> &'a [u8] {
        let len = self.len();
        if len == 0 {
            return packet;
        }
        room.clear();
        room.resize(len, 0);
        if self.has_information {
            let protocol = self.protocol(packet).to_be_bytes();
            room[2..PACKET_INFORMATION].copy_from_slice(&protocol);
        }
        room.extend_from_slice(packet);
        room
    }

    fn protocol(&self, packet: &[u8]) -> u16 {
        match (self.layer, packet.first().map(|byte| byte >> 4)) {
            (Layer::Link, _) => ethernet::ethertype(packet).map_or(0, |kind| kind.0),
            (Layer::Network, Some(4)) => 0x0800,
            (Layer::Network, Some(6)) => 0x86dd,
            (Layer::Network, _) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(header: &Header, written: &[u8]) -> Option<Vec<u8>> {
        let mut batch = Batch::new(1 << 17, 64);
        header.take(written, &mut batch).then(|| batch.get(0).expect("one").to_vec())
    }

    #[test]
    fn each_header_stands_where_the_kernel_puts_it() {
        let packet = [0x45, 1, 2, 3];
        let put = |header: &Header| header.put(&packet, &mut Vec::new()).to_vec();
        let bare = Header::new(Layer::Network, false, false);
        assert_eq!((put(&bare), taken(&bare, &packet)), (packet.to_vec(), Some(packet.to_vec())));
        let information = Header::new(Layer::Network, true, false);
        assert_eq!(put(&information), [0, 0, 8, 0, 0x45, 1, 2, 3]);
        assert_eq!(taken(&information, &put(&information)), Some(packet.to_vec()));
        let both = Header::new(Layer::Network, true, true);
        assert!(both.set_virtio(12) && !both.set_virtio(9));
        assert_eq!(put(&both), [vec![0, 0, 8, 0], vec![0; 12], packet.to_vec()].concat());
        assert_eq!(taken(&both, &put(&both)), Some(packet.to_vec()));
    }

    #[test]
    fn a_device_without_a_virtio_header_gets_none_by_setting_its_length() {
        let header = Header::new(Layer::Link, false, false);
        assert_eq!((header.virtio_size(), header.virtio()), (10, 0));
        assert!(header.set_virtio(12));
        assert_eq!((header.virtio_size(), header.virtio()), (12, 0));
    }

    #[test]
    fn a_checksum_that_the_program_left_open_is_made() {
        let header = Header::new(Layer::Network, false, true);
        let open = VirtioHeader { flags: 1, csum_start: 2, csum_offset: 2, ..VirtioHeader::default() };
        let written = [open.emit().as_slice(), &[0x45, 0, 1, 2, 0, 0]].concat();
        assert_eq!(taken(&header, &written), Some(vec![0x45, 0, 1, 2, 0xfe, 0xfd]));
    }

    #[test]
    fn what_is_shorter_than_its_headers_is_no_packet() {
        let header = Header::new(Layer::Link, true, true);
        for len in 0..=14 {
            assert_eq!(taken(&header, &vec![0; len]), None);
        }
        let bare = Header::new(Layer::Link, false, false);
        assert_eq!((taken(&bare, &[2; 13]), taken(&bare, &[2; 14])), (None, Some(vec![2; 14])));
    }
}
