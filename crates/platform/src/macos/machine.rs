//! The privileged jobs, done in this process. Never run.
//!
//! A tunnel is a utun ([`tun`]) and routes in the machine's own table ([`routes`]). Nothing marks a
//! socket here and there are no routing rules, so a program that includes everything must exclude what
//! its own sockets talk to. DNS cannot be captured.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use async_trait::async_trait;

use super::routes::Routes;
use super::tap;
use super::tun::Device;
use crate::privileged::{
    Errno, Footprint, Gone, MachineError, Offload, Privileged, RouteChange, Tap, TapSpec, Tun, TunSpec,
};

/// The jobs of [`Privileged`], done in this process. Needs no right itself. Nothing is written under
/// `state_dir`, since macOS has no journal here.
///
/// # Errors
/// None here.
pub fn in_process(_state_dir: &Path) -> io::Result<Box<dyn Privileged>> {
    Ok(Box::new(Machine { open: None }))
}

/// The in-process half.
struct Machine {
    open: Option<Open>,
}

/// A tunnel that is open.
struct Open {
    device: Device,
    spec: TunSpec,
    routes: Routes,
}

impl Machine {
    fn open(&mut self) -> Result<&mut Open, MachineError> {
        self.open.as_mut().ok_or(MachineError::NoTun)
    }

    fn unmake(&mut self) -> Result<(), MachineError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let removed = open.routes.remove_all();
        let down = open.device.set_down();
        let name = &open.device.name;
        removed.and(down.map_err(|error| MachineError::of(format!("set down interface {name}"), error)))
    }
}

/// An error for what macOS cannot do.
fn unsupported(doing: &str) -> MachineError {
    MachineError::Kernel { doing: doing.to_owned(), errno: Errno(libc::ENOTSUP) }
}

#[async_trait]
impl Privileged for Machine {
    /// Makes one queue without offload, whatever was asked for.
    async fn open_tun(&mut self, spec: &TunSpec) -> Result<Tun, MachineError> {
        if self.open.is_some() {
            return Err(MachineError::TunExists);
        }
        let device = Device::create(spec)?;
        let (name, index) = (device.name.clone(), device.index);
        let queue = device.queue();
        let queue = queue.map_err(|error| MachineError::of(format!("open a queue of {name}"), error))?;
        let routes = Routes::new(index, &name);
        let routes = routes.map_err(|error| MachineError::of("open a routing socket", error))?;
        self.open = Some(Open { device, spec: spec.clone(), routes });
        // There is no table and no rule; what changes routes is told by the process that does.
        let footprint = Footprint { port: std::process::id(), ..Footprint::default() };
        Ok(Tun { name, index, queues: vec![queue], offload: Offload::None, footprint })
    }

    /// The interface is down afterwards, and goes when the data plane has closed its descriptors.
    async fn close_tun(&mut self) -> Result<(), MachineError> {
        self.unmake()
    }

    async fn change_routes(&mut self, change: &RouteChange) -> Result<(), MachineError> {
        self.open()?.routes.apply(change)
    }

    async fn capture_dns(&mut self, on: bool) -> Result<(), MachineError> {
        self.open()?;
        if !on {
            return Ok(());
        }
        Err(unsupported(
            "capture DNS queries (on macOS this takes a packet filter or a network extension, which hypertap does not have)",
        ))
    }

    async fn reassert(&mut self) -> Result<bool, MachineError> {
        let Open { device, spec, routes } = self.open()?;
        let addresses = device.restore_addresses(spec);
        let routes = routes.restore();
        Ok(addresses? + routes? > 0)
    }

    async fn open_tap(&mut self, spec: &TapSpec) -> Result<Tap, MachineError> {
        tap::create(spec)
    }

    async fn load_driver(&mut self) -> Result<(), MachineError> {
        Ok(())
    }

    async fn serve_bypass(&mut self, _listener: OwnedFd, _mark: u32, _uid: u32) -> Result<(), MachineError> {
        Err(unsupported(
            "let one program past the tunnel (macOS cannot mark its sockets; exclude the networks that it needs)",
        ))
    }

    async fn gone(&mut self) -> Gone {
        std::future::pending().await
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.unmake() {
            tracing::warn!(%error, "not everything of the tunnel could be removed");
        }
    }
}
