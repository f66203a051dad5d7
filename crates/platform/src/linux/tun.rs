//! Makes TUN interfaces.
//!
//! `TUNSETIFF` with the name of an interface that is there attaches to it when it can, and a name
//! can be taken between looking and asking. A name with `%d` in it cannot: the kernel itself puts
//! the first free number there. So an interface is always made under such a pattern, and then
//! renamed where its name was given, which fails when that name is taken.

use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};

use hypertap_wire::command::is_interface_name;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::netlink::Netlink;
use super::{links, rights};
use crate::privileged::{Errno, Footprint, MachineError, Offload, Tun, TunSpec};

/// The pattern of interfaces whose name nobody chose.
const FREE: &str = "hypertap%d";
/// The pattern of interfaces that are about to get their name.
pub(super) const UNNAMED: &str = "hypertap-new%d";

/// Makes an interface, which is down and has no address, rule or route. It goes when its descriptors do.
pub(crate) fn create(netlink: &mut Netlink, spec: &TunSpec) -> Result<Tun, MachineError> {
    if let Some(name) = spec.name.as_deref().filter(|name| !is_interface_name(name)) {
        return Err(MachineError::BadName(name.to_owned()));
    }
    rights::probe_driver().map_err(MachineError::NoDriver)?;
    let devices = build(spec).map_err(|error| not_made(spec, error))?;
    let first = devices.first().expect("build makes at least one");
    let offload = offload_of(first);
    let named = first.name().and_then(|name| Ok((name, first.if_index()?)));
    let (mut name, index) = named.map_err(|error| MachineError::of("find the TUN interface", error))?;
    if let Some(wanted) = &spec.name {
        name_exactly(netlink, index, &name, wanted)?;
        name.clone_from(wanted);
    }
    let queues = devices.into_iter().map(into_owned).collect();
    Ok(Tun { name, index, queues, offload, footprint: Footprint::default() })
}

/// Gives an interface that was made as `name` the one that was wanted, or removes it.
pub(super) fn name_exactly(
    netlink: &mut Netlink,
    index: u32,
    name: &str,
    wanted: &str,
) -> Result<(), MachineError> {
    links::rename(netlink, index, wanted).map_err(|error| {
        // It goes by itself, but later where another thread's child has a copy of the descriptor for now.
        let _ = links::delete_tun(netlink, index, Some(name));
        match error.raw_os_error() {
            Some(libc::EEXIST) => MachineError::NameTaken(wanted.to_owned()),
            // A later kernel's rule.
            Some(libc::EINVAL) => MachineError::BadName(wanted.to_owned()),
            _ => MachineError::of(format!("name the interface {wanted}"), error),
        }
    })
}

/// The error of a kernel that would not make an interface. What was asked for beyond the plain one is
/// named, as a kernel that has none of it says no more than that the argument is invalid.
fn not_made(spec: &TunSpec, error: io::Error) -> MachineError {
    let doing = "create a TUN interface";
    let remedies = [
        (spec.queues > 1, "--queues 1"),
        (spec.offload, "--no-offload (with the data plane fd: no \"offload\" in start)"),
    ];
    let remedies: Vec<&str> =
        remedies.into_iter().filter_map(|(asked, remedy)| asked.then_some(remedy)).collect();
    let refused = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOTTY));
    if !refused || remedies.is_empty() {
        return MachineError::of(doing, error);
    }
    let errno = Errno(error.raw_os_error().unwrap_or_default());
    let reason = format!("{errno} (this kernel may lack what was asked for: try {})", remedies.join(", or "));
    MachineError::Failed { doing: doing.to_owned(), reason }
}

fn build(spec: &TunSpec) -> io::Result<Vec<SyncDevice>> {
    let pattern = if spec.name.is_some() { UNNAMED } else { FREE };
    let first = DeviceBuilder::new()
        .name(pattern)
        .offload(spec.offload)
        .multi_queue(spec.queues > 1)
        .enable(false)
        .build_sync()?;
    let mut devices = Vec::with_capacity(spec.queues.max(1).into());
    for _ in 1..spec.queues {
        devices.push(first.try_clone()?);
    }
    devices.insert(0, first);
    devices.iter().try_for_each(set_nonblocking)?;
    Ok(devices)
}

pub(super) fn set_nonblocking(device: &SyncDevice) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(device.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(device.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

pub(super) fn offload_of(device: &SyncDevice) -> Offload {
    match (device.tcp_gso(), device.udp_gso()) {
        (true, true) => Offload::TcpUdp,
        (true, false) => Offload::Tcp,
        (false, _) => Offload::None,
    }
}

pub(super) fn into_owned(device: SyncDevice) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives the descriptor up, so this is its only owner.
    unsafe { OwnedFd::from_raw_fd(device.into_raw_fd()) }
}
