//! Just enough of Rust's lexical structure to look at code and at nothing else: comments, strings
//! and characters are dropped, words and punctuation stay, each with its line.
//!
//! After the Rust Reference, "Lexical structure". Literals become one empty token, so that what
//! stands before and after one is never taken for neighbours.

/// A word, `::`, one character of punctuation, or (empty) a literal or lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// Counted from 1.
    pub(super) line: usize,
}

/// The tokens of a source file. Never fails: what is not Rust gives some tokens too.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { source, at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn next_token(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let (start, line) = (self.at, self.line);
        let first = self.peek()?;
        let literal = Some(Token { text: "", line });
        if is_word_start(first) {
            self.skip_while(is_word);
            let word = &self.source[start..self.at];
            if self.skip_prefixed_literal(word) {
                return literal;
            }
            if word == "r" && self.rest().starts_with('#') && self.rest()[1..].starts_with(is_word_start) {
                self.bump();
                let start = self.at;
                self.skip_while(is_word);
                return Some(Token { text: &self.source[start..self.at], line });
            }
            return Some(Token { text: word, line });
        }
        match first {
            '"' => self.skip_string(),
            '\'' => self.skip_quote(),
            '0'..='9' => self.skip_number(),
            _ => {
                let two_colons = self.rest().starts_with("::");
                self.at += if two_colons { 2 } else { first.len_utf8() };
                return Some(Token { text: &self.source[start..self.at], line });
            }
        }
        literal
    }

    /// After a word that may begin a literal (`r"…"`, `br#"…"#`, `b'…'`): skips it.
    fn skip_prefixed_literal(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        match word {
            "r" | "br" | "cr" if rest[hashes..].starts_with('"') => {
                let close = format!("\"{}", "#".repeat(hashes));
                let body = hashes + 1;
                let end = rest[body..].find(&close).map_or(rest.len(), |at| body + at + close.len());
                self.skip_bytes(end);
            }
            "b" | "c" if rest.starts_with('"') => self.skip_string(),
            "b" if rest.starts_with('\'') => self.skip_quote(),
            _ => return false,
        }
        true
    }

    fn skip_blank(&mut self) {
        loop {
            self.skip_while(char::is_whitespace);
            if self.rest().starts_with("//") {
                self.skip_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                self.skip_block_comment();
            } else {
                return;
            }
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while !self.rest().is_empty() {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.skip_bytes(2);
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.skip_bytes(2);
                if depth == 0 {
                    return;
                }
            } else {
                self.bump();
            }
        }
    }

    fn skip_string(&mut self) {
        self.bump();
        while let Some(c) = self.bump() {
            match c {
                '"' => return,
                '\\' => {
                    self.bump();
                }
                _ => {}
            }
        }
    }

    /// A character (`'a'`, `'\n'`) or a lifetime (`'a`).
    fn skip_quote(&mut self) {
        self.bump();
        let Some(first) = self.bump() else { return };
        if first == '\\' {
            self.bump();
            self.skip_while(|c| c != '\'' && c != '\n');
            self.bump();
        } else if self.peek() == Some('\'') {
            self.bump();
        } else {
            self.skip_while(is_word);
        }
    }

    fn skip_number(&mut self) {
        self.skip_while(is_word);
        let mut after = self.rest().chars();
        if after.next() == Some('.') && after.next().is_some_and(|c| c.is_ascii_digit()) {
            self.bump();
            self.skip_while(is_word);
        }
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
    }

    fn skip_bytes(&mut self, count: usize) {
        let end = self.at + count;
        while self.at < end && self.bump().is_some() {}
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|token| token.text).filter(|text| !text.is_empty()).collect()
    }

    #[test]
    fn comments_of_every_kind_are_no_code() {
        assert_eq!(
            words("a // unsafe\n/* unsafe /* nested */ unsafe */ b /// unsafe\n//! unsafe\nc"),
            ["a", "b", "c"]
        );
    }

    #[test]
    fn strings_of_every_kind_are_no_code() {
        let source = r###"a "unsafe \" unsafe" b r"unsafe\" c r#"unsafe " unsafe"# d b"unsafe" br##"unsafe"# "## e c"unsafe" f"###;
        assert_eq!(words(source), ["a", "b", "c", "d", "e", "f"]);
    }

    #[test]
    fn a_quote_is_a_character_or_a_lifetime() {
        assert_eq!(words(r"a '\'' b '\u{1F600}' c '\\' d 'x' e b'y' f"), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(words("&'a str, '\"', unsafe"), ["&", "str", ",", ",", "unsafe"]);
        assert_eq!(words("fn f<'a>(x: &'static str) {}")[..3], ["fn", "f", "<"]);
    }

    #[test]
    fn a_raw_identifier_is_its_name() {
        assert_eq!(words("r#unsafe r"), ["unsafe", "r"]);
    }

    #[test]
    fn a_range_does_not_eat_the_dots() {
        assert_eq!(words("0..n 1.5e3 x.0.y"), [".", ".", "n", "x", ".", ".", "y"]);
    }

    #[test]
    fn lines_count_on_through_comments_and_strings() {
        let source = "/* 1\n2 */ \"3\n4\" r\"\n\" word";
        let word = tokens(source).into_iter().find(|token| token.text == "word");
        assert_eq!(word.map(|token| token.line), Some(4));
    }

    #[test]
    fn an_unfinished_literal_or_comment_ends_with_the_file() {
        for source in ["\"abc", "'", "'\\", "/* abc", "r#\"abc\"", "b'", "r#", "1."] {
            tokens(source);
        }
    }
}
