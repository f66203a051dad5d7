//! A tunnel that is up: its interface, its data plane, its routes.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use hypertap_engine::routes::RouteTable;
use hypertap_platform::monitor::DefaultRoute;
use hypertap_platform::queue::{PacketQueue, TunQueue};
use hypertap_platform::unix_listener::{self, Kind};
use hypertap_platform::{MachineError, Tun, TunSpec};
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
    /// The socket file of a data plane that has one.
    data_path: Option<PathBuf>,
    /// Kept open so that the interface stays when the program closes its own copy.
    device: Option<OwnedFd>,
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
    /// Starts the data plane of an interface. What comes with the reply to `start`: the path of the
    /// data socket, the device's descriptor.
    ///
    /// # Errors
    /// What the data plane lacks; the interface is then still there.
    pub fn new(
        tun: Tun,
        spec: &TunSpec,
        fields: &StartFields,
        context: PlaneContext<'_>,
    ) -> Result<(Self, Option<OwnedFd>), Refusal> {
        let refused = |what: &str, error: std::io::Error| {
            Refusal::with_code(format!("cannot {what}: {error}"), Exit::Other as u8)
        };
        let mut live = Self {
            name: tun.name,
            index: tun.index,
            routes: RouteTable::new(),
            captures_dns: false,
            follows: None,
            reassert_due: None,
            reasserted: None,
            plane: None,
            data_path: None,
            device: None,
        };
        let mut queues = tun.queues;
        if fields.data_plane == DataPlane::Fd {
            let device = queues.pop().ok_or_else(|| Refusal::fixed("the interface came without a queue"))?;
            let copy = device.try_clone().map_err(|e| refused("copy the device's descriptor", e))?;
            live.device = Some(device);
            return Ok((live, Some(copy)));
        }
        let program = match fields.data_plane {
            DataPlane::Stream => Program::Stream { listener: live.listen(context.settings, Kind::Stream)? },
            DataPlane::Unix => Program::Unix { listener: live.listen(context.settings, Kind::SeqPacket)? },
            DataPlane::Udp | DataPlane::Fd => {
                udp(&context, fields).map_err(|e| refused("use the data socket", e))?
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
        live.plane = Some(plane.map_err(|e| refused("start the data plane", e))?);
        Ok((live, None))
    }

    /// Makes the data socket that the program connects to.
    fn listen(&mut self, settings: &Settings, kind: Kind) -> Result<UnixListener, Refusal> {
        let path = settings.instance_dir.join(DATA_SOCKET);
        let listener = unix_listener::listen(&path, kind).map_err(|error| {
            Refusal::with_code(format!("cannot listen on {}: {error}", path.display()), Exit::Other as u8)
        })?;
        self.data_path = Some(path);
        Ok(listener)
    }

    /// Where the program connects for packets, if it is a path.
    pub fn data_path(&self) -> Option<&PathBuf> {
        self.data_path.as_ref()
    }

    /// Stops the data plane. The interface is the privileged half's to remove.
    pub fn stop(&mut self) {
        if let Some(plane) = self.plane.take() {
            plane.stop();
        }
        if let Some(path) = self.data_path.take() {
            // In a directory of our own: it can only be gone already.
            let _ = std::fs::remove_file(path);
        }
        self.device = None;
    }
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
