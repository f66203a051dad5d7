//! A privileged half that takes an interface over from another instance before it makes it (`--replace`).
//!
//! The other instances ask who takes over, so it is done where the rights are: after `--user`, in the
//! helper, which is root as before. It was told at its start that it may, by which socket it is not to ask
//! (its own daemon's), and in which state directory to look for others; the daemon can change none of that.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_trait::async_trait;
use hypertap_platform::{Gone, MachineError, Privileged, RouteChange, Tap, TapSpec, Tun, TunSpec};

use super::supersede::take_over;

/// A half that takes over.
pub struct Replacing {
    /// The half that does the jobs.
    pub half: Box<dyn Privileged>,
    /// Where other instances have their sockets.
    pub state_dir: PathBuf,
    /// The daemon's own socket.
    pub own: Option<PathBuf>,
}

#[async_trait]
impl Privileged for Replacing {
    async fn open_tun(&mut self, spec: &TunSpec) -> Result<Tun, MachineError> {
        let mut spec = spec.clone();
        let name = spec.name.get_or_insert_with(|| "hypertap0".to_owned()).clone();
        take_over(&self.state_dir, self.own.as_deref(), &name).await;
        self.half.open_tun(&spec).await
    }

    async fn close_tun(&mut self) -> Result<(), MachineError> {
        self.half.close_tun().await
    }

    async fn change_routes(&mut self, change: &RouteChange) -> Result<(), MachineError> {
        self.half.change_routes(change).await
    }

    async fn capture_dns(&mut self, on: bool) -> Result<(), MachineError> {
        self.half.capture_dns(on).await
    }

    async fn reassert(&mut self) -> Result<bool, MachineError> {
        self.half.reassert().await
    }

    async fn open_tap(&mut self, spec: &TapSpec) -> Result<Tap, MachineError> {
        self.half.open_tap(spec).await
    }

    async fn load_driver(&mut self) -> Result<(), MachineError> {
        self.half.load_driver().await
    }

    async fn serve_bypass(&mut self, listener: OwnedFd, mark: u32, uid: u32) -> Result<(), MachineError> {
        self.half.serve_bypass(listener, mark, uid).await
    }

    async fn gone(&mut self) -> Gone {
        self.half.gone().await
    }
}
