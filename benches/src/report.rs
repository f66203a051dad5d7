//! The table for `docs/performance.md`, and the same with every sample as JSON.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use crate::conditions::Conditions;
use crate::summary::Row;

/// All rows so far, and the groups that could not be measured.
pub(crate) struct Report {
    conditions: Conditions,
    rows: Vec<Row>,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new(conditions: Conditions) -> Self {
        Self { conditions, rows: Vec::new(), failed: Vec::new() }
    }

    /// Takes a group's rows, or remembers why there are none; the run goes on either way.
    pub(crate) fn add(&mut self, group: &str, rows: Result<Vec<Row>>) {
        match rows {
            Ok(rows) => self.rows.extend(rows),
            Err(error) => {
                eprintln!("bench: {group}: {error:#}");
                self.failed.push(format!("{group}: {error:#}"));
            }
        }
    }

    /// Whether every group that was asked for was measured.
    pub(crate) fn complete(&self) -> bool {
        self.failed.is_empty()
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "| what | reference | ours | ratio | wanted | verdict |\n|---|---|---|---|---|---|\n",
        );
        text.extend(self.rows.iter().map(Row::markdown));
        text.push_str("\nMedian (lowest..highest); the ratio is that of the pairs, measured one right after the other.\n");
        let (noisy, all) = self.noise();
        if noisy > 0 {
            let _ = writeln!(text, "\nNoise: a compiler ran on the machine during {noisy} of {all} pairs.");
        }
        for failure in &self.failed {
            let _ = writeln!(text, "\nNot measured: {failure}");
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({"conditions": self.conditions.json(), "rows": rows, "failed": self.failed})
    }

    fn noise(&self) -> (u32, usize) {
        let pairs = self.rows.iter().map(|row| row.reference.len().max(row.ours.len())).sum();
        (self.rows.iter().map(|row| row.noisy).sum(), pairs)
    }
}
