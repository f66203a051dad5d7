//! The double of the privileged half: a machine that is only remembered.
//!
//! A test keeps a clone of [`Memory`] and hands [`Memory::half`] to the code under test. The clone
//! sees what the code did to the "machine", plays the kernel at the other end of the interface,
//! and says which jobs fail.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use hypertap_platform::memory::{Job, Memory};
//! use hypertap_platform::{MachineError, Privileged};
//!
//! let machine = Memory::new();
//! let mut half = machine.half();
//! machine.fail(Job::LoadDriver, MachineError::HelperGone);
//! assert_eq!(half.load_driver().await, Err(MachineError::HelperGone));
//! assert_eq!(half.load_driver().await, Ok(()));
//! # }
//! ```

mod half;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypertap_wire::command::is_interface_name;
use ipnet::IpNet;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::sync::watch;

use self::half::Half;
use crate::privileged::{
    Footprint, MachineError, Offload, Privileged, RouteKind, Tap, TapName, TapSpec, Tun, TunSpec,
};

/// A remembered machine. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    gone: Arc<watch::Sender<bool>>,
}

/// A job of [`Privileged`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Job {
    /// [`Privileged::open_tun`]
    OpenTun,
    /// [`Privileged::close_tun`]
    CloseTun,
    /// [`Privileged::change_routes`]
    ChangeRoutes,
    /// [`Privileged::capture_dns`]
    CaptureDns,
    /// [`Privileged::reassert`]
    Reassert,
    /// [`Privileged::open_tap`]
    OpenTap,
    /// [`Privileged::load_driver`]
    LoadDriver,
    /// [`Privileged::serve_bypass`]
    ServeBypass,
}

/// What a [`Memory`] looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The tunnel that is open, if one is.
    pub tunnel: Option<Tunnel>,
    /// The TAPs that were made, whether they are still there or not, oldest first.
    pub taps: Vec<TapSpec>,
    /// Marks and uids that [`Privileged::serve_bypass`] was asked to serve.
    pub bypasses: Vec<(u32, u32)>,
    /// The jobs that were asked for, those that failed included, oldest first. The last 1024.
    pub jobs: VecDeque<Job>,
}

/// An open tunnel of a [`Memory`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// What it was opened with.
    pub spec: TunSpec,
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its routes.
    pub routes: BTreeMap<IpNet, RouteKind>,
    /// Whether DNS is captured.
    pub dns: bool,
    /// Whether somebody removed a part of it behind our back ([`Memory::damage`]).
    pub damaged: bool,
}

#[derive(Debug, Default)]
struct State {
    seen: Snapshot,
    taken: BTreeSet<String>,
    failures: BTreeMap<Job, VecDeque<MachineError>>,
    offload: Option<Offload>,
    far_ends: Vec<OwnedFd>,
    tap_far_ends: Vec<OwnedFd>,
    last_index: u32,
}

const REMEMBERED_JOBS: usize = 1024;

impl Default for Memory {
    fn default() -> Self {
        Self { state: Arc::default(), gone: Arc::new(watch::Sender::new(false)) }
    }
}

impl Memory {
    /// A machine with a driver, all rights, no resolver, and no interface.
    pub fn new() -> Self {
        Self::default()
    }

    /// A privileged half on this machine. Dropping it closes its tunnel.
    pub fn half(&self) -> Box<dyn Privileged> {
        Box::new(Half { machine: self.clone(), mine: false })
    }

    /// What the machine looks like now.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().seen.clone()
    }

    /// Makes the next `job` fail with `error`, changing nothing. Several calls are several
    /// failures, in order.
    pub fn fail(&self, job: Job, error: MachineError) {
        self.lock().failures.entry(job).or_default().push_back(error);
    }

    /// Makes somebody else's interface of that name.
    pub fn take_name(&self, name: &str) {
        self.lock().taken.insert(name.to_owned());
    }

    /// Sets the offload that is granted where one is asked for; `None` until then.
    pub fn grant(&self, offload: Offload) {
        self.lock().offload = Some(offload);
    }

    /// The other ends of the open tunnel's queues, once: what the kernel would send into the
    /// interface is written here, a packet a message, and what the program sends is read here.
    pub fn far_ends(&self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.lock().far_ends)
    }

    /// The other ends of the TAPs that were made since the last call, oldest first: frames as in
    /// [`Self::far_ends`]. One whose descriptor is closed reads as ended, and closing this one is the
    /// interface's end.
    pub fn tap_far_ends(&self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.lock().tap_far_ends)
    }

    /// Plays somebody who removes a part of the open tunnel's rules or routes.
    pub fn damage(&self) {
        if let Some(tunnel) = &mut self.lock().seen.tunnel {
            tunnel.damaged = true;
        }
    }

    /// Ends every half: [`Privileged::gone`] completes, and each job says that the helper is gone.
    pub fn end(&self) {
        self.gone.send_replace(true);
        self.lock().close();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a job and finds out whether it is to fail.
    fn begin(&self, job: Job) -> Result<MutexGuard<'_, State>, MachineError> {
        let mut state = self.lock();
        if state.seen.jobs.len() == REMEMBERED_JOBS {
            state.seen.jobs.pop_front();
        }
        state.seen.jobs.push_back(job);
        if *self.gone.borrow() {
            return Err(MachineError::HelperGone);
        }
        match state.failures.get_mut(&job).and_then(VecDeque::pop_front) {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }
}

impl State {
    fn close(&mut self) {
        self.seen.tunnel = None;
        self.far_ends.clear();
    }

    fn choose_name(&self, wanted: Option<&str>) -> Result<String, MachineError> {
        match wanted {
            Some(name) if self.taken.contains(name) => Err(MachineError::NameTaken(name.to_owned())),
            Some(name) if !is_interface_name(name) => Err(MachineError::BadName(name.to_owned())),
            Some(name) => Ok(name.to_owned()),
            None => Ok(self.first_free("hypertap")),
        }
    }

    fn first_free(&self, prefix: &str) -> String {
        (0..=self.taken.len())
            .map(|number| format!("{prefix}{number}"))
            .find(|name| !self.taken.contains(name))
            .expect("one more number than names is enough")
    }

    /// Makes a TAP. Its name is free again at once, as if it were closed: this cannot see when it is.
    fn open_tap(&mut self, spec: &TapSpec) -> Result<Tap, MachineError> {
        spec.check()?;
        let name = match &spec.name {
            TapName::Exact(name) => self.choose_name(Some(name))?,
            TapName::Free => self.first_free("tap"),
        };
        let (descriptor, far) = packet_pair().map_err(no_pair)?;
        self.tap_far_ends.push(far);
        self.seen.taps.push(spec.clone());
        self.last_index += 1;
        let offload = self.offload.filter(|_| spec.offload).unwrap_or(Offload::None);
        Ok(Tap { name, index: self.last_index, descriptor, offload })
    }

    fn open(&mut self, spec: &TunSpec) -> Result<Tun, MachineError> {
        if self.seen.tunnel.is_some() {
            return Err(MachineError::TunExists);
        }
        let name = self.choose_name(spec.name.as_deref())?;
        let mut queues = Vec::new();
        let mut far_ends = Vec::new();
        for _ in 0..spec.queues.max(1) {
            let (near, far) = packet_pair().map_err(no_pair)?;
            queues.push(near);
            far_ends.push(far);
        }
        self.last_index += 1;
        self.far_ends = far_ends;
        self.seen.tunnel = Some(Tunnel {
            spec: spec.clone(),
            name: name.clone(),
            index: self.last_index,
            routes: BTreeMap::new(),
            dns: false,
            damaged: false,
        });
        let granted = self.offload.filter(|_| spec.offload).unwrap_or(Offload::None);
        let footprint = Footprint::default();
        Ok(Tun { name, index: self.last_index, queues, offload: granted, footprint })
    }
}

fn no_pair(errno: nix::errno::Errno) -> MachineError {
    MachineError::of("make a pair of sockets", errno)
}

/// Two ends that keep messages apart, as a TUN does.
fn packet_pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    // Of the two kinds that do, Linux has one that also tells when the other end is closed.
    let kind = if cfg!(target_os = "linux") { SockType::SeqPacket } else { SockType::Datagram };
    let (near, far) = socketpair(AddressFamily::Unix, kind, None, SockFlag::empty())?;
    for end in [&near, &far] {
        use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok((near, far))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privileged::{Gone, RouteChange};
    use crate::soon::soon;
    use hypertap_wire::ethernet::MacAddress;
    use std::net::Ipv4Addr;

    fn spec() -> TunSpec {
        TunSpec {
            name: None,
            ipv4: Ipv4Addr::new(10, 0, 0, 1),
            ipv6: None,
            mtu: 1500,
            queues: 2,
            offload: true,
            bypass_mark: 0,
        }
    }

    #[tokio::test]
    async fn a_change_with_a_route_that_is_there_changes_nothing() {
        let machine = Memory::new();
        let mut half = machine.half();
        half.open_tun(&spec()).await.unwrap();
        let (one, two): (IpNet, IpNet) = ("10.1.0.0/16".parse().unwrap(), "10.2.0.0/16".parse().unwrap());
        let included = RouteKind::Included;
        half.change_routes(&RouteChange { remove: vec![], add: vec![(one, included)] }).await.unwrap();
        let before = machine.snapshot().tunnel;
        let change = RouteChange { remove: vec![], add: vec![(two, included), (one, included)] };
        half.change_routes(&change).await.unwrap_err();
        assert_eq!(machine.snapshot().tunnel, before);
        let change = RouteChange { remove: vec![(one, included)], add: vec![(one, RouteKind::Excluded)] };
        half.change_routes(&change).await.unwrap();
        let routes = machine.snapshot().tunnel.unwrap().routes;
        assert_eq!(routes, BTreeMap::from([(one, RouteKind::Excluded)]));
    }

    #[tokio::test]
    async fn each_queue_has_a_far_end_until_the_half_is_dropped() {
        let machine = Memory::new();
        machine.take_name("hypertap0");
        let mut half = machine.half();
        let tun = half.open_tun(&spec()).await.unwrap();
        assert_eq!((tun.name.as_str(), tun.queues.len()), ("hypertap1", 2));
        let far = machine.far_ends();
        nix::unistd::write(&far[1], b"packet").unwrap();
        let mut buffer = [0; 100];
        assert_eq!(nix::unistd::read(&tun.queues[1], &mut buffer), Ok(6));
        assert_eq!(nix::unistd::read(&tun.queues[0], &mut buffer), Err(nix::errno::Errno::EAGAIN));
        drop(half);
        assert_eq!(machine.snapshot().tunnel, None);
    }

    #[tokio::test]
    async fn a_tap_is_its_descriptors_and_not_the_halfs() {
        let machine = Memory::new();
        machine.take_name("tap0");
        machine.grant(Offload::TcpUdp);
        let mut half = machine.half();
        let spec = TapSpec {
            name: TapName::Free,
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            ipv4: None,
            ipv6: None,
            mtu: 1500,
            metric: 0,
            nud: true,
            accept_ra: false,
            offload: true,
        };
        let tap = half.open_tap(&spec).await.unwrap();
        assert_eq!((tap.name.as_str(), tap.offload), ("tap1", Offload::TcpUdp));
        let taken = TapSpec { name: TapName::Exact("tap0".to_owned()), ..spec.clone() };
        assert_eq!(half.open_tap(&taken).await.unwrap_err(), MachineError::NameTaken("tap0".to_owned()));
        drop(half);
        assert_eq!(machine.snapshot().taps, [spec]);
        let far = machine.tap_far_ends();
        let mut buffer = [0; 100];
        nix::unistd::write(&far[0], b"frame").unwrap();
        assert_eq!(nix::unistd::read(&tap.descriptor, &mut buffer), Ok(5));
        drop(tap);
        assert!(soon(|| nix::unistd::read(&far[0], &mut buffer) == Ok(0)));
    }

    #[tokio::test]
    async fn an_ended_half_says_so_for_ever() {
        let machine = Memory::new();
        let mut half = machine.half();
        machine.end();
        assert_eq!(half.gone().await, Gone::ForGood);
        assert_eq!(half.open_tun(&spec()).await.unwrap_err(), MachineError::HelperGone);
    }
}
