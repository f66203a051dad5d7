//! Logs: on standard error, for a person on a terminal or one JSON object a line.

mod queue;

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::OnceLock;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::output::has_colours;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person; coloured on a terminal
    Human,
    /// One JSON object a line
    Json,
}

/// The options of every command that logs.
#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// How log lines are written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Human, help_heading = "Logging")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "HYPERTAP_LOG",
        default_value = DEFAULT,
        value_parser = filter,
        help_heading = "Logging"
    )]
    pub log: String,
}

/// What is logged where nobody says so.
const DEFAULT: &str = "info";
/// What has log lines of ours.
const CRATES: [&str; 5] =
    ["hypertap", "hypertap_platform", "hypertap_engine", "hypertap_client", "hypertap_mesh"];

/// What of the command line is about logs, for the processes that this one starts.
static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();
/// How lines are written.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// The arguments with which another process of this program logs as this one does.
pub fn arguments() -> &'static [OsString] {
    ARGUMENTS.get().map_or(&[], Vec::as_slice)
}

/// Starts logging. To be called once.
///
/// # Errors
/// When the filter cannot be read.
pub fn init(options: &LogOptions) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(ours(&options.log))
        .map_err(|error| anyhow::anyhow!("--log {:?}: {error}; use a level such as info", options.log))?;
    let format = match options.log_format {
        LogFormat::Json => "json",
        LogFormat::Human => "human",
    };
    ARGUMENTS.get_or_init(|| ["--log-format", format, "--log", &options.log].map(OsString::from).into());
    FORMAT.get_or_init(|| options.log_format);
    // The subscriber itself would say with eprintln! that a line was lost, and so end the program.
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines).log_internal_errors(false);
    match options.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Human => log.with_target(false).with_ansi(has_colours(&io::stderr())).init(),
    }
    Ok(())
}

/// From now on nothing waits for the log's reader. This starts a thread, so rights must be dropped before.
pub fn go_on_in_background() {
    queue::go_on_in_background(FORMAT.get().copied().unwrap_or(LogFormat::Human));
}

/// Says why the program ends, after all that was logged.
pub fn complain(text: impl Display) {
    queue::write(format!("{text}\n").as_bytes());
}

/// Waits for what was logged to be written, one second where nobody reads it. To be called at the end.
pub fn flush() {
    queue::flush();
}

/// A writer that never fails, for the tunnel does not depend on it. The subscriber writes a line at once.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        queue::write(&one_line(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line without breaks within it: what a stranger has sent may not look like another line.
fn one_line(line: &[u8]) -> Cow<'_, [u8]> {
    let body = line.strip_suffix(b"\n").unwrap_or(line);
    if !body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Cow::Borrowed(line);
    }
    let mut line = line.to_vec();
    let end = body.len();
    line.iter_mut().take(end).filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    Cow::Owned(line)
}

/// Reads a filter. Only what our lines could match is one: a word that is no level would be taken for a
/// part of the program, and silence every other.
fn filter(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        // A variable that is set to nothing.
        return Ok(DEFAULT.to_owned());
    }
    match text.split(',').map(str::trim).find(|directive| !is_directive(directive)) {
        None => Ok(text.to_owned()),
        Some(wrong) => Err(format!(
            "{wrong:?} (of --log or HYPERTAP_LOG) is no level; use error, warn, info, debug or trace, or \
             for a part of the program one like hypertap::tunnel=debug"
        )),
    }
}

/// The filter with its levels for our own lines. Of what we are built from only errors are shown: it logs what
/// strangers send, at any level and as often as they like.
fn ours(filter: &str) -> String {
    let each = filter.split(',').map(|directive| match directive.trim() {
        "off" => "off".to_owned(),
        level if level.contains('=') => level.to_owned(),
        level => format!("error,hypertap={level}"),
    });
    each.collect::<Vec<_>>().join(",")
}

/// Whether a word is a level, or one for a part of this program.
fn is_directive(text: &str) -> bool {
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    text.split_once('=').map_or(is_level(text), |(target, level)| {
        let name = target.split("::").next().unwrap_or_default();
        CRATES.contains(&name) && is_level(level)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_that_of_our_own_lines() {
        assert_eq!(ours("info"), "error,hypertap=info");
        assert_eq!(ours("off"), "off");
        assert_eq!(ours("warn, hypertap_mesh=debug"), "error,hypertap=warn,hypertap_mesh=debug");
    }

    #[test]
    fn a_line_has_no_break_within_it() {
        assert_eq!(one_line(b"as it is\n"), Cow::Borrowed(b"as it is\n"));
        assert_eq!(*one_line(b"one\ntwo\r\nthree\n"), *b"one two  three\n");
    }

    #[test]
    fn a_filter_is_made_of_levels_and_of_parts_of_this_program() {
        for good in ["info", "DEBUG", "off", "warn,hypertap::tunnel=debug", "hypertap_platform=trace, error"]
        {
            assert_eq!(filter(good).as_deref(), Ok(good));
            assert!(EnvFilter::try_new(good).is_ok(), "{good}");
        }
        for bad in
            ["loud", "infoo", "hypertap", "hypertap=loud", "hypertap=", "other=debug", "info,", "=info"]
        {
            let error = filter(bad).expect_err(bad);
            assert!(error.contains("use error, warn, info"), "{error}");
        }
        assert_eq!(filter("").as_deref(), Ok(DEFAULT));
    }
}
