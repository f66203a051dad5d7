//! A tunnel that is up: its interface, its data plane, its routes.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use hypertap_engine::routes::RouteTable;
use hypertap_platform::monitor::DefaultRoute;
use hypertap_platform::queue::{PacketQueue, TunQueue};
use hypertap_platform::unix_listener::{self, Kind};
use hypertap_platform::{Footprint, MachineError, Tun, TunSpec};
use hypertap_wire::command::{DataPlane, StartFields};
use hypertap_wire::event::Refusal;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::startup::{DATA_SOCKET, Settings};
use crate::exit::Exit;
use crate::plane::stats::Stats;
use crate::plane::{PeerGuard, Plane, PlaneEnd, PlaneSpec, Program};

/// A tunnel that is up.
#[derive(Debug)]
pub struct Live {
    /// The interface's name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// How its rules and routes are told from others'.
    pub footprint: Footprint,
    /// Its routes, as they are in the kernel's table.
    pub routes: RouteTable,
    /// Whether DNS queries are captured.
    pub captures_dns: bool,
    /// Where the machine's default route leads, if the tunnel follows it.
    pub follows: Option<Followed>,
    /// When its rules and routes are to be looked after, where there is reason to.
    pub reassert_due: Option<Instant>,
    /// When that was last done.
    pub reasserted: Option<Instant>,
    /// Carries packets; `None` where the program holds the device itself.
    plane: Option<Plane>,
    /// The socket file of a data plane that has one. It goes when this does, a plane that cannot be
    /// started included.
    data_file: Option<SocketFile>,
    /// Kept open so that the interface stays when the program closes its own copy.
    device: Option<OwnedFd>,
}

/// A socket's file, which is removed when this is dropped.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // In a directory of our own: it can only be gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Where the default route that a tunnel follows leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Nowhere yet.
    None,
    /// To the device of this index.
    Device(u32),
}

impl Followed {
    /// As the default route is now.
    pub fn new(route: Option<DefaultRoute>) -> Self {
        route.map_or(Self::None, |route| Self::Device(route.index))
    }
}

/// What a data plane needs besides the interface.
pub struct PlaneContext<'a> {
    /// The daemon's settings.
    pub settings: &'a Settings,
    /// The UDP socket at the data address.
    pub data: &'a UdpSocket,
    /// Who may send and receive.
    pub guard: Arc<dyn PeerGuard>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// Told when the data plane ends by itself.
    pub ended: mpsc::Sender<PlaneEnd>,
}

/// What the privileged half is asked to make.
pub fn spec(settings: &Settings, fields: &StartFields) -> TunSpec {
    let direct = fields.data_plane == DataPlane::Fd;
    TunSpec {
        name: fields.name.clone().or_else(|| settings.name.clone()),
        ipv4: fields.ipv4,
        ipv6: fields.ipv6,
        mtu: fields.mtu.unwrap_or(settings.mtu),
        queues: if direct { 1 } else { settings.queues },
        offload: if direct { fields.offload } else { settings.offload },
        bypass_mark: settings.bypass_mark,
    }
}

impl Live {
    /// Starts the data plane of an interface.
    ///
    /// # Errors
    /// What the data plane lacks; the interface is then still there, and nothing else.
    pub fn new(
        tun: Tun,
        spec: &TunSpec,
        fields: &StartFields,
        context: PlaneContext<'_>,
    ) -> Result<Self, Refusal> {
        let mut live = Self {
            name: tun.name,
            index: tun.index,
            footprint: tun.footprint,
            routes: RouteTable::new(),
            captures_dns: false,
            follows: None,
            reassert_due: None,
            reasserted: None,
            plane: None,
            data_file: None,
            device: None,
        };
        let mut queues = tun.queues;
        if fields.data_plane == DataPlane::Fd {
            live.device = queues.pop();
            return Ok(live);
        }
        let program = match fields.data_plane {
            DataPlane::Stream => Program::Stream { listener: live.listen(context.settings, Kind::Stream)? },
            DataPlane::Unix => Program::Unix { listener: live.listen(context.settings, Kind::SeqPacket)? },
            DataPlane::Udp | DataPlane::Fd => {
                udp(&context, fields).map_err(|error| refused("use the data socket", &error))?
            }
        };
        let plane = Plane::start(PlaneSpec {
            program,
            mtu: spec.mtu,
            queues: queues
                .into_iter()
                .map(|queue| -> Box<dyn PacketQueue> {
                    Box::new(TunQueue::new(queue, tun.offload, spec.mtu))
                })
                .collect(),
            guard: context.guard,
            stats: context.stats,
            ended: context.ended,
        });
        live.plane = Some(plane.map_err(|error| refused("start the data plane", &error))?);
        Ok(live)
    }

    /// Makes the data socket that the program connects to.
    fn listen(&mut self, settings: &Settings, kind: Kind) -> Result<UnixListener, Refusal> {
        let path = settings.instance_dir.join(DATA_SOCKET);
        // Somebody may have removed it since we made it.
        let _ = DirBuilder::new().mode(0o755).create(&settings.instance_dir);
        let listener = unix_listener::listen(&path, kind).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let text = format!(
                    "cannot listen on {}: somebody removed its directory, and this process may not make it \
                     anew; restart hypertap",
                    path.display()
                );
                Refusal::with_code(text, Exit::Other as u8)
            }
            _ => refused(&format!("listen on {}", path.display()), &error),
        })?;
        self.data_file = Some(SocketFile(path));
        Ok(listener)
    }

    /// Where the program connects for packets, if it is a path.
    pub fn data_path(&self) -> Option<&PathBuf> {
        self.data_file.as_ref().map(|file| &file.0)
    }

    /// The device for the program, where that holds it itself. Each is a copy of one descriptor, which
    /// stays here: so a program that has lost its own, or never got it, can have another, at the cost of
    /// one descriptor.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn device_copy(&self) -> Result<Option<OwnedFd>, Refusal> {
        let copy = self.device.as_ref().map(OwnedFd::try_clone).transpose();
        copy.map_err(|error| refused("copy the device's descriptor", &error))
    }

    /// Stops the data plane. The interface is the privileged half's to remove.
    pub fn stop(&mut self) {
        if let Some(plane) = self.plane.take() {
            plane.stop();
        }
        self.data_file = None;
        self.device = None;
    }
}

fn refused(what: &str, error: &std::io::Error) -> Refusal {
    Refusal::with_code(format!("cannot {what}: {error}"), Exit::Other as u8)
}

/// The UDP data plane on the daemon's data socket, without what came before there was a tunnel.
fn udp(context: &PlaneContext<'_>, fields: &StartFields) -> std::io::Result<Program> {
    let socket = context.data.try_clone()?;
    let mut stale = [0; 1];
    while socket.recv_from(&mut stale).is_ok() {}
    let mut receive: SocketAddr = socket.local_addr()?;
    receive.set_port(fields.receive_port.unwrap_or(context.settings.receive_port));
    Ok(Program::Udp { socket, receive })
}

/// The refusal that an error of the privileged half is answered with.
pub fn refusal(error: &MachineError) -> Refusal {
    Refusal::with_code(error.to_string(), Exit::of(error) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_the_exit_code_of_its_cause() {
        assert_eq!(refusal(&MachineError::NameTaken("x".into())).code, Some(5));
        assert_eq!(refusal(&MachineError::NotPermitted { doing: "y".into() }).code, Some(3));
    }
}
