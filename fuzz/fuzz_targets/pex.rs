//! Peer exchange: whatever the cuts, what is read is what the plain lines say.
//!
//! Input: the size of the pieces in which the bytes arrive (u8; zero is one), then the bytes.
#![no_main]

use hypertap_fuzz::Input;
use hypertap_wire::message::Reader;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::pex::{AnswerReader, MAX_LINE, MAX_LINES, PexError, Request, Sighting};
use libfuzzer_sys::fuzz_target;

/// What was read, how many lines were not, and the error that ended it.
type Read = (Vec<Sighting>, usize, Option<PexError>);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut reader, mut seen) = (AnswerReader::new(), Vec::new());
    for mut piece in pieces {
        loop {
            match reader.push(&mut piece) {
                Ok(Some(sighting)) => seen.push(sighting),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.push(&mut b"\n".as_slice()), Err(error), "and so it stays");
                    return (seen, reader.unreadable(), Some(error));
                }
            }
        }
        assert!(piece.is_empty(), "something was left");
    }
    (seen, reader.unreadable(), None)
}

/// The same, from the whole.
fn plainly(bytes: &[u8]) -> Read {
    let (mut seen, mut unreadable) = (Vec::new(), 0);
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let is_ended = lines.peek().is_some();
        if !is_ended && line.is_empty() {
            break;
        } else if index == MAX_LINES {
            return (seen, unreadable, Some(PexError::TooManyLines));
        } else if line.len() > MAX_LINE {
            return (seen, unreadable + 1, Some(PexError::LineTooLong));
        }
        match plain_line(line).filter(|_| is_ended) {
            Some((peer, address)) => seen.push(Sighting::new(peer, address).expect("it was checked")),
            None => unreadable += 1,
        }
    }
    (seen, unreadable, None)
}

fn plain_line(line: &[u8]) -> Option<(PeerId, &str)> {
    let (peer, address) = std::str::from_utf8(line).ok()?.split_once('|')?;
    let is_text = address.chars().all(|letter| ('!'..='~').contains(&letter) && letter != '|');
    let is_address = is_text && address.starts_with('/') && address != "/";
    let peer: PeerId = peer.parse().ok()?;
    (is_address && peer.to_string().len() + 1 + address.len() <= MAX_LINE).then_some((peer, address))
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let size = usize::from(input.u8().max(1));
    let bytes = input.0;

    let whole = read(std::iter::once(bytes));
    assert_eq!(read(bytes.chunks(size)), whole, "the cuts made a difference");
    assert_eq!(whole, plainly(bytes));

    let written: String = whole.0.iter().map(Sighting::line).collect();
    assert_eq!(read(std::iter::once(written.as_bytes())), (whole.0, 0, None));

    let is_request = Reader::<Request>::new().push(&mut &*bytes) == Ok(Some(Request));
    assert_eq!(is_request, bytes.starts_with(b"r\n"));
});
