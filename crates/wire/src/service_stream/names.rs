//! `/hypertap/services/1`.

use crate::label::{Label, LabelError};
use crate::message::{Message, body, needed_with_length, with_length};

/// The most services that a peer is told of.
pub const MAX_NAMES: usize = 1000;
/// The length in bytes of the number of names.
const COUNT: usize = 2;

/// The names of all services of the sender that the receiver may use. At most [`MAX_NAMES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceNames(Vec<Label>);

/// More services than a peer can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} services are more than a peer can be told of: at most {MAX_NAMES}")]
pub struct TooManyNames(pub usize);

/// Why bytes are no list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// It says that it is shorter than its number of names.
    #[error("the peer's list of services is {0} bytes long: expected at least {COUNT}")]
    TooShort(usize),
    /// More than [`MAX_NAMES`].
    #[error("the peer tells of {0} services: at most {MAX_NAMES}")]
    TooMany(usize),
    /// It ends before its last name does.
    #[error("the peer's list of services ends within a name")]
    Cut,
    /// A name is not text.
    #[error("the peer tells of a service whose name is not utf-8")]
    NotText,
    /// A name is none.
    #[error("the peer tells of a service with a bad name: {0}")]
    BadName(LabelError),
}

impl ServiceNames {
    /// A list of these names.
    ///
    /// # Errors
    /// There are more than [`MAX_NAMES`].
    pub fn new(names: Vec<Label>) -> Result<Self, TooManyNames> {
        if names.len() > MAX_NAMES { Err(TooManyNames(names.len())) } else { Ok(Self(names)) }
    }

    /// The names.
    pub fn names(&self) -> &[Label] {
        &self.0
    }

    /// The names, to keep.
    pub fn into_names(self) -> Vec<Label> {
        self.0
    }
}

impl Message for ServiceNames {
    type Error = NamesError;

    fn needed(begun: &[u8]) -> Result<usize, NamesError> {
        needed_with_length(begun, COUNT, usize::from(u16::MAX)).map_err(NamesError::TooShort)
    }

    fn parse(whole: &[u8]) -> Result<Self, NamesError> {
        let body = body(whole);
        let (count, mut rest) = body.split_first_chunk::<COUNT>().ok_or(NamesError::TooShort(body.len()))?;
        let count = usize::from(u16::from_be_bytes(*count));
        if count > MAX_NAMES {
            return Err(NamesError::TooMany(count));
        }
        let mut names = Vec::new();
        for _ in 0..count {
            let (len, after) = rest.split_first().ok_or(NamesError::Cut)?;
            let (name, after) = after.split_at_checked(usize::from(*len)).ok_or(NamesError::Cut)?;
            let name = str::from_utf8(name).map_err(|_| NamesError::NotText)?;
            names.push(Label::new(name).map_err(NamesError::BadName)?);
            rest = after;
        }
        Ok(Self(names))
    }

    fn emit(&self) -> Vec<u8> {
        let count = u16::try_from(self.0.len()).expect("at most MAX_NAMES");
        let mut body = count.to_be_bytes().to_vec();
        for name in &self.0 {
            body.push(u8::try_from(name.as_str().len()).expect("a label has at most 63 bytes"));
            body.extend(name.as_str().as_bytes());
        }
        with_length(&body)
    }
}
