//! The half that makes TAP interfaces and nothing else: what it makes goes with its descriptor, so nothing is
//! written down, and there is no directory that it could not write to.

use std::io;
use std::os::fd::OwnedFd;

use async_trait::async_trait;

use super::netlink::Netlink;
use super::{driver, tap};
use crate::privileged::{Gone, MachineError, Privileged, RouteChange, Tap, TapSpec, Tun, TunSpec};

/// The jobs of [`Privileged`] that put nothing on the machine but TAP interfaces, done in this process, in the
/// calling thread's network namespace. It opens no tunnel. Needs no right itself, and no directory.
///
/// The result's asynchronous functions need a tokio runtime with I/O and time.
///
/// # Errors
/// When rtnetlink cannot be opened.
pub fn in_process_without_journal() -> io::Result<Box<dyn Privileged>> {
    Ok(Box::new(Taps { netlink: Netlink::open()? }))
}

struct Taps {
    netlink: Netlink,
}

fn not_here(doing: &str) -> MachineError {
    let reason = "this half was started without a journal, for TAP interfaces only".to_owned();
    MachineError::Failed { doing: doing.to_owned(), reason }
}

#[async_trait]
impl Privileged for Taps {
    async fn open_tun(&mut self, _spec: &TunSpec) -> Result<Tun, MachineError> {
        Err(not_here("create a TUN interface"))
    }

    async fn close_tun(&mut self) -> Result<(), MachineError> {
        Ok(())
    }

    async fn change_routes(&mut self, _change: &RouteChange) -> Result<(), MachineError> {
        Err(MachineError::NoTun)
    }

    async fn capture_dns(&mut self, _on: bool) -> Result<(), MachineError> {
        Err(MachineError::NoTun)
    }

    async fn reassert(&mut self) -> Result<bool, MachineError> {
        Err(MachineError::NoTun)
    }

    async fn open_tap(&mut self, spec: &TapSpec) -> Result<Tap, MachineError> {
        tap::open(&mut self.netlink, spec).await
    }

    async fn load_driver(&mut self) -> Result<(), MachineError> {
        driver::load().await
    }

    async fn serve_bypass(&mut self, _listener: OwnedFd, _mark: u32, _uid: u32) -> Result<(), MachineError> {
        Err(not_here("mark the sockets of a bypassing program"))
    }

    async fn gone(&mut self) -> Gone {
        std::future::pending().await
    }
}
