//! UDP datagrams taken apart and put together (RFC 768).

use std::net::SocketAddr;

use crate::ip::{Fragment, Ip, UDP, header_len, pseudo_sum, write_header};

/// The length of a header in bytes.
pub const HEADER: usize = 8;

/// A UDP datagram taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The sender's port, 0 when it wants no answer.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The data.
    pub payload: &'a [u8],
}

/// Why a packet holds no datagram that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UdpError {
    /// It is of another protocol.
    #[error("the packet is no udp")]
    OtherProtocol,
    /// It is a piece of a packet.
    #[error("the packet is a fragment")]
    Fragment,
    /// It ends within the header.
    #[error("the packet ends within its udp header")]
    Cut,
    /// The length in the header is less than the header's, or more than what came.
    #[error("the udp header's length is not the datagram's")]
    LengthMismatch,
}

impl<'a> Datagram<'a> {
    /// Takes a packet's datagram apart. The checksum is not looked at: [`Ip::is_checksum_right`].
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn parse(ip: &Ip<'a>) -> Result<Self, UdpError> {
        if ip.protocol != UDP {
            return Err(UdpError::OtherProtocol);
        } else if ip.fragment != Fragment::Whole {
            return Err(UdpError::Fragment);
        }
        let [s0, s1, d0, d1, l0, l1, ..] = *ip.payload.first_chunk::<HEADER>().ok_or(UdpError::Cut)?;
        // What is behind the length's end would be outside the checksum's pseudo-header too.
        if usize::from(u16::from_be_bytes([l0, l1])) != ip.payload.len() {
            return Err(UdpError::LengthMismatch);
        }
        Ok(Self {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            payload: ip.payload.get(HEADER..).unwrap_or_default(),
        })
    }
}

/// Writes the packet of a datagram to the front of `buffer`, and yields its length. `None` when there is
/// not as much room, the addresses are of two families, or the datagram is too long for a packet.
pub fn emit(buffer: &mut [u8], source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Option<usize> {
    let len = HEADER + payload.len();
    let udp = write_header(buffer, source.ip(), destination.ip(), UDP, len)?;
    let (header, data) = udp.split_first_chunk_mut::<HEADER>()?;
    data.copy_from_slice(payload);
    header[..2].copy_from_slice(&source.port().to_be_bytes());
    header[2..4].copy_from_slice(&destination.port().to_be_bytes());
    header[4..6].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
    header[6..].fill(0);
    let sum = pseudo_sum(source.ip(), destination.ip(), UDP, len)?.add(header).add(payload);
    header[6..].copy_from_slice(&sum.checksum_not_zero());
    Some(header_len(source.ip()) + len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::TCP;
    use crate::ip::tests::{addresses, packet};
    use crate::packet::validate;
    use proptest::prelude::*;

    fn ends(v6: bool) -> [SocketAddr; 2] {
        let (source, destination) = addresses(v6);
        [SocketAddr::new(source, 53), SocketAddr::new(destination, 40_000)]
    }

    #[test]
    fn what_is_no_datagram_is_named() {
        for (protocol, payload, error) in [
            (TCP, b"\0\x01\0\x02\0\x08\0\0".as_slice(), UdpError::OtherProtocol),
            (UDP, b"\0\x01\0\x02\0\x08\0", UdpError::Cut),
            (UDP, b"\0\x01\0\x02\0\x07\0\0", UdpError::LengthMismatch),
            (UDP, b"\0\x01\0\x02\0\x09\0\0", UdpError::LengthMismatch),
            (UDP, b"\0\x01\0\x02\0\x08\0\0x", UdpError::LengthMismatch),
            (44, b"\x11\0\0\x01\0\0\0\0\0\x01\0\x02\0\x08\0\0", UdpError::Fragment),
        ] {
            assert_eq!(Datagram::parse(&Ip::parse(&packet(true, protocol, payload)).unwrap()), Err(error));
        }
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_not_written() {
        for (v6, most) in [(false, 65_507), (true, 65_527)] {
            let ([source, destination], mut buffer) = (ends(v6), vec![0; 70_000]);
            let whole = header_len(source.ip()) + HEADER + most;
            assert_eq!(emit(&mut buffer, source, destination, &vec![1; most]), Some(whole));
            assert_eq!(emit(&mut buffer, source, destination, &vec![1; most + 1]), None);
            assert_eq!(emit(&mut buffer[..whole - 1], source, destination, &vec![1; most]), None);
            assert_eq!(emit(&mut buffer, source, ends(!v6)[1], &[]), None);
        }
    }

    #[test]
    fn a_checksum_of_zero_is_written_as_its_equal() {
        for v6 in [false, true] {
            let ([source, destination], mut buffer) = (ends(v6), [0; 100]);
            let checksum_at = header_len(source.ip()) + 6;
            let len = emit(&mut buffer, source, destination, &[0; 2]).unwrap();
            let checksum = [buffer[checksum_at], buffer[checksum_at + 1]];
            // What completes the sum leaves zero to be its complement.
            assert_eq!(emit(&mut buffer, source, destination, &checksum), Some(len));
            assert_eq!(buffer[checksum_at..checksum_at + 2], [0xff, 0xff]);
            assert!(Ip::parse(&buffer[..len]).unwrap().is_checksum_right());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(payload in prop::collection::vec(any::<u8>(), 0..50), v6: bool) {
            let ([source, destination], mut buffer) = (ends(v6), [0xff; 200]);
            let len = emit(&mut buffer, source, destination, &payload).unwrap();
            prop_assert_eq!(validate(&buffer[..len], 200), Ok(()));
            let ip = Ip::parse(&buffer[..len]).unwrap();
            prop_assert_eq!((ip.source, ip.destination), (source.ip(), destination.ip()));
            prop_assert!(ip.is_checksum_right() && ip.payload[6..8] != [0, 0]);
            let wanted = Datagram { source_port: 53, destination_port: 40_000, payload: &payload };
            prop_assert_eq!(Datagram::parse(&ip), Ok(wanted));
        }
    }
}
