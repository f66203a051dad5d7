//! What a source file may say, by where it stands.

use super::Finding;
use super::lexer::{Token, tokens};
use super::paths::std_paths;

/// Lines a file may have, its test modules not counted, before it must say why.
const MAX_LINES: usize = 600;

/// How a longer file says why.
const SIZE_NOTE: &str = "//! size:";

/// What the crates without I/O and clock may not name. A path below one of these is one too.
const IMPURE: &[(&[&str], &str)] = &[
    (&["std", "fs"], "files belong to platform and the binary"),
    (&["std", "env"], "the environment belongs to the binary"),
    (&["std", "os"], "the machine belongs to platform"),
    (&["std", "process"], "processes belong to platform and the binary"),
    (&["std", "thread"], "threads belong to the binary"),
    (&["std", "net", "TcpListener"], "sockets belong to platform, client and the binary"),
    (&["std", "net", "TcpStream"], "sockets belong to platform, client and the binary"),
    (&["std", "net", "UdpSocket"], "sockets belong to platform, client and the binary"),
    (&["std", "net", "ToSocketAddrs"], "looking names up is I/O"),
    (&["std", "time", "Instant"], "time is an argument"),
    (&["std", "time", "SystemTime"], "time is an argument"),
    (&["std", "time", "UNIX_EPOCH"], "time is an argument"),
];

/// Words of queues without a bound.
const UNBOUNDED: &[&str] =
    &["unbounded", "unbounded_channel", "unbounded_send", "UnboundedSender", "UnboundedReceiver"];

/// Words that ask which system this is. (Texts such as `"linux"` are values, not words.)
const SYSTEM: &[&str] = &["target_os", "target_family", "target_env", "target_vendor"];

/// The one file outside platform that may ask: the client's socket features that only Linux has. The
/// client cannot have them from platform, which no program that links it should have to link.
const SYSTEM_TOO: &str = "crates/client/src/system.rs";

/// Which rules hold for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Wire and engine: no I/O, no clock.
    Pure,
    /// The machine: the only questions which system this is, and `unsafe`.
    Platform,
    /// The library for C: `unsafe`, since its callers hand it pointers, and nothing else.
    ForC,
    /// Everything else.
    Other,
}

impl Room {
    /// The room of a file, by its path from the root.
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("crates/wire/src/") || path.starts_with("crates/engine/src/") {
            Self::Pure
        } else if path.starts_with("crates/platform/") {
            Self::Platform
        } else if path.starts_with("crates/capi/src/") {
            Self::ForC
        } else {
            Self::Other
        }
    }
}

/// Every rule that the file breaks. `path` is from the root, with `/`.
pub(super) fn findings(path: &str, source: &str) -> Vec<Finding> {
    let room = Room::of(path);
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut add = |line: usize, what: String| found.push(Finding { place: format!("{path}:{line}"), what });

    for (at, token) in tokens.iter().enumerate() {
        if UNBOUNDED.contains(&token.text) {
            add(token.line, format!("`{}`: every queue has a bound", token.text));
        }
        if room == Room::Platform {
            continue;
        }
        if token.text == "unsafe" && room != Room::ForC {
            add(token.line, "`unsafe` outside crates/platform and crates/capi".to_owned());
        }
        if path != SYSTEM_TOO && (SYSTEM.contains(&token.text) || is_cfg_of_family(&tokens, at)) {
            add(token.line, format!("`cfg({})` outside crates/platform", token.text));
        }
    }
    if room == Room::Pure {
        for path in std_paths(&tokens) {
            if let Some(what) = impurity(&path.segments) {
                add(path.line, what);
            }
        }
    }
    let lines = if is_test_file(path) { 0 } else { source.lines().count() - test_lines(&tokens) };
    if lines > MAX_LINES && !source.lines().any(|line| line.starts_with(SIZE_NOTE)) {
        add(1, format!("{lines} lines without tests: split it, or say why in a line `{SIZE_NOTE} …`"));
    }
    found
}

/// Whether a whole file is tests: `tests.rs`, or one in a directory `tests`.
fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// Why a path into the standard library may not stand in a pure crate.
fn impurity(path: &[&str]) -> Option<String> {
    let path = path.strip_suffix(&["*"]).unwrap_or(path);
    for (banned, why) in IMPURE {
        if path.starts_with(banned) {
            return Some(format!("`{}`: {why}", banned.join("::")));
        }
        if banned.starts_with(path) {
            // A module taken whole, or under another name, would hide what is used of it.
            return Some(format!("`{}` taken whole: name what is used of it", path.join("::")));
        }
    }
    None
}

/// `cfg(unix)`, `cfg(not(windows))`, `cfg!(any(unix, …))`: the word inside the brackets of a cfg.
fn is_cfg_of_family(tokens: &[Token<'_>], at: usize) -> bool {
    if !matches!(tokens[at].text, "unix" | "windows") {
        return false;
    }
    let before = tokens[..at].iter().rev().map(|token| token.text);
    let mut outside =
        before.skip_while(|text| matches!(*text, "(" | "," | "not" | "any" | "all" | "unix" | "windows"));
    match outside.next() {
        Some("!") => outside.next() == Some("cfg"),
        found => matches!(found, Some("cfg" | "cfg_attr")),
    }
}

/// How many lines `#[cfg(test)] mod … { }` blocks take.
fn test_lines(tokens: &[Token<'_>]) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut lines = 0;
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        at += 1;
        if !["#", "[", "cfg", "("].iter().enumerate().all(|(i, wanted)| text(start + i) == *wanted) {
            continue;
        }
        let close = end_of_group(tokens, start + 1);
        let condition = &tokens[start..close.min(tokens.len())];
        let says = |word: &str| condition.iter().any(|token| token.text == word);
        if !says("test") || says("not") {
            continue;
        }
        let mut item = close;
        while text(item) == "#" {
            item = end_of_group(tokens, item + 1);
        }
        if text(item) == "mod" && text(item + 2) == "{" {
            at = end_of_group(tokens, item + 2);
            let last = tokens.get(at - 1).or(tokens.last()).map_or(0, |token| token.line);
            lines += last + 1 - tokens[start].line;
        }
    }
    lines
}

/// The position after the bracket that closes the one at `open`.
fn end_of_group(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, source: &str) -> Vec<String> {
        findings(path, source)
            .into_iter()
            .map(|finding| format!("{} {}", finding.place, finding.what))
            .collect()
    }

    #[track_caller]
    fn assert_one(path: &str, source: &str, wanted: &str) {
        let told = told(path, source);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(wanted), "{told:?}");
    }

    const WIRE: &str = "crates/wire/src/packet.rs";
    const BINARY: &str = "crates/hypertap/src/main.rs";

    #[test]
    fn a_pure_crate_names_no_file_socket_thread_or_clock() {
        assert_one(WIRE, "fn f() { std::fs::read(\"x\"); }", "`std::fs`");
        assert_one(WIRE, "use std::{fmt, net::{Ipv4Addr, UdpSocket}};", "`std::net::UdpSocket`");
        assert_one(WIRE, "\n\nuse std::time::{Duration, Instant};", "packet.rs:3 `std::time::Instant`");
        assert_one("crates/engine/src/tcp/flow.rs", "use std::thread;", "`std::thread`");
        assert_one(WIRE, "std::time::SystemTime::now()", "time is an argument");
    }

    #[test]
    fn a_pure_crate_does_not_hide_them_behind_a_module() {
        assert_one(WIRE, "use std::net;", "`std::net` taken whole");
        assert_one(WIRE, "use std::time::*;", "`std::time` taken whole");
        assert_one(WIRE, "use std as library;", "`std` taken whole");
        assert_one(WIRE, "use std::time::{self, Duration};", "`std::time` taken whole");
    }

    #[test]
    fn addresses_durations_and_texts_are_pure() {
        let source = "use std::net::{IpAddr, SocketAddr};\nuse std::time::Duration;\nuse std::io::Read;\n\
                      // std::fs\nconst A: &str = \"std::fs\";";
        assert_eq!(told(WIRE, source), Vec::<String>::new());
    }

    #[test]
    fn other_crates_may_have_clocks_and_files() {
        assert_eq!(told(BINARY, "use std::time::Instant; use std::{fs, thread};"), Vec::<String>::new());
    }

    #[test]
    fn unsafe_stands_in_platform_and_the_library_for_c_only() {
        assert_one(BINARY, "fn f() { unsafe { g() } }", "`unsafe` outside");
        assert_one("tests/src/lib.rs", "#[unsafe(no_mangle)] fn f() {}", "`unsafe` outside");
        for path in ["crates/platform/src/linux/tun.rs", "crates/capi/src/text.rs"] {
            assert_eq!(told(path, "unsafe { g() }"), Vec::<String>::new());
        }
        for path in ["crates/capi/build.rs", "crates/capi/tests/c.rs", "crates/client/src/capi/src/a.rs"] {
            assert_one(path, "unsafe { g() }", "`unsafe` outside");
        }
        assert_eq!(told(BINARY, "#![forbid(unsafe_code)] // unsafe"), Vec::<String>::new());
    }

    #[test]
    fn the_system_is_asked_for_in_platform_only() {
        assert_one(BINARY, "#[cfg(target_os = \"linux\")] fn f() {}", "`cfg(target_os)`");
        assert_one(
            BINARY,
            "#[cfg_attr(not(target_os = \"linux\"), allow(dead_code))] fn f() {}",
            "`cfg(target_os)`",
        );
        assert_eq!(told(SYSTEM_TOO, "#[cfg(target_os = \"linux\")] mod linux;"), Vec::<String>::new());
        assert_one(SYSTEM_TOO, "unsafe { g() }", "`unsafe` outside");
        assert_one("crates/capi/src/lib.rs", "#[cfg(target_os = \"linux\")] fn f() {}", "`cfg(target_os)`");
        assert_one(BINARY, "if cfg!(unix) {}", "`cfg(unix)`");
        assert_one(BINARY, "#[cfg(not(windows))] fn f() {}", "`cfg(windows)`");
        assert_eq!(
            told("crates/platform/src/lib.rs", "#[cfg(target_os = \"linux\")] mod linux;"),
            Vec::<String>::new()
        );
        assert_eq!(
            told(BINARY, "use tokio::net::unix::UCred; fn f(unix: u8) { g(unix, all) }"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn queues_without_a_bound_stand_nowhere() {
        for path in [WIRE, BINARY, "crates/platform/src/linux/tun.rs", "tests/src/lib.rs"] {
            assert_one(path, "let (a, b) = futures::channel::mpsc::unbounded();", "`unbounded`");
            assert_one(path, "struct A(tokio::sync::mpsc::UnboundedSender<u8>);", "`UnboundedSender`");
        }
    }

    #[test]
    fn a_long_file_says_why() {
        let long = "fn f() {}\n".repeat(MAX_LINES + 1);
        assert_one(BINARY, &long, "601 lines without tests");
        assert_eq!(told(BINARY, &"fn f() {}\n".repeat(MAX_LINES)), Vec::<String>::new());
        assert_eq!(told(BINARY, &format!("//! size: a table\n{long}")), Vec::<String>::new());
    }

    #[test]
    fn tests_do_not_make_a_file_long() {
        let body = "    fn f() {}\n".repeat(400);
        let code = "fn f() {}\n".repeat(400);
        let tests = format!("{code}#[cfg(test)]\n#[allow(x)]\nmod tests {{\n{body}}}\n");
        assert_eq!(told(BINARY, &tests), Vec::<String>::new());
        for path in ["crates/platform/tests/machine.rs", "crates/wire/src/offload/tests.rs"] {
            assert_eq!(told(path, &code.repeat(2)), Vec::<String>::new());
        }
        let other = format!("{code}#[cfg(not(test))]\nmod real {{\n{body}}}\n");
        assert_one(BINARY, &other, "803 lines without tests");
    }
}
