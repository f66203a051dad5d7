//! Makes TAP interfaces.
//!
//! The way to an interface that is nobody else's is that of [`super::tun`]: made under a pattern, then
//! renamed. All that is put on it goes with it, and it goes with its descriptor, so nothing is written down.

use std::io;

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::netlink::{Netlink, is_absent};
use super::{links, rights, tun};
use crate::privileged::{MachineError, Tap, TapName, TapSpec};

/// The pattern of interfaces whose name nobody chose.
const FREE: &str = "tap%d";

/// Makes an interface with its addresses and settings, up: whole or not at all.
pub(crate) fn create(netlink: &mut Netlink, spec: &TapSpec) -> Result<Tap, MachineError> {
    spec.check()?;
    rights::probe_driver().map_err(MachineError::NoDriver)?;
    let device = build(spec).map_err(|error| MachineError::of("create a TAP interface", error))?;
    let offload = tun::offload_of(&device);
    let named = device.name().and_then(|name| Ok((name, device.if_index()?)));
    let (mut name, index) = named.map_err(|error| MachineError::of("find the TAP interface", error))?;
    if let TapName::Exact(wanted) = &spec.name {
        tun::name_exactly(netlink, index, &name, wanted)?;
        name.clone_from(wanted);
    }
    if let Err(error) = furnish(netlink, spec, &name, index) {
        // It goes by itself, but later where another thread's child has a copy of the descriptor for now.
        let _ = links::delete_tun(netlink, index, Some(&name));
        return Err(error);
    }
    Ok(Tap { name, index, descriptor: tun::into_owned(device), offload })
}

fn build(spec: &TapSpec) -> io::Result<SyncDevice> {
    let pattern = if spec.name == TapName::Free { FREE } else { tun::UNNAMED };
    let device = DeviceBuilder::new()
        .name(pattern)
        .layer(Layer::L2)
        .offload(spec.offload)
        .enable(false)
        .build_sync()?;
    tun::set_nonblocking(&device)?;
    Ok(device)
}

fn furnish(netlink: &mut Netlink, spec: &TapSpec, name: &str, index: u32) -> Result<(), MachineError> {
    let of = |doing: String| move |error: io::Error| MachineError::of(doing, error);
    // First, while IPv6 is there whatever the MTU will be.
    if spec.ipv6.is_some() || spec.accept_ra {
        links::allow_ipv6(name);
    }
    links::set_router_advertisements(name, spec.accept_ra)
        .map_err(of(format!("let {name} take router advertisements")))?;
    links::set_mac(netlink, index, spec.mac).map_err(of(format!("give {name} its MAC address")))?;
    links::set_mtu(netlink, index, spec.mtu).map_err(of(format!("set MTU {} on {name}", spec.mtu)))?;
    if !spec.nud {
        match links::forbid_unreachability_detection(netlink, index) {
            // Without IPv6 there is none.
            Err(error) if !is_absent(&error) => {
                let doing = format!("switch neighbour unreachability detection off on {name}");
                return Err(MachineError::of(doing, error));
            }
            _ => {}
        }
    }
    for (address, prefix) in spec.addresses() {
        links::add_connected(netlink, index, address, prefix, spec.metric)
            .map_err(of(format!("give {name} the address {address}/{prefix}")))?;
    }
    links::set_up(netlink, index).map_err(of(format!("set up interface {name}")))
}
