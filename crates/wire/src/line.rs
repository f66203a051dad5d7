//! Lines of the command plane: bytes in any cut, one line at a time out.
//!
//! A line ends with `\n` or `\r\n`. What C programs and terminals add around it (NULs, carriage
//! returns, blanks) is stripped, and lines of nothing else are skipped. The decoder holds at most
//! one unfinished line and the bytes of the last push; it knows no clock, so the caller watches
//! [`LineDecoder::is_pending`] for the time limit.

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
        Ok(Some(&self.buffer[from..from + kept]))
    }

    /// Whether a line has begun and not ended.
    pub fn is_pending(&self) -> bool {
        !self.pending().is_empty()
    }

    /// The bytes of the line that has begun and not ended.
    pub fn pending(&self) -> &[u8] {
        let held = &self.buffer[self.start..];
        let padding = held.iter().take_while(|&&b| is_padding(b)).count();
        &held[padding..]
    }

    /// Moves the start of the next line past line ends and padding before it.
    fn skip_padding(&mut self) {
        while self.buffer.get(self.start).is_some_and(|&b| is_padding(b)) {
            self.start += 1;
        }
        self.searched = self.searched.max(self.start);
    }
}

/// Whether a first line is an HTTP request, as a browser that was tricked into calling us sends.
///
/// An unfinished one counts too, as soon as it shows a method and a target (RFC 9112, section 3).
pub fn is_http_request(line: &[u8]) -> bool {
    let mut words = line.splitn(3, |&b| b == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return false };
    let token = !method.is_empty() && method.len() <= 24 && method.iter().all(u8::is_ascii_uppercase);
    let path = target.starts_with(b"/") || target.starts_with(b"*") || target.starts_with(b"http");
    token && (path || words.next().is_some_and(|version| version.starts_with(b"HTTP/")))
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

    #[test]
    fn padding_alone_is_no_pending_line() {
        let mut decoder = LineDecoder::new();
        decoder.push(b"a\n\0\r ");
        assert_eq!(decoder.next_line(), Ok(Some(&b"a"[..])));
        assert_eq!(decoder.next_line(), Ok(None));
        assert!(!decoder.is_pending());
        decoder.push(b"x");
        assert!(decoder.is_pending());
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
    fn http_requests_are_known() {
        for http in
            ["POST / HTTP/1.1", "GET /x", "OPTIONS * HTTP/1.1", "CONNECT a:1 HTTP/1.1", "PRI * HTTP/2.0"]
        {
            assert!(is_http_request(http.as_bytes()), "{http}");
        }
        for other in ["{\"cmd\":\"status\"}", "hello", "", "start now", "START NOW", "POST"] {
            assert!(!is_http_request(other.as_bytes()), "{other}");
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
