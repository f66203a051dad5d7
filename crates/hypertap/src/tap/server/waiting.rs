//! Who waits for a place, and who is turned away.
//!
//! One that has gone holds its place until that was seen: whoever connects anew at once gets it then. So as many
//! wait as are leaving, whose ends are told for certain. Of dead guests nobody tells: they are looked for when more
//! wait than that, and nobody is turned away before.

use hypertap_platform::program::has_hung_up;
use tokio::time::Instant;

use super::Server;
use crate::exit::Failure;
use crate::tap::fabric::Place;
use crate::tap::listen::Newcomer;

/// How many may wait for a place; others wait to be accepted.
const WAITING: usize = 16;

impl Server<'_> {
    /// Whether one more may come.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING
    }

    /// Lets a client in, behind those that wait, or turns it away. False when a signal came meanwhile.
    pub(super) async fn let_in(&mut self, newcomer: Newcomer) -> Result<bool, Failure> {
        self.waiting.push_back(newcomer);
        self.admit_waiting(None).await
    }

    /// Lets in who waits and has a place, the first of them by the one that is given, and turns away who cannot get
    /// one. False when a signal came meanwhile.
    pub(super) async fn admit_waiting(&mut self, mut place: Option<Place>) -> Result<bool, Failure> {
        let is_due = self.look.is_some_and(|time| time <= Instant::now());
        let mut has_looked = false;
        while !self.waiting.is_empty() {
            if let Some(place) = place.take().or_else(|| self.places.take()) {
                if let Some(newcomer) = self.waiting.pop_front()
                    && !self.admit(newcomer, place).await?
                {
                    return Ok(false);
                }
            } else if self.who_gets_a_place().all(|gets| gets) {
                break;
            } else if has_looked {
                self.turn_away();
                break;
            } else {
                match self.fabric.free_dead_guests().await {
                    Some(time) if !is_due => {
                        self.look.get_or_insert_with(|| Instant::now() + time);
                        return Ok(true);
                    }
                    // If it was not done now, a guest that came had it done since they began to wait.
                    _ => has_looked = true,
                }
            }
        }
        self.look = None;
        Ok(true)
    }

    /// Of each that waits, whether it gets the place of one that is leaving. Who has gone as well takes none for
    /// long, but what it sent is still to be read.
    fn who_gets_a_place(&self) -> impl Iterator<Item = bool> {
        let leaving = self.clients.values().filter(|client| has_hung_up(&client.connection)).count();
        self.waiting.iter().scan(0, move |staying, newcomer| {
            let gets = *staying < leaving;
            *staying += usize::from(!has_hung_up(&newcomer.stream));
            Some(gets)
        })
    }

    fn turn_away(&mut self) {
        let gets: Vec<bool> = self.who_gets_a_place().collect();
        for (newcomer, gets) in std::mem::take(&mut self.waiting).into_iter().zip(gets) {
            if gets {
                self.waiting.push_back(newcomer);
            } else if let Some(refused) = self.refusals.count(Instant::now()) {
                let most = self.places.all();
                tracing::warn!(
                    by = newcomer.by,
                    refused,
                    "no more than {most} at once (--max-clients): closed"
                );
            }
        }
    }
}
