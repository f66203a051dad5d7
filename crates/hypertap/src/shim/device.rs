//! The TUN device of the program: its descriptors, what it sets on them, and the interfaces that come of it.
//!
//! What takes time, connecting an interface and giving its tunnel an address, is done besides ([`join`]); the
//! device is shared with whoever does it, and nobody waits for anything while it is locked.

mod asked;
mod join;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hypertap_platform::process::effective_uid;
use hypertap_platform::shim::{Caller, Device, Ends, Reply, ends};
use hypertap_wire::ethernet::MacAddress;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::interface::{Interface, only_asks};
use super::link::TapServer;
use super::pump::{Pump, is_closed};
use super::request::{self, Ifreq};
use super::tunnel::{ProgramTunnel, TunnelSettings};

/// How many descriptors of the device may be open at once, copies not counted.
const OPEN: usize = 64;
/// The program's interfaces have numbers from here on, where the machine's are not.
const FIRST_INDEX: i32 = 0x4000_0000;
/// How long the last packets may take at the end.
const LAST_PACKETS: Duration = Duration::from_secs(2);

/// Where interfaces lead, and what they are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tap server of a TAP.
    pub tap: TapServer,
    /// The tunnel of a TUN.
    pub tunnel: TunnelSettings,
    /// Whether another tap server is looked for when the first has ended.
    pub reconnect: bool,
    /// A TAP's own address; else one made up.
    pub mac: Option<MacAddress>,
    pub mtu: u16,
}

/// The device, for one program with all that it starts.
pub struct VirtualDevice {
    settings: Settings,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    files: Vec<File>,
    /// Those of files that the program has closed, until they have ended.
    ending: Vec<Pump>,
    next_index: i32,
}

/// What one open(2) made.
struct File {
    inode: u64,
    /// The end that is ours.
    ours: Arc<OwnedFd>,
    /// What the program set before it named an interface.
    index: Option<i32>,
    state: State,
}

enum State {
    /// There is no interface yet.
    Open,
    /// One of that name is being connected.
    Joining(String),
    Joined(Box<Joined>),
}

struct Joined {
    interface: Interface,
    flags: u16,
    pump: Pump,
    /// What the program set and asks back: how much may wait in the socket, and whose byte order headers have.
    send_buffer: i32,
    little_endian: bool,
    /// Of a TUN.
    tunnel: Option<ProgramTunnel>,
}

impl VirtualDevice {
    pub fn new(settings: Settings) -> Self {
        let shared = Shared { files: Vec::new(), ending: Vec::new(), next_index: FIRST_INDEX };
        Self { settings, shared: Arc::new(Mutex::new(shared)) }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// A request for an interface: on the device's own descriptor, or by name, or by number in one case.
    fn interface(&self, caller: &dyn Caller, request: u32, argument: u64) -> io::Result<Reply> {
        let mut shared = self.shared();
        if shared.files.is_empty() || request == request::SIOCGIFCONF {
            return Ok(Reply::Continue);
        }
        let inode = caller.socket();
        if let Some(file) = shared.files.iter_mut().find(|file| Some(file.inode) == inode) {
            return file.hardware(caller, request, argument);
        }
        let mut asked = Ifreq([0; Ifreq::LEN]);
        if caller.read(argument, &mut asked.0).is_err() {
            // The kernel knows what to say.
            return Ok(Reply::Continue);
        }
        shared.forget_closed();
        shared.say_what_is_not_done(request, &asked);
        if request == request::SIOCGIFNAME {
            let index = asked.number();
            let Some(joined) = shared.joined().find(|joined| joined.interface.index == index) else {
                return Ok(Reply::Continue);
            };
            asked.set_name(&joined.interface.name);
            caller.write(argument, &asked.0)?;
            return Ok(Reply::Value(0));
        }
        let Some(wanted) = asked.name() else { return Ok(Reply::Continue) };
        let Some((inode, joined)) = shared.called(wanted) else { return Ok(Reply::Continue) };
        // It knows what to say of a descriptor that is none.
        if caller.socket().is_none() {
            return Ok(Reply::Continue);
        }
        if only_asks(request) && if_nametoindex(joined.interface.name.as_str()).is_ok() {
            return Ok(Reply::Continue);
        }
        if !only_asks(request) && caller.user()? != effective_uid() {
            return Err(Errno::EPERM.into());
        }
        let before = joined.interface.addresses;
        joined.interface.answer(request, &mut asked)?;
        let readdress = joined.interface.addresses != before && joined.tunnel.is_some();
        drop(shared);
        if readdress {
            return Ok(Reply::Later(self.readdress(inode, before, argument, asked)));
        }
        caller.write(argument, &asked.0)?;
        Ok(Reply::Value(0))
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Forgets what nobody has open any more.
    fn forget_closed(&mut self) {
        let (closed, open) =
            std::mem::take(&mut self.files).into_iter().partition(|file| is_closed(&file.ours));
        self.files = open;
        let closed: Vec<File> = closed;
        let pumps = closed.into_iter().filter_map(|file| match file.state {
            State::Joined(joined) => Some(joined.pump),
            State::Open | State::Joining(_) => None,
        });
        self.ending.extend(pumps);
        self.ending.retain(|pump| !pump.has_ended());
    }

    fn joined(&mut self) -> impl Iterator<Item = &mut Joined> {
        self.files.iter_mut().filter_map(|file| Some(file.joined()?.1))
    }

    /// The interface of that name, and its file's inode.
    fn called(&mut self, name: &str) -> Option<(u64, &mut Joined)> {
        let mut joined = self.files.iter_mut().filter_map(File::joined);
        joined.find(|(_, joined)| joined.interface.name == name)
    }

    fn of_inode(&mut self, inode: u64) -> Option<&mut File> {
        self.files.iter_mut().find(|file| file.inode == inode)
    }

    /// Requests that the kernel answers, though they may be about an interface of ours.
    fn say_what_is_not_done(&mut self, request: u32, asked: &Ifreq) {
        static ROUTE: AtomicBool = AtomicBool::new(false);
        static IPV6: AtomicBool = AtomicBool::new(false);
        let is_ours = |index: i32, joined: &Joined| {
            let name = joined.interface.name.as_str();
            joined.interface.index == index
                || if_nametoindex(name).is_ok_and(|machines| i64::from(machines) == i64::from(index))
        };
        let (said, text) = match request {
            request::SIOCADDRT | request::SIOCDELRT if self.joined().next().is_some() => {
                let text =
                    "changes a route, which the shim does not do: give the tunnel its routes by --route";
                (&ROUTE, text)
            }
            request::SIOCSIFADDR | request::SIOCDIFADDR
                if self.joined().any(|joined| is_ours(asked.index_of_ipv6(), joined)) =>
            {
                (&IPV6, "changes an IPv6 address of its interface, which the shim does not do")
            }
            _ => return,
        };
        if !said.swap(true, Ordering::Relaxed) {
            tracing::warn!("the program {text}");
        }
    }
}

impl File {
    /// Its interface, and its inode.
    fn joined(&mut self) -> Option<(u64, &mut Joined)> {
        match &mut self.state {
            State::Joined(joined) => Some((self.inode, joined)),
            State::Open | State::Joining(_) => None,
        }
    }

    /// What an interface is called that is there, or will be.
    fn name(&self) -> Option<&str> {
        match &self.state {
            State::Open => None,
            State::Joining(name) => Some(name),
            State::Joined(joined) => Some(&joined.interface.name),
        }
    }
}

impl Device for VirtualDevice {
    fn open(&mut self, caller: &dyn Caller, nonblocking: bool) -> io::Result<Option<OwnedFd>> {
        // One that gave up our rights, as a daemon does, is not to have them back by us.
        if caller.user()? != effective_uid() {
            tracing::debug!("another user opens /dev/net/tun; that is for the kernel to answer");
            return Ok(None);
        }
        let mut shared = self.shared();
        shared.forget_closed();
        if shared.files.len() >= OPEN {
            tracing::warn!("the program has /dev/net/tun open {OPEN} times, which is the limit");
            return Err(Errno::EMFILE.into());
        }
        let Ends { ours, program, inode } = ends(nonblocking)?;
        shared.files.push(File { inode, ours: Arc::new(ours), index: None, state: State::Open });
        Ok(Some(program))
    }

    fn ioctl(&mut self, caller: &dyn Caller, request: u32, argument: u64) -> io::Result<Reply> {
        if !request::is_for_tun(request) {
            return self.interface(caller, request, argument);
        }
        let Some(inode) = caller.socket() else { return Ok(Reply::Continue) };
        let mut shared = self.shared();
        let Some(file) = shared.of_inode(inode) else { return Ok(Reply::Continue) };
        if request != request::TUNSETIFF {
            return file.ioctl(caller, request, argument);
        }
        drop(shared);
        if caller.user()? != effective_uid() {
            return Err(Errno::EPERM.into());
        }
        let mut asked = Ifreq([0; Ifreq::LEN]);
        caller.read(argument, &mut asked.0)?;
        Ok(Reply::Later(self.set_interface(inode, asked, argument)?))
    }

    fn write_nothing(&mut self, caller: &dyn Caller) -> io::Result<Reply> {
        let mut shared = self.shared();
        if shared.files.is_empty() {
            return Ok(Reply::Continue);
        }
        let inode = caller.socket();
        match shared.files.iter_mut().find(|file| Some(file.inode) == inode) {
            Some(file) => Err(file.write_nothing()),
            None => Ok(Reply::Continue),
        }
    }
}

/// The program has ended: what it wrote last is still sent.
impl Drop for VirtualDevice {
    fn drop(&mut self) {
        let until = Instant::now() + LAST_PACKETS;
        let pumps: Vec<Pump> = {
            let mut shared = self.shared();
            let pumps: Vec<_> = shared.joined().map(|joined| joined.pump.clone()).collect();
            pumps.into_iter().chain(shared.ending.drain(..)).collect()
        };
        for pump in pumps {
            pump.wait_for_end(until);
        }
    }
}

#[cfg(test)]
mod tests;
