//! The password authentication protocol (RFC 1334 2): a name and a password, in clear.

use super::control::Code;

/// A peer says who it is; holds an [`AuthenticateRequest`].
pub const AUTHENTICATE_REQUEST: Code = Code(1);
/// It is believed; holds a [`message`].
pub const AUTHENTICATE_ACK: Code = Code(2);
/// It is not; holds a [`message`].
pub const AUTHENTICATE_NAK: Code = Code(3);

/// Who a peer says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticateRequest<'a> {
    /// Its name.
    pub peer_id: &'a [u8],
    /// Its password.
    pub password: &'a [u8],
}

impl<'a> AuthenticateRequest<'a> {
    /// Reads the data of a packet [`AUTHENTICATE_REQUEST`]; none when a length passes its end.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (peer_id, rest) = counted(data)?;
        let (password, _) = counted(rest)?;
        Some(Self { peer_id, password })
    }
}

/// The data of an answer with a text for people, of which at most 255 bytes are taken.
pub fn message(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[len], &text.as_bytes()[..len.into()]].concat()
}

fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_name_and_password() {
        let request = AuthenticateRequest { peer_id: b"guest", password: b"pw" };
        assert_eq!(AuthenticateRequest::parse(b"\x05guest\x02pw"), Some(request));
        let empty = AuthenticateRequest { peer_id: b"", password: b"" };
        assert_eq!(AuthenticateRequest::parse(&[0, 0]), Some(empty));
    }

    #[test]
    fn a_length_past_the_end_makes_it_none() {
        for data in [&b""[..], b"\x05gues", b"\x05guest", b"\x05guest\x03pw"] {
            assert_eq!(AuthenticateRequest::parse(data), None);
        }
    }

    #[test]
    fn a_message_is_counted_and_cut() {
        assert_eq!(message("hi"), b"\x02hi");
        assert_eq!(message(&"x".repeat(300)).len(), 256);
    }
}
