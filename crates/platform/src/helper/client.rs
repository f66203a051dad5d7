//! The daemon's side.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use async_trait::async_trait;

use super::frame::Framed;
use super::message::{Answer, Asked, Done, Job};
use super::succession::{Helpers, gone_or_unclear, unclear};
use crate::privileged::{Gone, MachineError, Privileged, RouteChange, Tap, TapSpec, Tun, TunSpec};

/// The privileged half in another process, behind a socket.
///
/// When its process is lost, the jobs that come until [`Privileged::gone`] has told so fail with
/// [`MachineError::HelperGone`]; each waits first until what the lost one did is undone.
///
/// Dropping it ends the helper, which then undoes what it did. A job whose future is dropped half-way
/// may still happen in the helper; its answer is thrown away, and the next job finds the state that
/// it left.
#[derive(Debug)]
pub struct Helper {
    helpers: Helpers,
    /// Of the last question.
    id: u64,
}

impl Helper {
    /// Waits at the keeper's socket until a helper is there that has greeted us.
    ///
    /// # Errors
    /// [`MachineError::HelperGone`] when the keeper ended before that, [`MachineError::HelperProtocol`]
    /// when it is none of ours, or of another version.
    pub async fn connect(keeper: OwnedFd) -> Result<Self, MachineError> {
        Ok(Self { helpers: Helpers::connect(keeper).await?, id: 0 })
    }

    async fn ask(
        &mut self,
        job: Job,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(Done, Vec<OwnedFd>), MachineError> {
        let Some(framed) = self.helpers.current() else { return Err(self.helpers.undone().await) };
        self.id += 1;
        let body = serde_json::to_vec(&Asked { id: self.id, job }).map_err(|error| unclear(&error))?;
        let answer = match framed.write(&body, descriptors).await {
            // Nothing was sent, and the helper is well.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(MachineError::of(
                    "ask the privileged helper for so much at once",
                    io::Error::from_raw_os_error(libc::E2BIG),
                ));
            }
            Err(error) => Err(gone_or_unclear(&error)),
            Ok(()) => answer(framed, self.id).await,
        };
        match answer {
            Ok((outcome, descriptors)) => outcome.map(|done| (done, descriptors)),
            Err(error) => {
                tracing::warn!(%error, "the privileged helper was lost at a job");
                self.helpers.lose();
                Err(self.helpers.undone().await)
            }
        }
    }

    async fn ask_for_nothing(&mut self, job: Job, descriptors: Vec<OwnedFd>) -> Result<(), MachineError> {
        match self.ask(job, descriptors).await? {
            (Done::Nothing, _) => Ok(()),
            (Done::Tun { .. } | Done::Tap { .. } | Done::Reasserted(_), _) => Err(another_question()),
        }
    }
}

/// The answer to question `id`; those to questions that nobody waits for any more are skipped.
async fn answer(
    framed: &mut Framed,
    id: u64,
) -> Result<(Result<Done, MachineError>, Vec<OwnedFd>), MachineError> {
    loop {
        let frame = match framed.read().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(MachineError::HelperGone),
            Err(error) => return Err(gone_or_unclear(&error)),
        };
        let answer: Answer = serde_json::from_slice(&frame.body).map_err(|error| unclear(&error))?;
        if answer.id == id {
            return Ok((answer.outcome, frame.descriptors));
        }
    }
}

fn another_question() -> MachineError {
    MachineError::HelperProtocol("it answered another question".to_owned())
}

/// What is wrong with an answer that brought no descriptor: where this process can have no more, the kernel drops
/// it on the way (unix(7), `SCM_RIGHTS`).
fn without_descriptor(otherwise: &str) -> MachineError {
    match File::open("/dev/null") {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            MachineError::of("take an interface from the privileged helper", error)
        }
        _ => MachineError::HelperProtocol(otherwise.to_owned()),
    }
}

#[async_trait]
impl Privileged for Helper {
    async fn open_tun(&mut self, spec: &TunSpec) -> Result<Tun, MachineError> {
        match self.ask(Job::OpenTun(spec.clone()), Vec::new()).await? {
            (Done::Tun { name, index, offload, footprint }, queues) if !queues.is_empty() => {
                Ok(Tun { name, index, queues, offload, footprint })
            }
            _ => Err(without_descriptor("it sent no TUN queue")),
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

    async fn open_tap(&mut self, spec: &TapSpec) -> Result<Tap, MachineError> {
        match self.ask(Job::OpenTap(spec.clone()), Vec::new()).await? {
            (Done::Tap { name, index, offload }, descriptors) => {
                let [descriptor] = <[OwnedFd; 1]>::try_from(descriptors)
                    .map_err(|_| without_descriptor("it sent no TAP"))?;
                Ok(Tap { name, index, descriptor, offload })
            }
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
    async fn gone(&mut self) -> Gone {
        self.helpers.gone().await
    }
}
