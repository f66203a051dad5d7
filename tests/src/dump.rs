//! All that a tunnel may change on a machine, written down, and the difference of two such dumps.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::machine::ip_json;
use crate::wait::holds_within;

/// What is asked of `ip -j`, and what about it changes without anybody's doing.
const QUESTIONS: [&str; 6] = [
    "link show",
    "addr show",
    "-4 rule show",
    "-6 rule show",
    "-4 route show table all",
    "-6 route show table all",
];

/// The machine's links, addresses, rules, routes of all tables, and resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    lines: BTreeSet<String>,
}

impl Dump {
    /// As they are now.
    pub fn now() -> Self {
        let mut lines = BTreeSet::new();
        for question in QUESTIONS {
            let answer = ip_json(question);
            for entry in answer.as_array().into_iter().flatten().filter(|entry| is_there(entry)) {
                lines.insert(format!("ip {question}: {entry}"));
            }
        }
        let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        lines.extend(resolver.lines().map(|line| format!("resolv.conf: {line}")));
        Self { lines }
    }

    /// Fails, and shows what is different, unless the machine is as it was.
    #[track_caller]
    pub fn assert_same(&self) {
        let difference = self.difference(&Self::now());
        assert!(difference.is_empty(), "the machine is not as it was:\n{difference}");
    }

    /// Waits until the machine is as it was.
    #[track_caller]
    pub fn assert_same_soon(&self) {
        if !holds_within(crate::TIME, || Self::now() == *self) {
            self.assert_same();
        }
    }

    /// Fails if nothing has changed: then a later comparison would say nothing.
    #[track_caller]
    pub fn assert_changed(&self) {
        assert_ne!(*self, Self::now(), "nothing has changed on the machine");
    }

    /// What went (`-`) and what came (`+`), one a line.
    pub fn difference(&self, later: &Self) -> String {
        let mut text = String::new();
        for line in self.lines.difference(&later.lines) {
            let _ = writeln!(text, "- {line}");
        }
        for line in later.lines.difference(&self.lines) {
            let _ = writeln!(text, "+ {line}");
        }
        text
    }
}

/// `ip -j` shows an empty object for an entry that it filters out.
fn is_there(entry: &Value) -> bool {
    entry.as_object().is_some_and(|fields| !fields.is_empty())
}
