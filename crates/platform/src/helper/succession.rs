//! The daemon's side of the keeper's socket: one helper after the other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::net::UnixStream;

use super::frame::{Framed, is_passing};
use super::message::Hello;
use crate::descriptor;
use crate::privileged::{Gone, MachineError};

/// The helpers that a keeper brings, of which one at a time does jobs.
#[derive(Debug)]
pub(super) struct Helpers {
    /// Brings the sockets of helpers; its end is the half's. `None` once it has ended.
    keeper: Option<UnixStream>,
    process: Process,
    /// Set when a helper was lost and [`Self::gone`] has not told yet.
    lost: bool,
    /// Why nothing can be asked any more; true when `keeper` is `None`.
    ended: MachineError,
}

/// The process that does the jobs. Whatever is half through is kept here, so that any future that
/// waits for it can be dropped.
#[derive(Debug)]
enum Process {
    /// The keeper has not brought another yet, or never will.
    None,
    /// It has not greeted back yet.
    Greeted(Framed),
    /// It does jobs.
    Ready(Framed),
    /// Its keeper has ended: it undoes what it did, and ends too.
    Ending(Framed),
}

impl Helpers {
    /// Waits at the keeper's socket until a helper is there that has greeted us.
    ///
    /// # Errors
    /// [`MachineError::HelperGone`] when the keeper ended before that, [`MachineError::HelperProtocol`]
    /// when it is none of ours, or of another version.
    pub(super) async fn connect(keeper: OwnedFd) -> Result<Self, MachineError> {
        let keeper = std::os::unix::net::UnixStream::from(keeper);
        let keeper = keeper.set_nonblocking(true).and_then(|()| UnixStream::from_std(keeper));
        let keeper = keeper.map_err(|error| MachineError::of("use the privileged helper's socket", error))?;
        let ended = MachineError::HelperGone;
        let mut helpers = Self { keeper: Some(keeper), process: Process::None, lost: false, ended };
        if helpers.renew().await { Ok(helpers) } else { Err(helpers.ended) }
    }

    /// Waits until there is a helper to ask; `false` when there will be none. Cancel-safe.
    async fn renew(&mut self) -> bool {
        while !matches!(self.process, Process::Ready(_)) {
            if let Err(error) = self.advance().await {
                self.end(error);
            }
            if self.keeper.is_none() && matches!(self.process, Process::None) {
                return false;
            }
        }
        true
    }

    /// One step towards a helper that can be asked. Cancel-safe.
    async fn advance(&mut self) -> Result<(), MachineError> {
        match &mut self.process {
            Process::Ready(_) => {}
            Process::None => {
                let Some(keeper) = &self.keeper else { return Ok(()) };
                let socket = next_offer(keeper).await?;
                self.greet(socket)?;
            }
            Process::Greeted(framed) => {
                let greeting = match framed.flush().await {
                    Ok(()) => framed.read().await,
                    Err(error) => Err(error),
                };
                match (greeting, std::mem::replace(&mut self.process, Process::None)) {
                    (Ok(Some(frame)), Process::Greeted(framed)) => {
                        Hello::check(&frame.body).map_err(MachineError::HelperProtocol)?;
                        self.process = Process::Ready(framed);
                    }
                    // Lost before it spoke; the keeper brings another, or ends.
                    (Err(error), _) if error.kind() == io::ErrorKind::InvalidData => {
                        return Err(unclear(&error));
                    }
                    _ => {}
                }
            }
            Process::Ending(framed) => {
                // Its socket's end says that all is undone.
                while let Ok(Some(_)) = framed.read().await {}
                self.process = Process::None;
            }
        }
        Ok(())
    }

    /// Takes the socket of a new helper, in place of that of the last one, which is lost.
    fn greet(&mut self, socket: OwnedFd) -> Result<(), MachineError> {
        let of = |error| MachineError::of("use the privileged helper's socket", error);
        let mut framed = Framed::new(socket).map_err(of)?;
        let hello = serde_json::to_vec(&Hello::ours()).map_err(|error| unclear(&error))?;
        framed.push(&hello, Vec::new()).map_err(of)?;
        self.process = Process::Greeted(framed);
        Ok(())
    }

    /// Waits for something to happen to the helper or its keeper. Cancel-safe.
    async fn watch(&mut self) {
        let (Process::Ready(framed), Some(keeper)) = (&mut self.process, &self.keeper) else {
            return self.lose();
        };
        let offer = tokio::select! {
            biased;
            // A frame is an answer that nobody waits for any more.
            frame = framed.read() => match frame {
                Ok(Some(_)) => return,
                _ => return self.lose(),
            },
            offer = next_offer(keeper) => offer,
        };
        self.lost = true;
        if let Err(error) = offer.and_then(|socket| self.greet(socket)) {
            self.end(error);
        }
    }

    /// Notes that the half is gone for good, as its keeper is or cannot be spoken to.
    fn end(&mut self, why: MachineError) {
        self.keeper = None;
        self.ended = why;
        if let Process::Ready(framed) | Process::Greeted(framed) =
            std::mem::replace(&mut self.process, Process::None)
        {
            framed.end();
            self.process = Process::Ending(framed);
        }
    }

    /// Notes that the helper is lost.
    pub(super) fn lose(&mut self) {
        self.process = Process::None;
        self.lost = true;
    }

    /// The helper that does jobs; `None` while there is none, or a loss was not told yet.
    pub(super) fn current(&mut self) -> Option<&mut Framed> {
        match &mut self.process {
            Process::Ready(framed) if !self.lost => Some(framed),
            _ => None,
        }
    }

    /// Waits until nothing of a lost helper is left on the machine; what a job is answered with then.
    pub(super) async fn undone(&mut self) -> MachineError {
        if self.renew().await { MachineError::HelperGone } else { self.ended.clone() }
    }

    /// As [`Privileged::gone`](crate::Privileged::gone).
    pub(super) async fn gone(&mut self) -> Gone {
        loop {
            if self.lost || self.keeper.is_none() {
                let renewed = self.renew().await;
                self.lost = false;
                return if renewed { Gone::Restarted } else { Gone::ForGood };
            }
            self.watch().await;
        }
    }
}

/// The socket of the next helper. Cancel-safe.
async fn next_offer(keeper: &UnixStream) -> Result<OwnedFd, MachineError> {
    loop {
        let mut byte = [0; super::OFFER.len()];
        let got = match keeper.readable().await {
            Ok(()) => keeper.try_io(Interest::READABLE, || descriptor::receive(keeper.as_fd(), &mut byte)),
            Err(error) => Err(error),
        };
        match got {
            Ok((0, _)) => return Err(MachineError::HelperGone),
            Ok((_, descriptors)) => {
                return match <[OwnedFd; 1]>::try_from(descriptors) {
                    Ok([socket]) if byte == super::OFFER => Ok(socket),
                    _ => Err(MachineError::HelperProtocol("it offered no socket".to_owned())),
                };
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(gone_or_unclear(&error)),
        }
    }
}

/// A frame that was cut off is an end too: the helper died in the middle of it.
pub(super) fn gone_or_unclear(error: &io::Error) -> MachineError {
    if error.kind() == io::ErrorKind::InvalidData { unclear(error) } else { MachineError::HelperGone }
}

pub(super) fn unclear(error: &impl ToString) -> MachineError {
    MachineError::HelperProtocol(error.to_string())
}
