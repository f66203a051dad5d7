//! The daemon's side.

use std::io;
use std::os::fd::OwnedFd;

use async_trait::async_trait;
use tokio::net::UnixStream;

use super::frame::Framed;
use super::message::{Answer, Asked, Done, Hello, Job};
use crate::privileged::{MachineError, Privileged, RouteChange, Tun, TunSpec};

/// The privileged half in another process, behind a socket.
///
/// Dropping it ends the helper, which then undoes what it did. A job whose future is dropped half-way
/// may still happen in the helper; its answer is thrown away, and the next job finds the state that
/// it left.
#[derive(Debug)]
pub struct Helper {
    framed: Framed,
    id: u64,
    /// Set once the helper ended or broke the protocol; nothing is asked any more then.
    ended: Option<MachineError>,
}

impl Helper {
    /// Greets the helper at the other end of a socket, and waits until it has greeted back.
    ///
    /// # Errors
    /// [`MachineError::HelperGone`] when it ended before that, [`MachineError::HelperProtocol`] when it
    /// is none of ours, or of another version.
    pub async fn connect(socket: OwnedFd) -> Result<Self, MachineError> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        let socket = socket.set_nonblocking(true).and_then(|()| UnixStream::from_std(socket));
        let socket = socket.map_err(|error| MachineError::of("use the privileged helper's socket", error))?;
        let mut helper = Self { framed: Framed::new(socket), id: 0, ended: None };
        let hello = serde_json::to_vec(&Hello::ours()).map_err(|error| unclear(&error))?;
        helper.framed.write(&hello, Vec::new()).await.map_err(|error| gone_or_unclear(&error))?;
        match helper.framed.read().await {
            Ok(Some(frame)) => Hello::check(&frame.body).map_err(MachineError::HelperProtocol)?,
            Ok(None) => return Err(MachineError::HelperGone),
            Err(error) => return Err(gone_or_unclear(&error)),
        }
        Ok(helper)
    }

    async fn ask(
        &mut self,
        job: Job,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(Done, Vec<OwnedFd>), MachineError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        self.id += 1;
        let body = serde_json::to_vec(&Asked { id: self.id, job }).map_err(|error| unclear(&error))?;
        let answer = match self.framed.write(&body, descriptors).await {
            // Nothing was sent, and the helper is well.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(MachineError::of(
                    "ask the privileged helper for so much at once",
                    io::Error::from_raw_os_error(libc::E2BIG),
                ));
            }
            Err(error) => Err(gone_or_unclear(&error)),
            Ok(()) => self.answer().await,
        };
        match answer {
            Ok((outcome, descriptors)) => outcome.map(|done| (done, descriptors)),
            Err(error) => {
                self.ended = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The answer to the last question; those to questions that nobody waits for any more are skipped.
    async fn answer(&mut self) -> Result<(Result<Done, MachineError>, Vec<OwnedFd>), MachineError> {
        loop {
            let frame = match self.framed.read().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Err(MachineError::HelperGone),
                Err(error) => return Err(gone_or_unclear(&error)),
            };
            let answer: Answer = serde_json::from_slice(&frame.body).map_err(|error| unclear(&error))?;
            if answer.id == self.id {
                return Ok((answer.outcome, frame.descriptors));
            }
        }
    }

    async fn ask_for_nothing(&mut self, job: Job, descriptors: Vec<OwnedFd>) -> Result<(), MachineError> {
        match self.ask(job, descriptors).await? {
            (Done::Nothing, _) => Ok(()),
            (Done::Tun { .. } | Done::Reasserted(_), _) => Err(another_question()),
        }
    }
}

fn another_question() -> MachineError {
    MachineError::HelperProtocol("it answered another question".to_owned())
}

/// A frame that was cut off is an end too: the helper died in the middle of it.
fn gone_or_unclear(error: &io::Error) -> MachineError {
    if error.kind() == io::ErrorKind::InvalidData { unclear(error) } else { MachineError::HelperGone }
}

fn unclear(error: &impl ToString) -> MachineError {
    MachineError::HelperProtocol(error.to_string())
}

#[async_trait]
impl Privileged for Helper {
    async fn open_tun(&mut self, spec: &TunSpec) -> Result<Tun, MachineError> {
        match self.ask(Job::OpenTun(spec.clone()), Vec::new()).await? {
            (Done::Tun { name, index, offload, footprint }, queues) if !queues.is_empty() => {
                Ok(Tun { name, index, queues, offload, footprint })
            }
            _ => Err(MachineError::HelperProtocol("it sent no TUN queue".to_owned())),
        }
    }

    async fn close_tun(&mut self) -> Result<(), MachineError> {
        self.ask_for_nothing(Job::CloseTun, Vec::new()).await
    }

    async fn change_routes(&mut self, change: &RouteChange) -> Result<(), MachineError> {
        self.ask_for_nothing(Job::ChangeRoutes(change.clone()), Vec::new()).await
    }

    async fn capture_dns(&mut self, on: bool) -> Result<(), MachineError> {
        self.ask_for_nothing(Job::CaptureDns(on), Vec::new()).await
    }

    async fn reassert(&mut self) -> Result<bool, MachineError> {
        match self.ask(Job::Reassert, Vec::new()).await? {
            (Done::Reasserted(anything), _) => Ok(anything),
            _ => Err(another_question()),
        }
    }

    async fn load_driver(&mut self) -> Result<(), MachineError> {
        self.ask_for_nothing(Job::LoadDriver, Vec::new()).await
    }

    async fn serve_bypass(&mut self, listener: OwnedFd, mark: u32, uid: u32) -> Result<(), MachineError> {
        self.ask_for_nothing(Job::ServeBypass { mark, uid }, vec![listener]).await
    }

    /// Cancel-safe.
    async fn gone(&mut self) {
        while self.ended.is_none() {
            // What comes unasked is an answer that nobody waited for.
            match self.framed.read().await {
                Ok(Some(_)) => {}
                Ok(None) => self.ended = Some(MachineError::HelperGone),
                Err(error) => self.ended = Some(gone_or_unclear(&error)),
            }
        }
    }
}
