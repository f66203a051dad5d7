//! `/hypertap/service/1`.

use std::num::NonZeroU16;

use super::Refusal;
use crate::label::{Label, LabelError};
use crate::message::{Message, body, needed_with_length, with_length};
use crate::service_address::ServiceId;

/// The length in bytes of an opening's fixed fields.
const FIXED: usize = 8;
/// The longest opening in bytes, without its length: what later versions may add to.
const MAX_OPENING: usize = 512;
/// The longest reply in bytes, without its length.
const MAX_REPLY: usize = 255;

/// The protocol of a connection to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP: a stream of bytes.
    Tcp,
    /// UDP: datagrams.
    Udp,
}

impl Protocol {
    /// IANA's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => crate::ip::TCP,
            Self::Udp => crate::ip::UDP,
        }
    }

    /// The protocol with a number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp].into_iter().find(|known| known.number() == number)
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The service.
    pub service: ServiceId,
    /// Its name, when the client knows it; [`ServiceId::of`] gives `service`.
    pub name: Option<Label>,
    /// The port of the client's program.
    pub client_port: u16,
    /// The port of the service's address that the program asked for.
    pub port: NonZeroU16,
    /// Whether it is TCP or UDP.
    pub protocol: Protocol,
}

/// Why bytes are no opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// It says that it is shorter or longer than an opening is.
    #[error("the peer's opening is {0} bytes long: expected {FIXED} to {MAX_OPENING}")]
    BadLength(usize),
    /// Its name does not end before it does.
    #[error("the peer's opening ends within the service's name")]
    NameCut,
    /// Its name is none.
    #[error("the peer's opening has a bad name: {0}")]
    BadName(LabelError),
    /// Its name is not text.
    #[error("the peer's opening has a name that is not utf-8")]
    NotText,
    /// Its name has another service id.
    #[error("the peer's opening has a name that is another service's")]
    OtherName,
    /// It asks for port 0.
    #[error("the peer's opening asks for port 0")]
    NoPort,
    /// It asks for neither TCP nor UDP; to be answered with [`Refusal::WrongProtocol`].
    #[error("the peer's opening asks for protocol {0}, which is neither tcp nor udp")]
    UnknownProtocol(u8),
}

impl Message for Opening {
    type Error = OpeningError;

    fn needed(begun: &[u8]) -> Result<usize, OpeningError> {
        needed_with_length(begun, FIXED, MAX_OPENING).map_err(OpeningError::BadLength)
    }

    fn parse(whole: &[u8]) -> Result<Self, OpeningError> {
        let body = body(whole);
        let short = OpeningError::BadLength(body.len());
        let ([s0, s1, c0, c1, p0, p1, protocol, name], rest) =
            body.split_first_chunk::<FIXED>().ok_or(short)?;
        let service = ServiceId([*s0, *s1]);
        let name = parse_name(rest.get(..usize::from(*name)).ok_or(OpeningError::NameCut)?)?;
        if name.as_ref().is_some_and(|name| ServiceId::of(name) != service) {
            return Err(OpeningError::OtherName);
        }
        Ok(Self {
            service,
            name,
            client_port: u16::from_be_bytes([*c0, *c1]),
            port: NonZeroU16::new(u16::from_be_bytes([*p0, *p1])).ok_or(OpeningError::NoPort)?,
            protocol: Protocol::from_number(*protocol).ok_or(OpeningError::UnknownProtocol(*protocol))?,
        })
    }

    fn emit(&self) -> Vec<u8> {
        let name = self.name.as_ref().map_or("", Label::as_str);
        let mut body = Vec::with_capacity(FIXED + name.len());
        body.extend(self.service.0);
        body.extend(self.client_port.to_be_bytes());
        body.extend(self.port.get().to_be_bytes());
        body.push(self.protocol.number());
        body.push(u8::try_from(name.len()).expect("a label has at most 63 bytes"));
        body.extend(name.as_bytes());
        with_length(&body)
    }
}

fn parse_name(name: &[u8]) -> Result<Option<Label>, OpeningError> {
    let name = str::from_utf8(name).map_err(|_| OpeningError::NotText)?;
    let name = (!name.is_empty()).then(|| Label::new(name));
    name.transpose().map_err(OpeningError::BadName)
}

/// What the server answers: that the connection is there, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply(pub Result<(), Refusal>);

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer's reply is {0} bytes long: expected 1 to {MAX_REPLY}")]
pub struct ReplyError(pub usize);

impl Message for Reply {
    type Error = ReplyError;

    fn needed(begun: &[u8]) -> Result<usize, ReplyError> {
        needed_with_length(begun, 1, MAX_REPLY).map_err(ReplyError)
    }

    fn parse(whole: &[u8]) -> Result<Self, ReplyError> {
        let code = body(whole).first().ok_or(ReplyError(0))?;
        Ok(Self(Refusal::from_code(*code).map_or(Ok(()), Err)))
    }

    fn emit(&self) -> Vec<u8> {
        with_length(&[self.0.map_or_else(Refusal::code, |()| 0)])
    }
}
