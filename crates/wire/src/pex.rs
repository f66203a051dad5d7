//! Peer exchange: `/hyprspace/pex/0.0.1`, by which peers tell each other where others are.
//!
//! The asker sends `r\n`. The answer is one line `PEERID|MULTIADDR\n` for each known address of each
//! configured peer but the asker, and the end of the stream. What a peer tells is only a hint: a line
//! that cannot be read is skipped, one that does not end with the stream's end is none (its address may
//! be cut off), and the whole is bounded. Whether an address may be dialled is not decided here.

use crate::message::Message;
use crate::peer_id::PeerId;

/// The name of the protocol.
pub const PEX: &str = "/hyprspace/pex/0.0.1";
/// The longest line in bytes, without its end.
pub const MAX_LINE: usize = 1024;
/// The most lines in one answer.
pub const MAX_LINES: usize = 4096;

const REQUEST: &[u8; 2] = b"r\n";

/// The asker's only message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request;

/// The asker did not say `r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer did not ask for addresses with r and a line end")]
pub struct NotARequest;

impl Message for Request {
    type Error = NotARequest;

    fn needed(begun: &[u8]) -> Result<usize, NotARequest> {
        if REQUEST.starts_with(begun) { Ok(REQUEST.len()) } else { Err(NotARequest) }
    }

    fn parse(whole: &[u8]) -> Result<Self, NotARequest> {
        if whole == REQUEST { Ok(Self) } else { Err(NotARequest) }
    }

    fn emit(&self) -> Vec<u8> {
        REQUEST.to_vec()
    }
}

/// That a peer was seen at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    peer: PeerId,
    address: Box<str>,
}

impl Sighting {
    /// A peer at an address; `None` when the address is no multiaddr's text or does not fit a line.
    pub fn new(peer: PeerId, address: &str) -> Option<Self> {
        let is_text = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'|');
        let fits = peer.to_string().len() + 1 + address.len() <= MAX_LINE;
        let is_address = address.starts_with('/') && address.len() > 1;
        (is_text && fits && is_address).then(|| Self { peer, address: address.into() })
    }

    /// The peer.
    pub fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// The text of a multiaddr: printable ASCII that begins with a slash; more was not checked.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The line of it, with its end.
    pub fn line(&self) -> String {
        format!("{}|{}\n", self.peer, self.address)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let (peer, address) = str::from_utf8(line).ok()?.split_once('|')?;
        Self::new(peer.parse().ok()?, address)
    }
}

/// Why an answer is not read on. What was read before may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PexError {
    /// A line is longer than [`MAX_LINE`].
    #[error("the peer sent a line of more than {MAX_LINE} bytes")]
    LineTooLong,
    /// There are more than [`MAX_LINES`] lines.
    #[error("the peer sent more than {MAX_LINES} lines")]
    TooManyLines,
}

/// Reads an answer in whatever pieces it comes.
#[derive(Debug, Default)]
pub struct AnswerReader {
    line: Vec<u8>,
    lines: usize,
    unreadable: usize,
}

impl AnswerReader {
    /// A reader at the beginning of an answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front until they tell where a peer was seen. `None` means that all of
    /// `bytes` was taken.
    ///
    /// # Errors
    /// That the answer is too long, for ever after.
    pub fn push(&mut self, bytes: &mut &[u8]) -> Result<Option<Sighting>, PexError> {
        loop {
            if self.line.len() > MAX_LINE {
                return Err(PexError::LineTooLong);
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            if self.lines == MAX_LINES {
                return Err(PexError::TooManyLines);
            }
            // One byte more than a line may have is enough to see that it is too long.
            let window = bytes.get(..MAX_LINE + 1 - self.line.len()).unwrap_or(bytes);
            let end = window.iter().position(|byte| *byte == b'\n');
            self.line.extend_from_slice(window.get(..end.unwrap_or(window.len())).unwrap_or_default());
            *bytes = bytes.get(end.map_or(window.len(), |end| end + 1)..).unwrap_or_default();
            if end.is_none() {
                continue;
            }
            self.lines += 1;
            let sighting = Sighting::parse(&self.line);
            self.line.clear();
            if sighting.is_some() {
                return Ok(sighting);
            }
            self.unreadable += 1;
        }
    }

    /// How many lines there were that say nothing, to be counted. At the end of the stream a line that
    /// was begun and not ended is one too.
    pub fn unreadable(&self) -> usize {
        self.unreadable + usize::from(!self.line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Reader;
    use proptest::prelude::*;

    const PEER: &str = "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN";

    fn read(answer: &[u8], size: usize) -> (Vec<String>, usize, Option<PexError>) {
        let (mut reader, mut seen) = (AnswerReader::new(), Vec::new());
        for mut piece in answer.chunks(size) {
            loop {
                match reader.push(&mut piece) {
                    Ok(Some(sighting)) => seen.push(sighting.address().to_owned()),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(reader.push(&mut b"x\n".as_slice()), Err(error), "and so it stays");
                        return (seen, reader.unreadable(), Some(error));
                    }
                }
            }
            assert!(reader.line.len() <= MAX_LINE);
        }
        (seen, reader.unreadable(), None)
    }

    #[test]
    fn a_request_is_r_and_a_line_end() {
        assert_eq!(Request.emit(), b"r\n");
        assert_eq!(Reader::new().push(&mut b"r\nx".as_slice()), Ok(Some(Request)));
        for (bad, error) in [("x", true), ("rr", true), ("r", false), ("\n", true)] {
            let result = Reader::<Request>::new().push(&mut bad.as_bytes());
            assert_eq!(result, if error { Err(NotARequest) } else { Ok(None) }, "{bad:?}");
        }
    }

    #[test]
    fn a_line_is_the_id_and_the_address() {
        let sighting = Sighting::new(PEER.parse().unwrap(), "/ip4/192.0.2.1/tcp/8001").unwrap();
        assert_eq!(sighting.line(), format!("{PEER}|/ip4/192.0.2.1/tcp/8001\n"));
        let mut line = sighting.line().into_bytes();
        assert_eq!(AnswerReader::new().push(&mut line.as_slice()), Ok(Some(sighting)));
        line.pop();
        assert_eq!(AnswerReader::new().push(&mut line.as_slice()), Ok(None), "it may be cut off");
    }

    #[test]
    fn lines_that_say_nothing_are_skipped_and_counted() {
        let answer = format!(
            "\n|\nno bar\n{PEER}\n{PEER}|\n{PEER}|/\nx|/ip4/1.2.3.4\n{PEER}|no slash\n{PEER}|/a|/b\n\u{e9}|/a\n\
             {PEER}|/ok\n{PEER}|/not ended"
        );
        for size in [1, 7, 9999] {
            assert_eq!(read(answer.as_bytes(), size), (vec!["/ok".to_owned()], 11, None), "{size}");
        }
        assert_eq!(read(b"\xff\xfe|/a\n", 99), (vec![], 1, None));
    }

    #[test]
    fn the_longest_line_is_read_and_a_longer_one_ends_it() {
        let longest = format!("{PEER}|/{}", "x".repeat(MAX_LINE - PEER.len() - 2));
        for size in [1, 1000, 9999] {
            let (seen, _, end) = read(format!("{longest}\n{PEER}|/b\n").as_bytes(), size);
            assert_eq!((seen.len(), end), (2, None));
            let (seen, _, end) = read(format!("{PEER}|/b\n{longest}x\n").as_bytes(), size);
            assert_eq!((seen.len(), end), (1, Some(PexError::LineTooLong)));
            let (_, _, end) = read(&vec![b'x'; MAX_LINE + 1], size);
            assert_eq!(end, Some(PexError::LineTooLong));
        }
        let address = &longest[PEER.len() + 1..];
        assert!(Sighting::new(PEER.parse().unwrap(), address).is_some());
        assert!(Sighting::new(PEER.parse().unwrap(), &format!("{address}x")).is_none());
    }

    #[test]
    fn more_lines_than_an_answer_has_end_it() {
        let answer = "\n".repeat(MAX_LINES);
        assert_eq!(read(answer.as_bytes(), 100), (vec![], MAX_LINES, None));
        let answer = answer + "\n";
        assert_eq!(read(answer.as_bytes(), 100), (vec![], MAX_LINES, Some(PexError::TooManyLines)));
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(answer in "([|\n]|/a|12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN){0,40}", size in 1..60_usize) {
            prop_assert_eq!(read(answer.as_bytes(), size), read(answer.as_bytes(), usize::MAX));
        }
    }
}
