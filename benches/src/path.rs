//! The paths that are measured: two namespaces, and what carries packets between them.
//!
//! Both ends of a path run in the namespace `near`, where loopback and Unix sockets join them. The near end keeps its
//! TUN there; the far end's TUN is moved to `far`, so that the kernel cannot take a short cut:
//!
//! ```text
//!        near                                         far
//!   10.10.0.1 ─ TUN ─ [near end] ─ data plane ─ [far end] ─ TUN ─ 10.10.0.2
//! ```
//!
//! The far end is always the C bridge. The near end is the C bridge in the reference, and hypertap in ours.
//! With a switch in the middle the C bridge is at both ends, and what is between them differs:
//!
//! ```text
//!   10.10.0.1 ─ TAP ─ [C bridge] ─ socket ─ [switch] ─ socket ─ [C bridge] ─ TAP ─ 10.10.0.2
//! ```

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;

use crate::daemon::{DATA_PORT, Daemon, RECEIVE_PORT};
use crate::load;
use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::tap::{self, Tap};
use crate::workshop::Workshop;

/// The address of the near end, where hypertap's device is.
pub(crate) const NEAR: &str = "10.10.0.1";
/// The address of the far end.
pub(crate) const FAR: &str = "10.10.0.2";

const NEAR_LINK: &str = "benchA";
const FAR_LINK: &str = "benchB";

/// How packets pass between the near end and the far end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    /// One packet a datagram, one datagram a system call.
    Udp,
    /// The same with `UDP_SEGMENT` and `UDP_GRO`, and virtio-net headers on the TUN.
    UdpOffload,
    /// A framed Unix stream, many packets a write.
    Stream,
    /// A packet a message, many messages a system call.
    Seqpacket,
    /// One process has both TUN descriptors.
    Descriptor,
    /// Ethernet frames on a Unix stream with little-endian lengths, many frames a write.
    Tap,
    /// A switch between two clients: framed streams to ours, `vde_switch` in the reference.
    Switch,
    /// A switch between two clients, one frame a datagram.
    SwitchDatagram,
}

/// A path that carries packets. Dropped in the order of its fields: processes first, then the namespaces.
pub(crate) struct Route {
    processes: Vec<Process>,
    daemon: Option<Daemon>,
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
}

impl Route {
    /// The C bridge at both ends.
    pub(crate) fn reference(plane: Plane, shop: &Workshop) -> Result<Self> {
        let mut route = Self::empty()?;
        let socket = shop.dir().join(format!("{}.sock", route.near.name())).display().to_string();
        let (here, there) = (format!("tun:{NEAR_LINK}"), format!("tun:{FAR_LINK}"));
        let out = format!("{DATA_PORT}:{RECEIVE_PORT}");
        match plane {
            Plane::Udp => route.bridge(shop, &here, &format!("udp:{out}"))?,
            Plane::UdpOffload => route.bridge(shop, &format!("tunv:{NEAR_LINK}"), &format!("udpg:{out}"))?,
            Plane::Stream => route.bridge(shop, &here, &format!("listen:{socket}"))?,
            Plane::Seqpacket => route.bridge(shop, &here, &format!("seqlisten:{socket}"))?,
            Plane::Descriptor => route.bridge(shop, &here, &there)?,
            Plane::Tap => route.bridge(shop, &format!("tap:{NEAR_LINK}"), &format!("lelisten:{socket}"))?,
            Plane::Switch | Plane::SwitchDatagram => {
                let (switch, directory) = tap::vde_switch(shop, &route.near)?;
                route.processes.push(switch);
                return route.between_clients(shop, &format!("vde:{}", directory.display()));
            }
        }
        if plane != Plane::Descriptor {
            route.far_end(plane, shop, &socket)?;
        }
        route.near.give_link(NEAR_LINK, &route.near, NEAR, FAR)?;
        route.join_far(shop)
    }

    /// hypertap at the near end, or in the middle.
    pub(crate) fn ours(plane: Plane, shop: &Workshop) -> Result<Self> {
        match plane {
            Plane::Tap => Self::tap(shop),
            Plane::Switch => Self::switch(shop, "le16", "leconnect"),
            Plane::SwitchDatagram => Self::switch(shop, "datagram", "dgram"),
            _ => Self::tunnel(plane, shop),
        }
    }

    fn tunnel(plane: Plane, shop: &Workshop) -> Result<Self> {
        let mut route = Self::empty()?;
        let mut daemon = Daemon::start(shop, &route.near)?;
        if plane == Plane::Descriptor {
            let control = daemon.control();
            route.bridge(shop, &format!("fd:{control}:{NEAR}:{FAR}"), &format!("tun:{FAR_LINK}"))?;
        } else {
            let name = match plane {
                Plane::Stream => "stream",
                Plane::Seqpacket => "unix",
                _ => "udp",
            };
            let socket = daemon.tunnel(&route.near, name)?;
            route.far_end(plane, shop, &socket)?;
        }
        route.daemon = Some(daemon);
        route.join_far(shop)
    }

    fn tap(shop: &Workshop) -> Result<Self> {
        let mut route = Self::empty()?;
        let server = Tap { framing: "le16", clients: 1, interface: Some(NEAR_LINK) };
        let (hypertap, socket) = server.start(shop, &route.near)?;
        route.processes.push(hypertap);
        route.far_end(Plane::Tap, shop, &socket.display().to_string())?;
        route.join_far(shop)
    }

    fn switch(shop: &Workshop, framing: &str, endpoint: &str) -> Result<Self> {
        let mut route = Self::empty()?;
        let (hypertap, socket) = Tap { framing, clients: 2, interface: None }.start(shop, &route.near)?;
        route.processes.push(hypertap);
        route.between_clients(shop, &format!("{endpoint}:{}", socket.display()))
    }

    /// Two clients of a switch, the same whichever it is.
    fn between_clients(mut self, shop: &Workshop, endpoint: &str) -> Result<Self> {
        for link in [NEAR_LINK, FAR_LINK] {
            self.bridge(shop, &format!("tap:{link}"), endpoint)?;
        }
        self.near.give_link(NEAR_LINK, &self.near, NEAR, FAR)?;
        self.join_far(shop)
    }

    fn empty() -> Result<Self> {
        let (near, far) = (Namespace::create()?, Namespace::create()?);
        Ok(Self { processes: Vec::new(), daemon: None, near, far })
    }

    fn bridge(&mut self, shop: &Workshop, left: &str, right: &str) -> Result<()> {
        self.processes.push(Process::start(
            shop.dir(),
            self.near.name(),
            &[&shop.programs.bridge, left, right],
        )?);
        Ok(())
    }

    /// The C program that hypertap serves, the same as in the reference.
    fn far_end(&mut self, plane: Plane, shop: &Workshop, socket: &str) -> Result<()> {
        let there = format!("tun:{FAR_LINK}");
        let back = format!("{RECEIVE_PORT}:{DATA_PORT}");
        match plane {
            Plane::Udp => self.bridge(shop, &there, &format!("udp:{back}")),
            Plane::UdpOffload => self.bridge(shop, &format!("tunv:{FAR_LINK}"), &format!("udpg:{back}")),
            Plane::Stream => self.bridge(shop, &there, &format!("connect:{socket}")),
            Plane::Seqpacket => self.bridge(shop, &there, &format!("seqconnect:{socket}")),
            Plane::Tap => self.bridge(shop, &format!("tap:{FAR_LINK}"), &format!("leconnect:{socket}")),
            Plane::Descriptor | Plane::Switch | Plane::SwitchDatagram => {
                bail!("this path has no far end of its own")
            }
        }
    }

    /// Moves the far device away, starts what answers loads, and waits until a packet has come back.
    fn join_far(mut self, shop: &Workshop) -> Result<Self> {
        if let Err(error) = self.near.give_link(FAR_LINK, &self.far, FAR, NEAR) {
            self.alive()?; // a process that has ended says more than a missing device
            return Err(error);
        }
        for namespace in [&self.near, &self.far] {
            self.processes.extend(load::servers(shop, namespace)?);
        }
        let end = Instant::now() + Duration::from_secs(10);
        while !self.answers() {
            self.alive()?;
            if Instant::now() > end {
                bail!("no packet came back from {FAR} within 10 s");
            }
        }
        Ok(self)
    }

    /// Its processes.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.processes.iter().map(Process::pid).chain(self.daemon.as_ref().map(Daemon::pid)).collect()
    }

    fn answers(&self) -> bool {
        let ask = || {
            let socket = UdpSocket::bind((NEAR, 0))?;
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            socket.send_to(&load::PROBE, (FAR, load::SINK_PORT)).context("send a probe")?;
            Ok(socket.recv(&mut [0; 64])?)
        };
        let answered = self.near.inside(ask).is_ok();
        if !answered {
            thread::sleep(Duration::from_millis(5));
        }
        answered
    }

    /// An error with its last words when a process of this path has ended.
    pub(crate) fn alive(&mut self) -> Result<()> {
        process::check()?;
        self.daemon.as_mut().map_or(Ok(()), Daemon::alive)?;
        self.processes.iter_mut().try_for_each(Process::alive)
    }
}
