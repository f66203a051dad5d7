//! Strangers: connections of users who may not connect.
//!
//! Any user of the machine can connect, as often as there is time for. So a stranger takes no place of
//! a permitted user: strangers have a few of their own, in which they are told why they are turned
//! away, and who finds none is closed without a word. Nor does a stranger fill the log: one is logged,
//! those of the next seconds are counted, and their number comes with the next that is logged, or at
//! the end.

use std::io;
use std::time::{Duration, Instant};

use hypertap_wire::event::{Refusal, reply_line};
use tokio::task::JoinSet;

use super::connection::Connection;

/// How many strangers are told at once why they are turned away.
const MAX_FAREWELLS: usize = 16;
/// How long the strangers after a logged one are only counted.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The strangers that are being turned away.
#[derive(Debug, Default)]
pub struct Strangers {
    farewells: JoinSet<()>,
    log: SparingLog,
}

impl Strangers {
    /// Turns a connection away; `uid` is what the kernel said about whose it is.
    pub fn turn_away(&mut self, connection: Connection, uid: &io::Result<Option<u32>>) {
        self.log.enter(uid, Instant::now());
        while self.farewells.try_join_next().is_some() {}
        if self.farewells.len() < MAX_FAREWELLS {
            let line = reply_line(Err(Refusal::fixed("not permitted")), None);
            self.farewells.spawn(async move { connection.turn_away(&line).await });
        }
    }
}

/// A log of something that others can bring about without end.
#[derive(Debug, Default)]
struct SparingLog {
    /// When a line was logged last.
    last: Option<Instant>,
    /// How many came since without a line of their own.
    unlogged: u64,
}

impl SparingLog {
    fn enter(&mut self, uid: &io::Result<Option<u32>>, now: Instant) {
        if self.last.is_some_and(|last| now.duration_since(last) < LOG_EVERY) {
            self.unlogged += 1;
            return;
        }
        self.sum_up();
        self.last = Some(now);
        let whose = match uid {
            Ok(Some(uid)) => format!("uid {uid}"),
            Ok(None) => "nobody on this machine any more".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(whose, "a connection was not permitted (--group lets the members of a group in)");
    }

    /// Logs how many have not been, if any.
    fn sum_up(&mut self) {
        match std::mem::take(&mut self.unlogged) {
            0 => {}
            count => tracing::warn!(count, "more connections were not permitted"),
        }
    }
}

impl Drop for SparingLog {
    fn drop(&mut self) {
        self.sum_up();
    }
}
