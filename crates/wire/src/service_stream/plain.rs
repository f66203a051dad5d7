//! `/hyprspace/service/0.0.1`.

use std::convert::Infallible;

use super::Refusal;
use crate::message::Message;
use crate::service_address::ServiceId;

const ACCEPTED: u8 = 0xf1;
const NO_SUCH_SERVICE: u8 = 0xf2;
const NOT_AUTHORISED: u8 = 0xf3;

/// The client's only message: the service that it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainOpening(pub ServiceId);

/// The server's only message. Of refusals it can tell two, so that all but the missing right are "no such
/// service".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainReply(pub Result<(), Refusal>);

/// The server's status is none that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer answered with the status {0:02x}, which means nothing")]
pub struct UnknownStatus(pub u8);

impl Message for PlainOpening {
    type Error = Infallible;

    fn needed(_: &[u8]) -> Result<usize, Infallible> {
        Ok(2)
    }

    fn parse(whole: &[u8]) -> Result<Self, Infallible> {
        Ok(Self(ServiceId(whole.first_chunk().copied().unwrap_or_default())))
    }

    fn emit(&self) -> Vec<u8> {
        self.0.0.to_vec()
    }
}

impl Message for PlainReply {
    type Error = UnknownStatus;

    fn needed(_: &[u8]) -> Result<usize, UnknownStatus> {
        Ok(1)
    }

    fn parse(whole: &[u8]) -> Result<Self, UnknownStatus> {
        match whole.first().copied().unwrap_or_default() {
            ACCEPTED => Ok(Self(Ok(()))),
            NO_SUCH_SERVICE => Ok(Self(Err(Refusal::NoSuchService))),
            NOT_AUTHORISED => Ok(Self(Err(Refusal::NotAuthorised))),
            other => Err(UnknownStatus(other)),
        }
    }

    fn emit(&self) -> Vec<u8> {
        vec![match self.0 {
            Ok(()) => ACCEPTED,
            Err(Refusal::NotAuthorised) => NOT_AUTHORISED,
            Err(_) => NO_SUCH_SERVICE,
        }]
    }
}
