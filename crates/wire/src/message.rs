//! Messages that a stream begins with, or consists of, as they come in pieces.
//!
//! A [`Reader`] takes a message's bytes and leaves what follows them alone, so that the same stream
//! can go on with something else. It holds at most one unfinished message, whose length the message's
//! own first bytes tell and its type bounds.

use std::marker::PhantomData;

/// What can be read from, and written to, a stream.
pub trait Message: Sized {
    /// What may be wrong with it.
    type Error;

    /// How long the message is in bytes, as far as its first bytes `begun` tell: more than they are as
    /// long as it is not whole. The answer to nothing is how many bytes tell the first thing.
    ///
    /// # Errors
    /// It is wrong from the beginning.
    fn needed(begun: &[u8]) -> Result<usize, Self::Error>;

    /// Reads a whole message, as long as [`Self::needed`] said.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(whole: &[u8]) -> Result<Self, Self::Error>;

    /// Writes the message.
    fn emit(&self) -> Vec<u8>;
}

/// Reads messages of one type in whatever pieces they come.
#[derive(Debug)]
pub struct Reader<M> {
    begun: Vec<u8>,
    message: PhantomData<fn() -> M>,
}

impl<M> Default for Reader<M> {
    fn default() -> Self {
        Self { begun: Vec::new(), message: PhantomData }
    }
}

impl<M: Message> Reader<M> {
    /// A reader at the beginning of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes of `bytes` what belongs to the message, from the front, and yields it once it is whole;
    /// then the next one begins. `None` means that all of `bytes` was taken.
    ///
    /// # Errors
    /// What is wrong with the message, for ever after.
    pub fn push(&mut self, bytes: &mut &[u8]) -> Result<Option<M>, M::Error> {
        loop {
            let missing = self.missing()?;
            if missing == 0 {
                let message = M::parse(&self.begun)?;
                self.begun.clear();
                return Ok(Some(message));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.begun.extend_from_slice(taken);
            *bytes = rest;
        }
    }

    /// How many bytes are surely still of this message: as many may be read without reading past it.
    /// Never 0 after [`Self::push`] yielded a message or nothing.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn missing(&self) -> Result<usize, M::Error> {
        Ok(M::needed(&self.begun)?.saturating_sub(self.begun.len()))
    }

    /// Whether a message has begun and is not whole: a stream that ends now was cut off.
    pub fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }
}

/// The length in bytes of the length before a body.
const LENGTH: usize = 2;

/// How long a message is whose body of `least` to `most` bytes has its length before it (u16,
/// big-endian), as [`Message::needed`] tells it; the body's length when that is out of bounds.
pub(crate) fn needed_with_length(begun: &[u8], least: usize, most: usize) -> Result<usize, usize> {
    let Some(length) = begun.first_chunk::<LENGTH>() else { return Ok(LENGTH) };
    let length = usize::from(u16::from_be_bytes(*length));
    if (least..=most).contains(&length) { Ok(LENGTH + length) } else { Err(length) }
}

/// The body of a message that has its length before it.
pub(crate) fn body(whole: &[u8]) -> &[u8] {
    whole.get(LENGTH..).unwrap_or_default()
}

/// Puts the length before a body, which is shorter than 64 KiB.
pub(crate) fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("bodies are bounded below 64 KiB");
    [&length.to_be_bytes(), body].concat()
}
