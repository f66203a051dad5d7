//! Lines of the command plane: bytes in any cut, one line at a time out.
//!
//! A line ends with `\n` or `\r\n`. What C programs and terminals add around it (NULs, carriage
//! returns, blanks) is stripped, and lines of nothing else are skipped. NULs and carriage returns
//! right after a line's end are still that line's (a C string sent with its NUL ends so); any other
//! byte begins the next line. The decoder holds at most one unfinished line and the bytes of the last
//! push; it knows no clock, so the caller watches [`LineDecoder::begun`] for the time limit.

/// The longest line, in bytes without its end.
pub const MAX_LINE: usize = 1 << 20;

/// A line grew past [`MAX_LINE`]; the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {MAX_LINE} bytes")]
pub struct LineTooLong;

/// Cuts a byte stream into lines.
#[derive(Debug, Default)]
pub struct LineDecoder {
    buffer: Vec<u8>,
    /// Where the next line starts in `buffer`.
    start: usize,
    /// Up to where `buffer` is known to hold no line end.
    searched: usize,
    /// How many lines have ended, the skipped ones included.
    ended: u64,
    /// Whether the next line has begun, if only with padding that is gone from `buffer`.
    has_begun: bool,
}

fn is_padding(byte: u8) -> bool {
    matches!(byte, 0 | b'\r' | b'\n' | b' ' | b'\t')
}

impl LineDecoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they came. Call [`Self::next_line`] until it yields nothing before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, stripped, never empty; `None` when there is none yet.
    ///
    /// # Errors
    /// [`LineTooLong`], for ever after.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        self.skip_padding();
        let end = self.buffer[self.searched..].iter().position(|&b| b == b'\n').map(|at| self.searched + at);
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return if self.searched - self.start > MAX_LINE + 1 { Err(LineTooLong) } else { Ok(None) };
        };
        let line = &self.buffer[self.start..end];
        let kept = line.iter().rposition(|&b| !is_padding(b)).map_or(0, |last| last + 1);
        if kept > MAX_LINE {
            return Err(LineTooLong);
        }
        let from = self.start;
        self.start = end + 1;
        self.searched = self.start;
        self.end_line();
        Ok(Some(&self.buffer[from..from + kept]))
    }

    /// Which line has begun and not ended, counted from the connection's first; `None` between lines.
    /// To be asked when [`Self::next_line`] yields nothing.
    pub fn begun(&self) -> Option<u64> {
        self.has_begun.then_some(self.ended)
    }

    /// The bytes of the line that has begun and not ended, without the padding before it.
    /// To be asked when [`Self::next_line`] yields nothing.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Moves `start` to the first byte of a line that is no padding.
    fn skip_padding(&mut self) {
        while let Some(&byte) = self.buffer.get(self.start) {
            match byte {
                b'\n' => self.end_line(),
                0 | b'\r' if !self.has_begun && self.ended > 0 => {}
                _ => self.has_begun = true,
            }
            if !is_padding(byte) {
                break;
            }
            self.start += 1;
        }
        self.searched = self.searched.max(self.start);
    }

    fn end_line(&mut self) {
        self.ended += 1;
        self.has_begun = false;
    }
}

/// Whether a first line is a browser's, which a page may have tricked into calling us: an HTTP
/// request, or the TLS of an `https` one. Of an unfinished line too, as soon as it shows.
pub fn is_browsers(first_line: &[u8]) -> bool {
    is_http_request(first_line) || is_tls(first_line)
}

/// Whether a line begins as an HTTP request does, with a method and a target (RFC 9112, section 3).
fn is_http_request(line: &[u8]) -> bool {
    let mut words = line.splitn(3, |&b| b == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return false };
    let token = !method.is_empty() && method.len() <= 24 && method.iter().all(u8::is_ascii_uppercase);
    let path = target.starts_with(b"/") || target.starts_with(b"*") || target.starts_with(b"http");
    token && (path || words.next().is_some_and(|version| version.starts_with(b"HTTP/")))
}

/// Whether bytes begin as TLS does: a record of type handshake (22), version 3.x (RFC 8446, section 5.1).
fn is_tls(bytes: &[u8]) -> bool {
    bytes.starts_with(&[22, 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(decoder: &mut LineDecoder, cuts: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for cut in cuts {
            decoder.push(cut);
            while let Some(line) = decoder.next_line().expect("short lines") {
                out.push(line.to_vec());
            }
        }
        out
    }

    #[test]
    fn both_line_ends_and_nuls_are_stripped() {
        let got = lines(&mut LineDecoder::new(), &[b"a\nb\r\nc\0\nd\0\0\r\n\0e\n\n\r\n \0\nf g \n"]);
        assert_eq!(got, [&b"a"[..], b"b", b"c", b"d", b"e", b"f g"]);
    }

    fn begun_after(bytes: &[u8]) -> Option<u64> {
        let mut decoder = LineDecoder::new();
        lines(&mut decoder, &[bytes]);
        decoder.begun()
    }

    #[test]
    fn a_line_begins_with_its_first_byte_padding_included() {
        for first in [&b"x"[..], b" ", b"\t", b"\0", b"\r", b"  \0x", b"\0\0"] {
            assert_eq!(begun_after(first), Some(0), "{first:?}");
        }
        for second in [&b"a\nx"[..], b"a\n ", b"a\n\0\r\0 ", b" \n ", b"\n\t"] {
            assert_eq!(begun_after(second), Some(1), "{second:?}");
        }
    }

    #[test]
    fn what_c_programs_send_after_a_line_begins_none() {
        for whole in [&b""[..], b"a\n", b"a\0\r\n", b"a\n\0", b"a\r\n\0\0", b"\n\0", b"  \r\n"] {
            assert_eq!(begun_after(whole), None, "{whole:?}");
        }
    }

    #[test]
    fn each_line_has_its_own_number_those_of_blanks_too() {
        let mut decoder = LineDecoder::new();
        for (bytes, begun) in [(&b" "[..], 0), (b" ", 0), (b"\n ", 1), (b"a", 1), (b"\n\n\0\na", 4)] {
            lines(&mut decoder, &[bytes]);
            assert_eq!(decoder.begun(), Some(begun), "{bytes:?}");
        }
    }

    #[test]
    fn the_limit_is_exact() {
        for (length, fits) in [(MAX_LINE, true), (MAX_LINE + 1, false)] {
            let mut line = vec![b'x'; length];
            line.extend(b"\r\n");
            let mut decoder = LineDecoder::new();
            decoder.push(&line);
            assert_eq!(decoder.next_line().is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut decoder = LineDecoder::new();
        for _ in 0..MAX_LINE / 1024 {
            decoder.push(&[b'x'; 1024]);
            assert_eq!(decoder.next_line(), Ok(None));
        }
        decoder.push(b"xxx");
        assert_eq!(decoder.next_line(), Err(LineTooLong));
    }

    #[test]
    fn browsers_are_known() {
        for http in
            ["POST / HTTP/1.1", "GET /x", "OPTIONS * HTTP/1.1", "CONNECT a:1 HTTP/1.1", "PRI * HTTP/2.0"]
        {
            assert!(is_browsers(http.as_bytes()), "{http}");
        }
        assert!(is_browsers(b"\x16\x03\x01\x02\0\x01") && is_browsers(b"\x16\x03"));
        for other in
            ["{\"cmd\":\"status\"}", "hello", "", "start now", "START NOW", "POST", "\x16", "\x03\x16"]
        {
            assert!(!is_browsers(other.as_bytes()), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(0u8), any::<u8>()], 0..200), cut in 1usize..20) {
            let whole = lines(&mut LineDecoder::new(), &[&bytes]);
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(lines(&mut LineDecoder::new(), &pieces), whole);
        }
    }
}
