//! Strangers: connections of users who may not connect.
//!
//! Any user of the machine can connect, as often as there is time for. So a stranger takes no place of
//! a permitted user: strangers have a few of their own, in which they are told why they are turned
//! away, and who finds none is closed without a word. Nor does a stranger fill the log: the first is
//! logged at once, those that follow as one number now and then.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hypertap_wire::event::{Refusal, reply_line};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

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
        self.log.enter(uid);
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
    /// How many were not logged yet; `None` where the next one is logged at once.
    unlogged: Arc<Mutex<Option<u64>>>,
    /// What logs them; nothing runs when there was nothing for a while.
    summing_up: JoinSet<()>,
}

impl SparingLog {
    fn enter(&mut self, uid: &io::Result<Option<u32>>) {
        let mut unlogged = self.unlogged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = &mut *unlogged {
            *count += 1;
            return;
        }
        *unlogged = Some(0);
        let whose = match uid {
            Ok(Some(uid)) => format!("uid {uid}"),
            Ok(None) => "nobody on this machine any more".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(whose, "a connection was not permitted (--group lets the members of a group in)");
        while self.summing_up.try_join_next().is_some() {}
        self.summing_up.spawn(sum_up(Arc::clone(&self.unlogged)));
    }
}

/// Logs how many there were, again and again until there were none.
async fn sum_up(unlogged: Arc<Mutex<Option<u64>>>) {
    loop {
        sleep(LOG_EVERY).await;
        let mut unlogged = unlogged.lock().unwrap_or_else(PoisonError::into_inner);
        match unlogged.replace(0) {
            Some(count @ 1..) => tracing::warn!(count, "more connections were not permitted"),
            _ => return *unlogged = None,
        }
    }
}
