//! The helper's side.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;

use super::frame::{Frame, Framed};
use super::is_gone;
use super::message::{Answer, Asked, Done, Hello, Job};
use crate::privileged::{MachineError, Privileged, Tap, Tun};

/// Does the jobs that come over `socket` from the user `peer` with `half`, until the other side goes away, breaks the
/// protocol, or `shutdown` completes; then undoes what is not undone. A job that is under way when
/// `shutdown` completes is finished first. Only then is the socket closed, so who sees its end finds
/// the machine as it was.
///
/// Needs a tokio runtime with I/O.
///
/// # Errors
/// `InvalidData` when the other side broke the protocol, what the socket said, or what could not be
/// undone.
pub async fn serve(
    socket: OwnedFd,
    peer: u32,
    mut half: Box<dyn Privileged>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut framed = Framed::new(socket)?;
    let served = session(&mut framed, half.as_mut(), peer, shutdown).await;
    let undone = half.close_tun().await;
    drop(half);
    drop(framed);
    served.and(undone.map_err(io::Error::other))
}

async fn session(
    framed: &mut Framed,
    half: &mut dyn Privileged,
    peer: u32,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut shutdown = pin!(shutdown);
    let mut greeted = false;
    loop {
        let frame = tokio::select! {
            frame = framed.read() => frame,
            () = &mut shutdown => return Ok(()),
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (reply, descriptors, spoken) = if greeted {
            let (answer, descriptors) = answer(frame, half, peer).await?;
            (serde_json::to_vec(&answer)?, descriptors, Ok(()))
        } else {
            // Ours goes out before theirs is judged: they want to know what is wrong as well.
            greeted = true;
            (serde_json::to_vec(&Hello::ours())?, Vec::new(), Hello::check(&frame.body))
        };
        tokio::select! {
            written = framed.write(&reply, descriptors) => match written {
                Err(error) if is_gone(&error) => return Ok(()),
                written => written?,
            },
            () = &mut shutdown => return Ok(()),
        }
        spoken.map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))?;
    }
}

/// Does what a frame asks for.
///
/// # Errors
/// `InvalidData` when it asks for nothing that we know; a job that fails is an answer.
async fn answer(frame: Frame, half: &mut dyn Privileged, peer: u32) -> io::Result<(Answer, Vec<OwnedFd>)> {
    let Asked { id, job }: Asked<Job> = serde_json::from_slice(&frame.body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let outcome = match job.validate(peer) {
        Ok(()) => perform(job, frame.descriptors, half).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &outcome {
        tracing::debug!(%error, "a job was refused or failed");
    }
    let (outcome, descriptors) = match outcome {
        Ok((done, descriptors)) => (Ok(done), descriptors),
        Err(error) => (Err(error), Vec::new()),
    };
    Ok((Answer { id, outcome }, descriptors))
}

async fn perform(
    job: Job,
    descriptors: Vec<OwnedFd>,
    half: &mut dyn Privileged,
) -> Result<(Done, Vec<OwnedFd>), MachineError> {
    let done = match job {
        Job::OpenTun(spec) => {
            let tun = half.open_tun(&spec).await?;
            let Tun { name, index, queues, offload, footprint } = tun;
            return Ok((Done::Tun { name, index, offload, footprint }, queues));
        }
        Job::OpenTap(spec) => {
            let Tap { name, index, descriptor, offload } = half.open_tap(&spec).await?;
            return Ok((Done::Tap { name, index, offload }, vec![descriptor]));
        }
        Job::ServeBypass { mark, uid } => match <[OwnedFd; 1]>::try_from(descriptors) {
            Ok([listener]) => half.serve_bypass(listener, mark, uid).await,
            Err(_) => Err(MachineError::HelperProtocol("a bypass comes with one listener".to_owned())),
        },
        Job::CloseTun => half.close_tun().await,
        Job::ChangeRoutes(change) => half.change_routes(&change).await,
        Job::CaptureDns(on) => half.capture_dns(on).await,
        Job::Reassert => {
            return half.reassert().await.map(|anything| (Done::Reasserted(anything), Vec::new()));
        }
        Job::LoadDriver => half.load_driver().await,
    };
    done.map(|()| (Done::Nothing, Vec::new()))
}
