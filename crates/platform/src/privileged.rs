//! The privileged half: the few jobs that need rights on the machine's network.
//!
//! Everything else in hypertap runs without rights. The jobs here stand behind one trait,
//! [`Privileged`], with three implementations: [`crate::in_process`] does them in this process,
//! [`crate::helper::Helper`] asks a small helper process over a socket, and
//! [`crate::memory::Memory`] is the double for tests. Callers cannot tell them apart.
//!
//! A half holds at most one tunnel at a time. Every job either happens whole or not at all; when
//! the half is dropped, or its process ends, what it made is undone. Only a TAP is its descriptor's, whoever
//! made it, and goes with that.

mod tap;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use async_trait::async_trait;
pub use hypertap_wire::route::{RouteChange, RouteKind};
use serde::{Deserialize, Serialize};

pub use self::tap::{Tap, TapName, TapSpec};

/// What [`Privileged::open_tun`] makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunSpec {
    /// The interface's exact name; `None` takes the first free of `hypertap0`, `hypertap1`, …
    pub name: Option<String>,
    /// Its address, set as a /32.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address, set as a /128. Without one the interface makes itself none either
    /// (no link-local address, no autoconfiguration), yet IPv6 routes into it work.
    pub ipv6: Option<Ipv6Addr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// How many queues (descriptors) the interface gets, at least 1.
    pub queues: u16,
    /// Ask for a virtio-net header before each packet, with checksum and segmentation offload.
    pub offload: bool,
    /// Sockets that carry this mark are let past the tunnel's rules.
    pub bypass_mark: u32,
}

/// An interface that [`Privileged::open_tun`] made.
#[derive(Debug)]
pub struct Tun {
    /// Its name.
    pub name: String,
    /// Its interface index.
    pub index: u32,
    /// One non-blocking descriptor a queue.
    pub queues: Vec<OwnedFd>,
    /// Which offload the kernel granted.
    pub offload: Offload,
    /// How its rules and routes are told from others'.
    pub footprint: Footprint,
}

/// How a tunnel's rules and routes are told from others' in the kernel's announcements
/// ([`crate::monitor::LinkMonitor::watch`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// The routing table of its included and excluded routes; that of captured DNS has the next number.
    pub table: u32,
    /// The priority of the first of its ten rules.
    pub priority: u32,
    /// The rtnetlink(7) port that the half changes them by: what comes from there was no stranger.
    pub port: u32,
}

/// Which offload a TUN's or TAP's descriptors carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offload {
    /// Bare packets or frames, no header.
    None,
    /// A 10-byte virtio-net header before each; TCP segments up to 64 KiB.
    Tcp,
    /// The same, and UDP segments too (Linux 6.2 and newer).
    TcpUdp,
}

/// An `errno` value, kept as a number so that it crosses from the helper.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errno(pub i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", nix::errno::Errno::from_raw(self.0).desc())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", nix::errno::Errno::from_raw(self.0))
    }
}

/// Why a job of the privileged half did not happen. Nothing was changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MachineError {
    /// The right is missing.
    #[error(
        "not permitted to {doing}: the process needs CAP_NET_ADMIN (run it as root, or ask with loadConfig)"
    )]
    NotPermitted {
        /// What was tried, as in "create a TUN interface".
        doing: String,
    },
    /// `/dev/net/tun` cannot be opened.
    #[error("the TUN driver is not available: /dev/net/tun: {0} (`hypertap doctor` says how to mend it)")]
    NoDriver(Errno),
    /// Another interface has the name.
    #[error(
        "an interface named {0} exists already (choose another name, or use --replace if another hypertap has it)"
    )]
    NameTaken(String),
    /// The kernel would not take the name.
    #[error("{0:?} is no interface name: 1 to 15 bytes, without '/', ':', '%' or white space")]
    BadName(String),
    /// A job that needs the tunnel came without one.
    #[error("the tunnel is not started")]
    NoTun,
    /// The tunnel is there already.
    #[error("the tunnel is started already")]
    TunExists,
    /// The kernel refused something.
    #[error("cannot {doing}: {errno}")]
    Kernel {
        /// What was tried, naming the thing, as in "add route 10.0.0.0/8 dev hypertap0".
        doing: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// Something went wrong that has no number of the kernel's: its own sentence says what.
    #[error("cannot {doing}: {reason}")]
    Failed {
        /// What was tried.
        doing: String,
        /// What happened, to which thing, and what to do.
        reason: String,
    },
    /// systemd-resolved, or the bus it is on, refused something.
    #[error("cannot {doing}: {reason}")]
    Resolver {
        /// What was tried.
        doing: String,
        /// What the service said.
        reason: String,
    },
    /// The helper process is gone.
    #[error("the privileged helper has ended, and the tunnel with it (its log says why); try again")]
    HelperGone,
    /// The helper did not speak our protocol, or not the same version of it.
    #[error("the privileged helper does not speak this program's protocol: {0}")]
    HelperProtocol(String),
}

impl MachineError {
    /// A [`MachineError::Kernel`] of an I/O error, [`MachineError::NotPermitted`] where it says so, or
    /// [`MachineError::Failed`] where it is a sentence and no number.
    pub fn of(doing: impl Into<String>, error: impl Into<io::Error>) -> Self {
        let (doing, error) = (doing.into(), error.into());
        match error.raw_os_error() {
            Some(libc::EPERM) => Self::NotPermitted { doing },
            Some(errno) => Self::Kernel { doing, errno: Errno(errno) },
            None => Self::Failed { doing, reason: error.to_string() },
        }
    }
}

/// How a half ended that [`Privileged::gone`] speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was lost with its tunnel and is there anew, with no tunnel open.
    Restarted,
    /// No job can be done any more.
    ForGood,
}

/// The jobs that need rights.
#[async_trait]
pub trait Privileged: Send {
    /// Makes the TUN interface, gives it its addresses, brings it up, and installs the tunnel's
    /// rules and empty routing table.
    ///
    /// # Errors
    /// [`MachineError`]; [`MachineError::TunExists`] when one is open.
    async fn open_tun(&mut self, spec: &TunSpec) -> Result<Tun, MachineError>;

    /// Removes the interface, its rules and routes, and its DNS capture. Does nothing when there
    /// is none; what somebody else removed already is no error.
    ///
    /// # Errors
    /// [`MachineError`] of the first thing that could not be removed; the rest was still tried.
    async fn close_tun(&mut self) -> Result<(), MachineError>;

    /// Changes the tunnel's routing table, whole or not at all.
    ///
    /// # Errors
    /// [`MachineError::NoTun`], or what the kernel refused.
    async fn change_routes(&mut self, change: &RouteChange) -> Result<(), MachineError>;

    /// Sends every DNS query that the machine itself makes into the tunnel, or stops doing so.
    ///
    /// # Errors
    /// [`MachineError::NoTun`], or what was refused; capture is then as it was.
    async fn capture_dns(&mut self, on: bool) -> Result<(), MachineError>;

    /// Looks whether the tunnel's addresses, rules and routes, those of captured DNS included, are
    /// on the machine still, and puts back what somebody else removed. `true` when anything was missing.
    /// What somebody else put in the place of a thing of ours is left there, and is an error.
    ///
    /// # Errors
    /// [`MachineError::NoTun`], or the first thing that could not be put back; the rest was still tried.
    async fn reassert(&mut self) -> Result<bool, MachineError>;

    /// Makes a TAP interface with its addresses and settings, and brings it up: whole or not at all. It is
    /// its descriptor's from then on, not this half's, which may make any number of them and need not stay.
    ///
    /// # Errors
    /// [`MachineError`]; [`MachineError::NameTaken`] when any other interface has the name, which is left as
    /// it is.
    async fn open_tap(&mut self, spec: &TapSpec) -> Result<Tap, MachineError>;

    /// Makes the TUN driver available: loads the module, where it is one.
    ///
    /// # Errors
    /// [`MachineError::NoDriver`] when it is still not there afterwards.
    async fn load_driver(&mut self) -> Result<(), MachineError>;

    /// Serves a seccomp listener (from [`crate::bypass::spawn`]) until its process tree ends:
    /// each internet socket that the tree makes gets `mark`, and belongs to `uid`.
    /// Returns as soon as it is being served.
    ///
    /// # Errors
    /// [`MachineError`] when the listener is none, or the mark may not be set.
    async fn serve_bypass(&mut self, listener: OwnedFd, mark: u32, uid: u32) -> Result<(), MachineError>;

    /// Completes when what this half had made was undone without its being asked, because its process
    /// (a helper) ended: once for each restart, and at once ever after when it is gone for good. Never
    /// in the process. Dropping the future loses nothing.
    async fn gone(&mut self) -> Gone;
}
