//! The PROXY protocol, version 2: what stands before a connection's bytes, so that the target learns who
//! the client is (`HAProxy`'s `proxy-protocol.txt`, section 2.2).
//!
//! Only what is sent here: IPv6 addresses, since nodes and services all have one, or LOCAL where the
//! client is not known.

use std::net::SocketAddrV6;

use crate::service_stream::Protocol;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The length in bytes of signature, version, command, family and length.
const FIXED: usize = 16;
/// The length in bytes of two IPv6 addresses and ports.
const ADDRESSES: usize = 36;
const VERSION: u8 = 0x20;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const INET6: u8 = 0x20;
const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;

/// The longest header in bytes.
pub const MAX_HEADER: usize = FIXED + ADDRESSES;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is the sender's own, as far as the target is to know.
    Local,
    /// The connection is made for a client.
    Proxy {
        /// TCP or UDP.
        protocol: Protocol,
        /// The client's address and port.
        source: SocketAddrV6,
        /// The address and port that it asked for.
        destination: SocketAddrV6,
    },
}

/// Why bytes are no such header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// They do not begin with the signature.
    #[error("it does not begin with the signature of the proxy protocol, version 2")]
    NoSignature,
    /// The version or the command is unknown.
    #[error("version and command {0:02x} are neither LOCAL nor PROXY of version 2")]
    UnknownCommand(u8),
    /// It is not of TCP or UDP over IPv6.
    #[error("family and protocol {0:02x} are not TCP or UDP over IPv6")]
    UnknownFamily(u8),
    /// It is shorter than what it has to say.
    #[error("it is cut off")]
    Cut,
}

impl ProxyHeader {
    /// Writes the header.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        match self {
            Self::Local => bytes.extend([VERSION | LOCAL, 0, 0, 0]),
            Self::Proxy { protocol, source, destination } => {
                let transport = if *protocol == Protocol::Tcp { STREAM } else { DATAGRAM };
                bytes.extend([VERSION | PROXY, INET6 | transport, 0, 36]);
                bytes.extend(source.ip().octets());
                bytes.extend(destination.ip().octets());
                bytes.extend(source.port().to_be_bytes());
                bytes.extend(destination.port().to_be_bytes());
            }
        }
        bytes
    }

    /// Reads a header, and yields what follows it. Extensions (TLVs) are skipped.
    ///
    /// # Errors
    /// What it is instead.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), ProxyHeaderError> {
        let rest = bytes.strip_prefix(&SIGNATURE).ok_or(ProxyHeaderError::NoSignature)?;
        let ([command, family, length @ ..], rest) =
            rest.split_first_chunk::<4>().ok_or(ProxyHeaderError::Cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (body, rest) = rest.split_at_checked(length).ok_or(ProxyHeaderError::Cut)?;
        if *command == VERSION | LOCAL {
            return Ok((Self::Local, rest));
        } else if *command != VERSION | PROXY {
            return Err(ProxyHeaderError::UnknownCommand(*command));
        }
        let protocol = match *family ^ INET6 {
            STREAM => Protocol::Tcp,
            DATAGRAM => Protocol::Udp,
            _ => return Err(ProxyHeaderError::UnknownFamily(*family)),
        };
        let addresses = body.first_chunk::<ADDRESSES>().ok_or(ProxyHeaderError::Cut)?;
        let ([source, destination], [a, b, c, d]) = addresses.as_chunks::<16>() else {
            return Err(ProxyHeaderError::Cut);
        };
        let at = |address: [u8; 16], port| SocketAddrV6::new(address.into(), u16::from_be_bytes(port), 0, 0);
        let (source, destination) = (at(*source, [*a, *b]), at(*destination, [*c, *d]));
        Ok((Self::Proxy { protocol, source, destination }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(protocol: Protocol) -> ProxyHeader {
        let source = "[fd00::1]:4660".parse().unwrap();
        ProxyHeader::Proxy { protocol, source, destination: "[fd00::2]:80".parse().unwrap() }
    }

    #[test]
    fn a_header_is_the_bytes_of_its_page() {
        let bytes = header(Protocol::Tcp).emit();
        let mut wanted = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
        wanted.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        wanted.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        wanted.extend([0x12, 0x34, 0, 80]);
        assert_eq!(bytes, wanted);
        assert_eq!(header(Protocol::Udp).emit()[13], 0x22);
        assert_eq!(ProxyHeader::Local.emit(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
        assert_eq!(bytes.len(), MAX_HEADER);
    }

    #[test]
    fn extensions_are_skipped() {
        let mut bytes = header(Protocol::Tcp).emit();
        bytes[15] += 4;
        bytes.extend(b"\x04\0\x01xGET");
        assert_eq!(ProxyHeader::parse(&bytes), Ok((header(Protocol::Tcp), b"GET".as_slice())));
    }

    #[test]
    fn what_is_no_header_is_named() {
        let good = header(Protocol::Tcp).emit();
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        for (bytes, error) in [
            (vec![], ProxyHeaderError::NoSignature),
            (b"PROXY TCP6 ::1 ::1 1 2\r\n".to_vec(), ProxyHeaderError::NoSignature),
            (changed(12, 0x11), ProxyHeaderError::UnknownCommand(0x11)),
            (changed(12, 0x22), ProxyHeaderError::UnknownCommand(0x22)),
            (changed(13, 0x11), ProxyHeaderError::UnknownFamily(0x11)),
            (changed(15, 35), ProxyHeaderError::Cut),
            (changed(15, 37), ProxyHeaderError::Cut),
            (good[..14].to_vec(), ProxyHeaderError::Cut),
        ] {
            assert_eq!(ProxyHeader::parse(&bytes), Err(error));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(source: [u8; 16], destination: [u8; 16], ports: [u16; 2], udp: bool) {
            let header = ProxyHeader::Proxy {
                protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
                source: SocketAddrV6::new(source.into(), ports[0], 0, 0),
                destination: SocketAddrV6::new(destination.into(), ports[1], 0, 0),
            };
            let bytes = [header.emit(), b"rest".to_vec()].concat();
            prop_assert_eq!(ProxyHeader::parse(&bytes), Ok((header, b"rest".as_slice())));
            prop_assert_eq!(ProxyHeader::parse(&bytes[..MAX_HEADER - 1]), Err(ProxyHeaderError::Cut));
        }
    }
}
