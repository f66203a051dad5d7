//! What the demo prints: a line a step, a bar while it measures, JSON if asked for.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output::{Output, has_colours};

/// Prints and remembers the steps.
pub struct Report {
    out: Output,
    json: bool,
    colours: bool,
    steps: Vec<Value>,
    missing: Option<String>,
}

impl Report {
    /// A report for a person, or as JSON at the end.
    pub fn new(json: bool) -> Self {
        let colours = has_colours(&std::io::stdout());
        Self { out: Output::standard(), json, colours, steps: Vec::new(), missing: None }
    }

    /// Prints the heading.
    pub fn title(&mut self, text: &str) {
        self.say(&self.paint(1, text));
    }

    /// Prints the heading of what follows.
    pub fn part(&mut self, text: &str) {
        self.say(&format!("\n  {}", self.paint(1, text)));
    }

    /// Does a step and prints how it went.
    pub fn step<T>(
        &mut self,
        name: &str,
        what: &str,
        step: impl FnOnce() -> anyhow::Result<(T, String)>,
    ) -> anyhow::Result<T> {
        match step() {
            Ok((value, note)) => {
                self.done(name, what, &note);
                Ok(value)
            }
            Err(error) => {
                self.say(&format!("{} {name:<8} {what}", self.paint(31, "FAIL")));
                Err(error.context(format!("step {name:?}")))
            }
        }
    }

    /// Prints a step that is done.
    pub fn done(&mut self, name: &str, what: &str, note: &str) {
        self.say(&format!("  {} {name:<8} {what}", self.paint(32, "✓")));
        self.say(&format!("             {}", self.paint(2, note)));
        self.steps.push(json!({"step": name, "does": what, "result": note}));
    }

    /// Says why the rest cannot be shown here.
    pub fn missing(&mut self, why: &str) {
        self.say(&format!("\n{}", self.paint(33, why)));
        self.missing = Some(why.to_owned());
    }

    /// A bar over a length of time in milliseconds, on standard error, and only on a terminal.
    pub fn bar(&self, what: &str, time: Duration) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let length = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let style = ProgressStyle::with_template("  {msg} {wide_bar} {percent}%")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length).with_style(style).with_message(what.to_owned())
    }

    /// Prints the end.
    ///
    /// # Errors
    /// When not everything could be printed.
    pub fn finish(mut self) -> Result<(), Failure> {
        if self.json {
            self.out.line(json!({"steps": self.steps, "missing": self.missing}));
        } else if self.missing.is_none() {
            let end = "Nothing of it is left. For real: `sudo hypertap tunnel`, then connect to 127.0.0.1:5500; or \
                       `sudo hypertap tap --listen=/tmp/lan --keep --max-clients=8`, then to /tmp/lan; or `sudo \
                       hypertap init` on two machines, and `sudo hypertap up`.";
            self.say(&format!("\n{end}"));
        }
        self.out.finish()
    }

    fn say(&mut self, text: &str) {
        if !self.json {
            self.out.line(text);
        }
    }

    fn paint(&self, code: u8, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How many packets came back in how long.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Packets that were sent.
    pub sent: u64,
    /// Packets that came back.
    pub returned: u64,
    /// How long was measured.
    pub time: Duration,
}

impl Rate {
    /// Packets that did not come back.
    pub fn lost(&self) -> u64 {
        self.sent - self.returned
    }

    /// Packets a second, each there and back.
    pub fn per_second(&self) -> u64 {
        let micros = u64::try_from(self.time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.returned.saturating_mul(1_000_000) / micros
    }
}
