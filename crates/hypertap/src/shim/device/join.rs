//! Connecting an interface to its server, or to a tunnel, and giving that its address.
//!
//! What is decided at once is decided by the device; the rest is [`Work`], during which the file has the state
//! `Joining`, so that its name is taken. Who closes an interface and opens it again at once would find its old
//! place taken still, so the ends of those that were closed are waited for first.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hypertap_platform::shim::{Caller, Work};
use hypertap_wire::offload::Layer;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::{FIRST_INDEX, Joined, Settings, State, VirtualDevice, lock};
use crate::exit::Failure;
use crate::shim::header::Header;
use crate::shim::interface::{Addresses, Interface};
use crate::shim::link::{Link, TapLink, TunnelLink};
use crate::shim::name;
use crate::shim::pump::{Pump, Reconnect};
use crate::shim::request::{self, Ifreq};
use crate::shim::tunnel::ProgramTunnel;

/// How long an interface that the program has closed may keep its place.
const OLD_PLACE: Duration = Duration::from_secs(1);

/// What of the flags is told back.
const TOLD: u16 = request::IFF_TUN
    | request::IFF_TAP
    | request::IFF_NAPI
    | request::IFF_NAPI_FRAGS
    | request::IFF_NO_PI
    | request::IFF_ONE_QUEUE
    | request::IFF_VNET_HDR;

impl VirtualDevice {
    /// `TUNSETIFF`.
    pub(super) fn set_interface(&self, inode: u64, mut asked: Ifreq, argument: u64) -> io::Result<Work> {
        let mut shared = self.shared();
        shared.forget_closed();
        let taken: Vec<String> =
            shared.files.iter().filter_map(|file| file.name().map(str::to_owned)).collect();
        let next_index = shared.next_index;
        let Some(file) = shared.of_inode(inode) else {
            return Err(io::Error::from_raw_os_error(request::EBADFD));
        };
        if file.name().is_some() {
            return Err(Errno::EEXIST.into());
        }
        let flags = asked.flags();
        let layer = layer(flags)?;
        let wanted = asked.name().ok_or(Errno::EINVAL)?;
        let is_taken = |name: &str| taken.iter().any(|taken| taken == name);
        let name = name::resolve(wanted, layer, |name| is_taken(name) || if_nametoindex(name).is_ok())?;
        if is_taken(&name) {
            return Err(Errno::EBUSY.into());
        }
        if is_other_device(&name) {
            return Err(Errno::EINVAL.into());
        }
        let index = file.index.unwrap_or(next_index);
        let mac = self.settings.mac.unwrap_or_else(name::made_up_address);
        let interface = Interface::new(name, index, layer, mac, i32::from(self.settings.mtu));
        asked.set_name(&interface.name);
        file.state = State::Joining(interface.name.clone());
        let ours = Arc::clone(&file.ours);
        shared.next_index = next_index.checked_add(1).unwrap_or(FIRST_INDEX);
        let ending = shared.ending.clone();
        drop(shared);
        let (shared, settings) = (Arc::clone(&self.shared), self.settings.clone());
        Ok(Box::new(move |caller: &dyn Caller| {
            wait_for_old_places(&ending);
            let joined = join(&settings, ours, interface, flags);
            let mut shared = lock(&shared);
            // Closed meanwhile, it is none of the files, and the pump sees that, too.
            let Some(file) = shared.of_inode(inode) else {
                shared.ending.extend(joined.ok().map(|joined| joined.pump));
                return Err(io::Error::from_raw_os_error(request::EBADFD));
            };
            let (state, outcome) = match joined {
                Ok(joined) => (State::Joined(Box::new(joined)), Ok(0)),
                Err(error) => (State::Open, Err(error)),
            };
            file.state = state;
            drop(shared);
            let value = outcome?;
            caller.write(argument, &asked.0)?;
            Ok(value)
        }))
    }

    /// The program changed the addresses of a TUN: the tunnel starts, if it can, and takes them over.
    pub(super) fn readdress(&self, inode: u64, before: Addresses, argument: u64, asked: Ifreq) -> Work {
        let shared = Arc::clone(&self.shared);
        Box::new(move |caller: &dyn Caller| {
            let (pump, tunnel, interface, ending) = {
                let mut shared = lock(&shared);
                let ending = shared.ending.clone();
                let joined = shared.of_inode(inode).and_then(|file| Some(file.joined()?.1));
                let Some(Joined { pump, tunnel: Some(tunnel), interface, .. }) = joined else {
                    return Err(io::Error::from_raw_os_error(request::EBADFD));
                };
                (pump.clone(), tunnel.clone(), interface.clone(), ending)
            };
            wait_for_old_places(&ending);
            if let Err(errno) = readdressed(&pump, &tunnel, &interface) {
                if let Some((_, joined)) = lock(&shared).of_inode(inode).and_then(super::File::joined) {
                    joined.interface.addresses = before;
                }
                return Err(errno.into());
            }
            caller.write(argument, &asked.0)?;
            Ok(0)
        })
    }
}

/// Waits until those that the program has closed have given their places up.
fn wait_for_old_places(ending: &[Pump]) {
    let until = Instant::now() + OLD_PLACE;
    for pump in ending {
        pump.wait_for_end(until);
    }
}

/// What kind of interface flags ask for, where they can be met.
fn layer(flags: u16) -> io::Result<Layer> {
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
    let of_fragments = flags & request::IFF_NAPI_FRAGS != 0;
    if of_fragments && (flags & request::IFF_NAPI == 0 || layer == Layer::Network) {
        return Err(Errno::EINVAL.into());
    }
    Ok(layer)
}

/// Connects an interface. Where that fails, nothing is left of it.
fn join(settings: &Settings, ours: Arc<OwnedFd>, interface: Interface, flags: u16) -> io::Result<Joined> {
    let has = |flag| flags & flag != 0;
    let header = Header::new(interface.layer, !has(request::IFF_NO_PI), has(request::IFF_VNET_HDR));
    let joined = |interface, pump, tunnel| Joined {
        interface,
        flags: flags & TOLD,
        pump,
        send_buffer: i32::MAX,
        little_endian: false,
        tunnel,
    };
    if interface.layer == Layer::Link {
        let (server, mtu) = (settings.tap.clone(), settings.mtu.into());
        let place = server.place.clone();
        let link = TapLink::connect(&server, mtu).map_err(|error| {
            let text = "no tap server answers, so the program gets no TAP; start one with `hypertap tap \
                        --listen=PATH,framing=le16 --keep`, or name another with --tap";
            tracing::warn!(at = %place, %error, "{text}");
            Errno::ENODEV
        })?;
        let reconnect = settings.reconnect.then(|| -> Reconnect {
            Box::new(move || TapLink::connect(&server, mtu).map(|link| -> Arc<dyn Link> { link }))
        });
        let pump = Pump::start(&interface.name, ours, header, || {})?;
        pump.join(link, reconnect)?;
        tracing::info!(interface = interface.name, at = %place, "the program has a TAP");
        return Ok(joined(interface, pump, None));
    }
    let tunnel = ProgramTunnel::new(settings.tunnel.clone());
    let ended = tunnel.clone();
    let start_pump = |name: &str| Pump::start(name, ours, header, move || ended.stop());
    let Some(address) = tunnel.address() else {
        let pump = start_pump(&interface.name)?;
        let text =
            "the program has a TUN; its tunnel starts when it sets an address, or give one with --address";
        tracing::info!(interface = interface.name, "{text}");
        return Ok(joined(interface, pump, Some(tunnel)));
    };
    // Before the pump, which would throw packets away while there is no tunnel.
    let link = start(&tunnel, &interface, address).map_err(|()| Errno::ENODEV)?;
    let pump = start_pump(&interface.name).inspect_err(|_| tunnel.stop())?;
    pump.join(Arc::new(link), None).inspect_err(|_| tunnel.stop())?;
    let mut joined = joined(interface, pump, Some(tunnel));
    joined.interface.addresses.own = Some(address);
    Ok(joined)
}

/// Starts the tunnel. That it did not is said.
fn start(tunnel: &ProgramTunnel, interface: &Interface, address: Ipv4Addr) -> Result<TunnelLink, ()> {
    let name = &interface.name;
    let link = tunnel.start(name, address, interface.mtu, OLD_PLACE).map_err(|error| {
        let cause = Failure::from(error).sentence();
        tracing::warn!(interface = name, "the program gets no TUN: {cause}");
    })?;
    tracing::info!(interface = name, %address, "the program has a TUN");
    Ok(link)
}

fn readdressed(pump: &Pump, tunnel: &ProgramTunnel, interface: &Interface) -> Result<(), Errno> {
    let Some(own) = interface.addresses.own else { return Ok(()) };
    if pump.is_joined() {
        tunnel.note_address(&interface.name, own);
    } else {
        let link = start(tunnel, interface, own).map_err(|()| Errno::ENODEV)?;
        pump.join(Arc::new(link), None).map_err(|error| {
            tracing::warn!(interface = interface.name, %error, "the program gets no TUN");
            tunnel.stop();
            Errno::ENODEV
        })?;
    }
    if let Err(error) = tunnel.include(&interface.addresses) {
        let cause = Failure::from(error).sentence();
        tracing::warn!(interface = interface.name, "{cause}");
    }
    Ok(())
}

/// Whether the machine calls something so that is neither TUN nor TAP, as `lo` is.
fn is_other_device(name: &str) -> bool {
    let device = Path::new("/sys/class/net").join(name);
    device.exists() && !device.join("tun_flags").exists()
}
