//! Frames on standard output, for people and for text2pcap(1).
//!
//! A frame is copied into a queue of bounded size, and a thread writes what is in it: a reader that stalls
//! stalls that thread alone. What did not fit is counted, and said before the next frame that does.
//!
//! ```text
//! O 2026-01-31T12:00:00.000001Z host, 42 bytes
//! 000000 ff ff ff ff ff ff 90 90 90 90 90 90 08 06 00 01  |................|
//! …
//! 00002a
//! ```
//!
//! `O` is out of this machine, `I` is into it. `text2pcap -D -t '%Y-%m-%dT%H:%M:%S.%fZ'` reads it.

mod time;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use hypertap_wire::ethernet::sizing::{Sizing, frame_len};

use self::time::time;
use super::fabric::{FrameObserver, Origin};
use crate::exit::Failure;

/// How many frames may wait to be written.
const MOST_FRAMES: usize = 4096;
/// How many bytes of them.
const MOST_BYTES: usize = 4 << 20;
/// How many bytes a line shows.
const LINE: usize = 16;
/// How long the end waits for a reader that reads nothing.
const STALLED: Duration = Duration::from_millis(200);
/// How long it waits for one that does read.
const AT_THE_END: Duration = Duration::from_secs(10);
/// How much is written at once, so that a slow reader is seen to read.
const PIECE: usize = 4096;

/// Shows frames as they come in.
#[derive(Debug)]
pub struct Dump {
    all: bool,
    to: SyncSender<Shown>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Frames that wait, or are half written.
    unwritten: AtomicU64,
    /// Frames that did not fit since that was last said.
    lost: AtomicU64,
    /// Bytes that were written, of the text.
    written: AtomicU64,
}

/// A frame to be shown.
#[derive(Debug)]
struct Shown {
    at: SystemTime,
    origin: Origin,
    frame: Vec<u8>,
    /// What the unframed protocol would take it for.
    warning: Option<String>,
}

/// The thread that writes.
#[derive(Debug)]
pub struct Showing {
    done: Receiver<()>,
    shared: Arc<Shared>,
}

impl Showing {
    /// Waits until all is written, as long as somebody reads, but not for ever; says how many frames are missing
    /// then. The dump must have been dropped.
    pub fn finish(self) -> u64 {
        self.finish_after(STALLED)
    }

    fn finish_after(self, stalled: Duration) -> u64 {
        let end = Instant::now() + AT_THE_END;
        let Shared { written, unwritten, lost, .. } = &*self.shared;
        let mut before = written.load(Ordering::Relaxed);
        // Nothing is ever sent: the thread's end closes it.
        while self.done.recv_timeout(stalled) == Err(RecvTimeoutError::Timeout) {
            let now = written.load(Ordering::Relaxed);
            if now == before || Instant::now() > end {
                return unwritten.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed);
            }
            before = now;
        }
        0
    }
}

impl Dump {
    /// Shows all frames, or those with a wrong size, or nothing. Starts a thread.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(all: bool, wrong_sizes: bool) -> Result<Option<(Self, Showing)>, Failure> {
        if !all && !wrong_sizes {
            return Ok(None);
        }
        let (to, shown) = sync_channel(MOST_FRAMES);
        let (ended, done) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let showing = Showing { done, shared: Arc::clone(&shared) };
        let theirs = Arc::clone(&shared);
        let write = move || {
            write_all(&shown, &theirs, io::stdout());
            drop(ended);
        };
        thread::Builder::new().name("dump".to_owned()).spawn(write).context("cannot start a thread")?;
        Ok(Some((Self { all, to, shared }, showing)))
    }
}

impl FrameObserver for Dump {
    fn frame(&mut self, origin: Origin, frame: &[u8]) {
        let warning = wrong_size(frame);
        if !self.all && warning.is_none() {
            return;
        }
        let waiting = self.shared.waiting.fetch_add(frame.len(), Ordering::Relaxed);
        self.shared.unwritten.fetch_add(1, Ordering::Relaxed);
        let shown = Shown { at: SystemTime::now(), origin, frame: frame.to_vec(), warning };
        let sent = if waiting + frame.len() > MOST_BYTES {
            Err(TrySendError::Full(shown))
        } else {
            self.to.try_send(shown)
        };
        if sent.is_err() {
            self.shared.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
            self.shared.unwritten.fetch_sub(1, Ordering::Relaxed);
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the unframed protocol would take a frame for, where that is something else.
fn wrong_size(frame: &[u8]) -> Option<String> {
    match frame_len(frame) {
        Sizing::Len(len) if len == frame.len() => None,
        Sizing::Len(len) => Some(format!("unframed it would be one of {len} bytes")),
        Sizing::NeedMore(len) => Some(format!("unframed it would take {len} bytes or more")),
        Sizing::Unknown(error) => Some(format!("unframed its length cannot be told: {error}")),
    }
}

/// Writes frames until there are no more, or nobody reads.
fn write_all(shown: &Receiver<Shown>, shared: &Shared, to: impl Write) {
    let mut to = InPieces { to, written: &shared.written };
    let mut text = String::new();
    while let Ok(one) = shown.recv() {
        shared.waiting.fetch_sub(one.frame.len(), Ordering::Relaxed);
        text.clear();
        let lost = shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(text, "# {lost} frames before this one are missing, for nobody read");
        }
        one.write_to(&mut text);
        if to.write_all(text.as_bytes()).and_then(|()| to.flush()).is_err() {
            // The reader has gone, or the disk is full. The frames go their way all the same.
            return;
        }
        shared.unwritten.fetch_sub(1, Ordering::Relaxed);
    }
    let lost = shared.lost.swap(0, Ordering::Relaxed);
    if lost > 0 {
        let _ = writeln!(to, "# {lost} frames here are missing, for nobody read").and_then(|()| to.flush());
    }
}

/// Writes a little at a time, and counts it.
struct InPieces<'a, W> {
    to: W,
    written: &'a AtomicU64,
}

impl<W: Write> Write for InPieces<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(&bytes[..bytes.len().min(PIECE)])?;
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Shown {
    fn write_to(&self, text: &mut String) {
        let Self { at, origin, frame, warning } = self;
        let (direction, from) = match origin {
            Origin::Host => ('O', "host".to_owned()),
            Origin::Client(client) => ('I', format!("client {client}")),
        };
        let _ = write!(text, "{direction} {} {from}, {} bytes", time(*at), frame.len());
        if let Some(warning) = warning {
            let _ = write!(text, "; {warning}");
        }
        text.push('\n');
        for (at, line) in frame.chunks(LINE).enumerate() {
            let _ = write!(text, "{:06x}", at * LINE);
            for byte in line {
                let _ = write!(text, " {byte:02x}");
            }
            let _ = write!(text, "{:1$}|", "", 2 + 3 * (LINE - line.len()));
            // Without blanks, lest a word of two letters be read as a byte.
            text.extend(line.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '.' }));
            text.push_str("|\n");
        }
        let _ = writeln!(text, "{:06x}\n", frame.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// Takes what it is given, a while after.
    struct Slow(Arc<AtomicU64>, Duration);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            thread::sleep(self.1);
            let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
            self.0.fetch_add(lines as u64, Ordering::Relaxed);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Shows so many frames of 16 bytes, four lines each, to a reader that takes so long for each piece, and
    /// waits for it for a second; yields how many lines it was given and how many frames are said to be missing.
    fn finished(frames: u64, slowness: Duration) -> (u64, u64) {
        let (to, shown) = sync_channel(MOST_FRAMES);
        let (ended, done) = sync_channel(1);
        let (shared, lines) = (Arc::new(Shared::default()), Arc::new(AtomicU64::new(0)));
        let mut dump = Dump { all: true, to, shared: Arc::clone(&shared) };
        for _ in 0..frames {
            dump.frame(Origin::Host, &[0; 16]);
        }
        drop(dump);
        let (theirs, slow) = (Arc::clone(&shared), Slow(Arc::clone(&lines), slowness));
        thread::spawn(move || {
            write_all(&shown, &theirs, slow);
            drop(ended);
        });
        let missing = Showing { done, shared }.finish_after(Duration::from_secs(1));
        (lines.load(Ordering::Relaxed), missing)
    }

    #[test]
    fn the_end_waits_for_a_slow_reader_and_not_for_one_that_reads_nothing() {
        let slow = Duration::from_millis(60);
        assert_eq!(finished(20, slow), (80, 0), "it took longer than one that stalls may");
        assert_eq!(finished(20, Duration::from_secs(3600)), (0, 20));
    }

    #[test]
    fn a_frame_is_shown_with_its_bytes_and_nothing_else_that_looks_like_one() {
        let mut frame = vec![0xff; 12];
        frame.extend([0x12, 0x34]);
        frame.extend(b"ab cd");
        let warning = wrong_size(&frame);
        let shown = Shown { at: UNIX_EPOCH, origin: Origin::Host, frame, warning };
        let mut text = String::new();
        shown.write_to(&mut text);
        let mut lines = text.lines();
        let head = lines.next().expect("a head");
        assert!(head.starts_with("O 1970-01-01T00:00:00.000000Z host, 19 bytes; unframed"), "{head}");
        assert!(head.contains("0x1234"), "{head}");
        let first = "000000 ff ff ff ff ff ff ff ff ff ff ff ff 12 34 61 62  |.............4ab|";
        assert_eq!(lines.next(), Some(first));
        let blanks = " ".repeat(2 + 3 * 13);
        assert_eq!(lines.next(), Some(format!("000010 20 63 64{blanks}|.cd|").as_str()));
        assert_eq!((lines.next(), lines.next()), (Some("000013"), Some("")));
    }

    #[test]
    fn a_reader_that_does_not_read_costs_frames_and_no_time() {
        let (to, shown) = sync_channel(MOST_FRAMES);
        let shared = Arc::new(Shared::default());
        let mut dump = Dump { all: true, to, shared: Arc::clone(&shared) };
        let frame = vec![0; 60_000];
        let all = 2 * MOST_BYTES / frame.len();
        for _ in 0..all {
            dump.frame(Origin::Host, &frame);
        }
        let lost = shared.lost.load(Ordering::Relaxed);
        assert!(lost > 0, "nobody reads");
        drop(dump);
        let mut text = Vec::new();
        write_all(&shown, &shared, &mut text);
        let text = String::from_utf8(text).expect("ASCII");
        assert!(text.starts_with(&format!("# {lost} frames")), "{}", &text[..80]);
        let shown = u64::try_from(text.matches("60000 bytes").count()).expect("few");
        assert_eq!(shown + lost, u64::try_from(all).expect("few"));
        assert_eq!(shared.waiting.load(Ordering::Relaxed), 0);
    }
}
