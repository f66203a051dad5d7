//! The TUN device of the program: its descriptors, what it sets on them, and the interfaces that come of it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use hypertap_platform::shim::{Caller, Device, Ends, Reply, ends};
use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::offload::Layer;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::header::Header;
use super::interface::{Interface, only_asks};
use super::link::{Link, TapLink};
use super::name;
use super::pump::{Pump, Reconnect, is_closed};
use super::request::{self, Ifreq};
use super::tunnel::{ProgramTunnel, TunnelSettings};
use crate::cli::tap::Place;

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
    pub tap: Place,
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
    files: Vec<File>,
    next_index: i32,
    /// Dropped, with all its copies, when every packet of the program's is sent.
    alive: Option<SyncSender<()>>,
    all_sent: Receiver<()>,
}

/// What one open(2) made.
struct File {
    inode: u64,
    /// What the program set before it named an interface.
    index: Option<i32>,
    state: State,
}

enum State {
    /// There is no interface yet.
    Open(OwnedFd),
    Joined(Box<Joined>),
}

struct Joined {
    interface: Interface,
    flags: u16,
    pump: Pump,
    /// Of a TUN.
    tunnel: Option<ProgramTunnel>,
}

impl VirtualDevice {
    pub fn new(settings: Settings) -> Self {
        let (alive, all_sent) = mpsc::sync_channel(0);
        Self { settings, files: Vec::new(), next_index: FIRST_INDEX, alive: Some(alive), all_sent }
    }

    /// Forgets what nobody has open any more.
    fn forget_closed(&mut self) {
        self.files.retain(|file| {
            !is_closed(match &file.state {
                State::Open(ours) => ours,
                State::Joined(joined) => joined.pump.ours(),
            })
        });
    }

    fn joined(&mut self) -> impl Iterator<Item = &mut Joined> {
        self.files.iter_mut().filter_map(|file| match &mut file.state {
            State::Joined(joined) => Some(joined.as_mut()),
            State::Open(_) => None,
        })
    }

    /// A request for an interface, by name, or by number in one case.
    fn interface(&mut self, caller: &dyn Caller, request: u32, argument: u64) -> io::Result<Reply> {
        if self.files.is_empty() || request == request::SIOCGIFCONF {
            return Ok(Reply::Continue);
        }
        let mut asked = Ifreq([0; Ifreq::LEN]);
        if caller.read(argument, &mut asked.0).is_err() {
            // The kernel knows what to say.
            return Ok(Reply::Continue);
        }
        self.forget_closed();
        if request == request::SIOCGIFNAME {
            let index = asked.number();
            let Some(joined) = self.joined().find(|joined| joined.interface.index == index) else {
                return Ok(Reply::Continue);
            };
            asked.set_name(&joined.interface.name);
            caller.write(argument, &asked.0)?;
            return Ok(Reply::Value(0));
        }
        let Some(wanted) = asked.name() else { return Ok(Reply::Continue) };
        let Some(joined) = self.joined().find(|joined| joined.interface.name == wanted) else {
            return Ok(Reply::Continue);
        };
        if only_asks(request) && if_nametoindex(joined.interface.name.as_str()).is_ok() {
            return Ok(Reply::Continue);
        }
        let before = joined.interface.addresses;
        let reply = joined.interface.answer(request, &mut asked)?;
        if joined.interface.addresses != before {
            joined.readdressed();
        }
        caller.write(argument, &asked.0)?;
        Ok(reply)
    }

    /// `TUNSETIFF`.
    fn set_interface(&mut self, at: usize, asked: &mut Ifreq) -> io::Result<()> {
        let flags = asked.flags();
        let layer = match flags & (request::IFF_TUN | request::IFF_TAP) {
            request::IFF_TUN => Layer::Network,
            request::IFF_TAP => Layer::Link,
            _ => return Err(Errno::EINVAL.into()),
        };
        if flags & request::IFF_MULTI_QUEUE != 0 {
            let text = "the program asks for several queues (IFF_MULTI_QUEUE of TUNSETIFF), which the shim \
                        does not have: tell it to use one";
            tracing::warn!("{text}");
            return Err(Errno::EINVAL.into());
        }
        let wanted = asked.name().ok_or(Errno::EINVAL)?;
        let taken: Vec<_> = self.joined().map(|joined| joined.interface.name.clone()).collect();
        let is_taken = |name: &str| taken.iter().any(|taken| taken == name);
        let name = name::resolve(wanted, layer, |name| is_taken(name) || if_nametoindex(name).is_ok())?;
        if is_taken(&name) {
            return Err(Errno::EBUSY.into());
        }
        let index = self.files.get(at).and_then(|file| file.index);
        let index = index.unwrap_or(self.next_index);
        let mac = self.settings.mac.unwrap_or_else(name::made_up_address);
        let mtu = i32::from(self.settings.mtu);
        let interface = Interface::new(name, index, layer, mac, mtu);
        let joined = self.join(at, interface, flags)?;
        asked.set_name(&joined.interface.name);
        if let Some(file) = self.files.get_mut(at) {
            file.state = State::Joined(Box::new(joined));
        }
        self.next_index = self.next_index.checked_add(1).unwrap_or(FIRST_INDEX);
        Ok(())
    }

    /// Connects an interface.
    fn join(&self, at: usize, interface: Interface, flags: u16) -> io::Result<Joined> {
        let Some(State::Open(ours)) = self.files.get(at).map(|file| &file.state) else {
            return Err(Errno::EINVAL.into());
        };
        let alive = self.alive.clone().ok_or(Errno::ENODEV)?;
        let ours = ours.try_clone()?;
        let has = |flag| flags & flag != 0;
        let header = Header::new(interface.layer, !has(request::IFF_NO_PI), has(request::IFF_VNET_HDR));
        let flags = flags
            & (request::IFF_TUN
                | request::IFF_TAP
                | request::IFF_NO_PI
                | request::IFF_ONE_QUEUE
                | request::IFF_VNET_HDR);
        if interface.layer == Layer::Link {
            let place = &self.settings.tap;
            let link = TapLink::connect(place, self.settings.mtu.into()).map_err(|error| {
                let text = "no tap server answers, so the program gets no TAP; start one with `hypertap tap \
                            --listen=PATH,framing=le16 --keep`, or name another with --tap";
                tracing::warn!(at = %place, %error, "{text}");
                Errno::ENODEV
            })?;
            let pump = Pump::start(&interface.name, ours, header, alive, || {})?;
            let (again, mtu) = (place.clone(), self.settings.mtu.into());
            let reconnect = self.settings.reconnect.then(|| -> Reconnect {
                Box::new(move || TapLink::connect(&again, mtu).map(|link| -> Arc<dyn Link> { link }))
            });
            pump.join(link, reconnect)?;
            tracing::info!(interface = interface.name, at = %place, "the program has a TAP");
            return Ok(Joined { interface, flags, pump, tunnel: None });
        }
        let tunnel = ProgramTunnel::new(self.settings.tunnel.clone());
        let ended = tunnel.clone();
        let pump = Pump::start(&interface.name, ours, header, alive, move || ended.stop())?;
        let mut joined = Joined { interface, flags, pump, tunnel: Some(tunnel) };
        if let Some(address) = joined.tunnel.as_ref().and_then(ProgramTunnel::address) {
            joined.start(address).map_err(|()| Errno::ENODEV)?;
        } else {
            tracing::info!(
                interface = joined.interface.name,
                "the program has a TUN; its tunnel starts when it sets an address, or give one with --address"
            );
        }
        Ok(joined)
    }
}

impl Joined {
    /// Starts the tunnel. That it did not is said.
    fn start(&mut self, address: std::net::Ipv4Addr) -> Result<(), ()> {
        let Some(tunnel) = &self.tunnel else { return Ok(()) };
        let name = &self.interface.name;
        let complain = |error: &anyhow::Error| {
            tracing::warn!(interface = name, "the program gets no TUN: {error:#}");
        };
        let link = tunnel.start(name, address, self.interface.mtu).map_err(|error| complain(&error))?;
        self.pump.join(Arc::new(link), None).map_err(|error| complain(&error.into()))?;
        self.interface.addresses.own.get_or_insert(address);
        tracing::info!(interface = name, %address, "the program has a TUN");
        Ok(())
    }

    /// The program changed its addresses.
    fn readdressed(&mut self) {
        let Some(tunnel) = self.tunnel.clone() else { return };
        let Some(own) = self.interface.addresses.own else { return };
        if !self.pump.is_joined() {
            let _ = self.start(own);
        }
        if let Err(error) = tunnel.include(&self.interface.addresses) {
            tracing::warn!(interface = self.interface.name, "{error:#}");
        }
    }
}

impl Device for VirtualDevice {
    fn open(&mut self, nonblocking: bool) -> io::Result<OwnedFd> {
        self.forget_closed();
        if self.files.len() >= OPEN {
            tracing::warn!("the program has /dev/net/tun open {OPEN} times, which is the limit");
            return Err(Errno::EMFILE.into());
        }
        let Ends { ours, program, inode } = ends(nonblocking)?;
        self.files.push(File { inode, index: None, state: State::Open(ours) });
        Ok(program)
    }

    fn ioctl(&mut self, caller: &dyn Caller, request: u32, argument: u64) -> io::Result<Reply> {
        if !request::is_for_tun(request) {
            return self.interface(caller, request, argument);
        }
        let Some(inode) = caller.socket() else { return Ok(Reply::Continue) };
        let Some(at) = self.files.iter().position(|file| file.inode == inode) else {
            return Ok(Reply::Continue);
        };
        if request == request::TUNSETIFF {
            self.forget_closed();
            let Some(at) = self.files.iter().position(|file| file.inode == inode) else {
                return Err(io::Error::from_raw_os_error(request::EBADFD));
            };
            let mut asked = Ifreq([0; Ifreq::LEN]);
            caller.read(argument, &mut asked.0)?;
            self.set_interface(at, &mut asked)?;
            caller.write(argument, &asked.0)?;
            return Ok(Reply::Value(0));
        }
        match self.files.get_mut(at) {
            Some(file) => file.ioctl(caller, request, argument),
            None => Ok(Reply::Continue),
        }
    }
}

impl File {
    /// A request that is no `TUNSETIFF`.
    fn ioctl(&mut self, caller: &dyn Caller, request: u32, argument: u64) -> io::Result<Reply> {
        let done = Ok(Reply::Value(0));
        match request {
            request::TUNGETFEATURES => {
                let features = request::IFF_TUN
                    | request::IFF_TAP
                    | request::IFF_NO_PI
                    | request::IFF_ONE_QUEUE
                    | request::IFF_VNET_HDR;
                return set(caller, argument, i32::from(features));
            }
            request::TUNSETIFINDEX => {
                self.index = Some(number(caller, argument)?).filter(|index| *index > 0);
                return if self.index.is_some() { done } else { Err(Errno::EINVAL.into()) };
            }
            _ => {}
        }
        let State::Joined(joined) = &mut self.state else {
            return Err(io::Error::from_raw_os_error(request::EBADFD));
        };
        match request {
            request::TUNGETIFF => {
                let mut asked = Ifreq([0; Ifreq::LEN]);
                asked.set_name(&joined.interface.name);
                asked.set_flags(joined.flags);
                caller.write(argument, &asked.0)?;
                done
            }
            request::TUNSETPERSIST if argument != 0 => Err(refuse(request, Errno::EPERM)),
            request::TUNSETOFFLOAD if argument & !request::OFFLOADS != 0 => Err(Errno::EINVAL.into()),
            // What the program claims to take is not given to it; and whose an interface is that ends with
            // its program, nobody asks.
            request::TUNSETPERSIST
            | request::TUNSETOFFLOAD
            | request::TUNSETOWNER
            | request::TUNSETGROUP
            | request::TUNSETNOCSUM
            | request::TUNSETDEBUG
            | request::TUNSETTXFILTER
            | request::TUNSETCARRIER
            | request::TUNSETSNDBUF
            | request::TUNSETVNETLE => done,
            request::TUNGETSNDBUF => set(caller, argument, i32::MAX),
            request::TUNGETVNETHDRSZ => {
                let len = joined.pump.header().virtio();
                set(caller, argument, i32::try_from(len).unwrap_or(i32::MAX))
            }
            request::TUNSETVNETHDRSZ => {
                let len = usize::try_from(number(caller, argument)?).unwrap_or(0);
                if joined.pump.header().set_virtio(len) { done } else { Err(Errno::EINVAL.into()) }
            }
            request::TUNGETVNETLE => set(caller, argument, i32::from(cfg!(target_endian = "little"))),
            request::TUNGETVNETBE => set(caller, argument, i32::from(cfg!(target_endian = "big"))),
            _ => Err(refuse(request, Errno::EOPNOTSUPP)),
        }
    }
}

/// Says what is not done.
fn refuse(request: u32, errno: Errno) -> io::Error {
    let call = request::name(request);
    let why = match request {
        request::TUNSETPERSIST => ": an interface of the shim ends with its program",
        request::TUNSETQUEUE => ": an interface of the shim has one queue",
        _ => "",
    };
    tracing::warn!("{call} is not supported{why}");
    errno.into()
}

fn number(caller: &dyn Caller, address: u64) -> io::Result<i32> {
    let mut bytes = [0; 4];
    caller.read(address, &mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

fn set(caller: &dyn Caller, address: u64, number: i32) -> io::Result<Reply> {
    caller.write(address, &number.to_ne_bytes())?;
    Ok(Reply::Value(0))
}

/// The program has ended: what it wrote last is still sent.
impl Drop for VirtualDevice {
    fn drop(&mut self) {
        self.files.clear();
        self.alive = None;
        let _ = self.all_sent.recv_timeout(LAST_PACKETS);
    }
}
