//! The paths into the standard library that a file names, with `use` trees spelled out:
//! `use std::{fs, net::{IpAddr, UdpSocket}}` names `std::fs`, `std::net::IpAddr` and
//! `std::net::UdpSocket`.

use super::lexer::Token;

/// A path and the line it ends on. A glob's last segment is `*`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path<'a> {
    pub(super) segments: Vec<&'a str>,
    pub(super) line: usize,
}

/// Every path that starts with `std`.
pub(super) fn std_paths<'a>(tokens: &[Token<'a>]) -> Vec<Path<'a>> {
    let mut paths = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.text != "std" {
            continue;
        }
        let before = |back: usize| at.checked_sub(back).map_or("", |at| tokens[at].text);
        // `other::std` and `value.std` are something else, `::std` is ours.
        let is_inner = before(1) == "." || (before(1) == "::" && before(2).ends_with(char::is_alphanumeric));
        if !is_inner {
            Tree { tokens, at, prefix: Vec::new(), paths: &mut paths }.read();
        }
    }
    paths
}

/// Reads one tree of paths.
struct Tree<'a, 't> {
    tokens: &'t [Token<'a>],
    at: usize,
    prefix: Vec<&'a str>,
    paths: &'t mut Vec<Path<'a>>,
}

impl<'a> Tree<'a, '_> {
    fn read(&mut self) {
        match self.text(0) {
            "{" => {
                self.at += 1;
                while !matches!(self.text(0), "}" | "") {
                    let before = self.at;
                    self.read();
                    if self.text(0) == "as" {
                        self.at += 2;
                    }
                    if self.text(0) == "," || self.at == before {
                        self.at += 1;
                    }
                }
                self.at += 1;
            }
            // `std::{self}` and `std::time::{self}` name what stands before.
            "self" => {
                self.emit();
                self.at += 1;
            }
            segment => {
                self.prefix.push(segment);
                if self.text(1) == "::" && self.text(2) != "<" {
                    self.at += 2;
                    self.read();
                } else {
                    self.emit();
                    self.at += 1;
                }
                self.prefix.pop();
            }
        }
    }

    fn emit(&mut self) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        self.paths.push(Path { segments: self.prefix.clone(), line });
    }

    fn text(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer;
    use super::*;

    fn named(source: &str) -> Vec<String> {
        std_paths(&lexer::tokens(source)).iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn a_use_tree_is_spelled_out() {
        let source = "use std::{fmt, fs::{self, File as F}, net::{IpAddr, UdpSocket}, time::*,};";
        let wanted = [
            "std::fmt",
            "std::fs",
            "std::fs::File",
            "std::net::IpAddr",
            "std::net::UdpSocket",
            "std::time::*",
        ];
        assert_eq!(named(source), wanted);
    }

    #[test]
    fn a_path_in_an_expression_is_found() {
        assert_eq!(named("let t = ::std::time::Instant::now();"), ["std::time::Instant::now"]);
        assert_eq!(named("std::iter::from_fn::<u8, _>(f)"), ["std::iter::from_fn"]);
    }

    #[test]
    fn another_modules_std_is_not_ours() {
        assert_eq!(named("other::std::fs::read(); value.std"), Vec::<String>::new());
    }

    #[test]
    fn an_alias_of_the_whole_library_is_a_path() {
        assert_eq!(named("use std as s; extern crate std;"), ["std", "std"]);
    }

    #[test]
    fn an_unfinished_tree_ends_with_the_file() {
        for source in ["use std::{", "use std::{fs,", "std::", "use std::{{}", "use std::{;"] {
            named(source);
        }
    }
}
