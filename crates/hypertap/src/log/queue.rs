//! Log lines on their way to standard error.
//!
//! Whoever reads the log may be there and not read: a pipe takes 64 KiB, and then each write waits. So once
//! [`go_on_in_background`] was called, lines go into a buffer that one thread empties. What does not fit is
//! lost, and the next line that fits comes after one that says how many were. Until then, and in
//! processes that never call it, lines are written at once: a process that is to drop its rights has to have
//! one thread only.

use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::LogFormat;

/// What may wait, in bytes; as much again may be with the thread. Some thousand lines.
const MOST: usize = 512 * 1024;
/// How long the end waits for a reader who takes nothing. On a machine with much to do one that reads may take that
/// long to begin.
const AT_THE_END: Duration = Duration::from_secs(1);
/// How often it waits that long for one who takes something each time.
const TIMES: usize = 4;

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Lets log lines wait for their reader from now on, and nothing else for him.
pub fn go_on_in_background(format: LogFormat) {
    let mut is_new = false;
    let queue = QUEUE.get_or_init(|| {
        is_new = true;
        Queue::new(format)
    });
    if !is_new {
        return;
    }
    let started = thread::Builder::new().name("log".to_owned()).spawn(|| queue.write_to(io::stderr()));
    if started.is_err() {
        // Then without: nothing waits, each line is written by whoever has it.
        queue.state().is_direct = true;
    }
}

/// Writes a line, with its end, now or soon.
pub fn write(line: &[u8]) {
    if QUEUE.get().is_some_and(|queue| queue.push(line)) {
        return;
    }
    // At once, lest lines of several processes mix. Where that fails nobody can be told so: the reader may
    // have gone, or its disk be full, and the tunnel stays.
    let _ = io::stderr().write_all(line);
}

/// Waits until all is written, but not for long: to be called at the end.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(AT_THE_END);
    }
}

/// Lines that wait.
struct Queue {
    format: LogFormat,
    state: Mutex<State>,
    /// There are lines.
    filled: Condvar,
    /// There are none any more, and they are written.
    emptied: Condvar,
    /// How many the thread has written.
    written: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Lines, each with its end.
    waiting: Vec<u8>,
    /// How many were lost since the last that was not.
    lost: u64,
    /// Whether the thread has some too.
    is_writing: bool,
    /// Whether there is no thread.
    is_direct: bool,
}

impl Queue {
    fn new(format: LogFormat) -> Self {
        Self {
            format,
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            written: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change to it is ever half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line or loses it; false where there is nobody to write it.
    fn push(&self, line: &[u8]) -> bool {
        let mut state = self.state();
        if state.is_direct {
            return false;
        }
        let notice = if state.lost == 0 { String::new() } else { notice(state.lost, self.format) };
        if state.waiting.len() + notice.len() + line.len() > MOST {
            // The end asks with an empty one whether there is room to say what was lost.
            state.lost += u64::from(!line.is_empty());
            return true;
        }
        state.lost = 0;
        state.waiting.extend(notice.as_bytes());
        state.waiting.extend(line);
        drop(state);
        self.filled.notify_one();
        true
    }

    /// Writes lines as they come, for good.
    fn write_to(&self, mut to: impl Write) {
        loop {
            let mut state = self.state();
            state.is_writing = false;
            if state.waiting.is_empty() {
                self.emptied.notify_all();
            }
            let mut state = self
                .filled
                .wait_while(state, |state| state.waiting.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            state.is_writing = true;
            let lines = mem::take(&mut state.waiting);
            drop(state);
            // One by one, lest lines of several processes mix. One that cannot be written is lost.
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                let _ = to.write_all(line);
                self.written.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until all is written; false when nothing was for so long, or it went on for too long.
    fn flush(&self, limit: Duration) -> bool {
        if self.state().lost > 0 {
            self.push(b"");
        }
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        for _ in 0..TIMES {
            let before = self.written.load(Ordering::Relaxed);
            let state = self.state();
            if state.is_direct {
                return true;
            }
            let waited = self.emptied.wait_timeout_while(state, limit, is_busy);
            if !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
                return true;
            }
            if self.written.load(Ordering::Relaxed) == before {
                break;
            }
        }
        false
    }
}

/// The line that says that lines were lost. It is no event, lest a filter keep it back.
fn notice(lost: u64, format: LogFormat) -> String {
    let mut time = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let message = format!("{lost} log lines before this one were lost, for the log was not read");
    match format {
        LogFormat::Human => format!("{time}  WARN {message}\n"),
        LogFormat::Json => {
            let line = serde_json::json!({
                "timestamp": time, "level": "WARN", "message": message, "lost": lost, "target": module_path!(),
            });
            format!("{line}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_a_reader_that_does_not_read_misses_is_counted_and_said() {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new(LogFormat::Human)));
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        thread::spawn(|| queue.write_to(ours));
        let line = format!("{}\n", "x".repeat(999));
        let all = 4096;
        for _ in 0..all {
            assert!(queue.push(line.as_bytes()));
        }
        assert!(!queue.flush(Duration::from_millis(10)), "nobody reads");
        let reader = thread::spawn(move || {
            // The thread that writes may have come late, and then the loss is said between others.
            let (mut whole, mut missed) = (0, 0);
            for line in BufReader::new(theirs).lines().map(|line| line.expect("a line")) {
                match line.split_once(" log lines before this one were lost") {
                    Some((before, _)) => {
                        missed +=
                            before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
                    }
                    None if line == "the last" => break,
                    None => {
                        assert_eq!(line.len(), 999);
                        whole += 1;
                    }
                }
            }
            (whole, missed)
        });
        assert!(queue.flush(Duration::from_secs(10)));
        queue.push(b"the last\n");
        let (whole, missed): (u64, u64) = reader.join().expect("a reader that saw lines only");
        assert!(missed > 0 && whole > 0, "{missed} of {all} lost");
        assert_eq!(whole + missed, all);
    }

    #[test]
    fn the_line_of_a_loss_is_json_where_all_are() {
        let line = notice(7, LogFormat::Json);
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["lost"], 7);
        assert!(line.ends_with('\n'));
    }
}
