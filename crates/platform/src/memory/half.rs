//! The jobs, remembered.

use std::os::fd::OwnedFd;

use async_trait::async_trait;

use super::{Job, Memory};
use crate::privileged::{Errno, Gone, MachineError, Privileged, RouteChange, Tap, TapSpec, Tun, TunSpec};

/// A half on a remembered machine.
pub(super) struct Half {
    pub(super) machine: Memory,
    /// Whether the tunnel that is open, if one is, was opened here.
    pub(super) mine: bool,
}

#[async_trait]
impl Privileged for Half {
    async fn open_tun(&mut self, spec: &TunSpec) -> Result<Tun, MachineError> {
        let tun = self.machine.begin(Job::OpenTun)?.open(spec)?;
        self.mine = true;
        Ok(tun)
    }

    async fn close_tun(&mut self) -> Result<(), MachineError> {
        self.machine.begin(Job::CloseTun)?.close();
        self.mine = false;
        Ok(())
    }

    async fn change_routes(&mut self, change: &RouteChange) -> Result<(), MachineError> {
        let mut state = self.machine.begin(Job::ChangeRoutes)?;
        let tunnel = state.seen.tunnel.as_mut().ok_or(MachineError::NoTun)?;
        let mut routes = tunnel.routes.clone();
        for (net, kind) in &change.remove {
            if routes.get(net) == Some(kind) {
                routes.remove(net);
            }
        }
        for (net, kind) in &change.add {
            if routes.insert(*net, *kind).is_some() {
                let doing = format!("add route {net} dev {}", tunnel.name);
                return Err(MachineError::Kernel { doing, errno: Errno(libc::EEXIST) });
            }
        }
        tunnel.routes = routes;
        Ok(())
    }

    async fn capture_dns(&mut self, on: bool) -> Result<(), MachineError> {
        let mut state = self.machine.begin(Job::CaptureDns)?;
        state.seen.tunnel.as_mut().ok_or(MachineError::NoTun)?.dns = on;
        Ok(())
    }

    async fn reassert(&mut self) -> Result<bool, MachineError> {
        let mut state = self.machine.begin(Job::Reassert)?;
        let tunnel = state.seen.tunnel.as_mut().ok_or(MachineError::NoTun)?;
        Ok(std::mem::take(&mut tunnel.damaged))
    }

    async fn open_tap(&mut self, spec: &TapSpec) -> Result<Tap, MachineError> {
        self.machine.begin(Job::OpenTap)?.open_tap(spec)
    }

    async fn load_driver(&mut self) -> Result<(), MachineError> {
        self.machine.begin(Job::LoadDriver).map(drop)
    }

    async fn serve_bypass(&mut self, _listener: OwnedFd, mark: u32, uid: u32) -> Result<(), MachineError> {
        self.machine.begin(Job::ServeBypass)?.seen.bypasses.push((mark, uid));
        Ok(())
    }

    async fn gone(&mut self) -> Gone {
        let mut gone = self.machine.gone.subscribe();
        // The sender lives in `self`, so this does not fail.
        let _ = gone.wait_for(|gone| *gone).await;
        Gone::ForGood
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if self.mine {
            self.machine.lock().close();
        }
    }
}
