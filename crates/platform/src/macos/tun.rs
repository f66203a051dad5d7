//! Makes utuns. Never run.
//!
//! The kernel names them: `utun0`, `utun1` and so on. A given name chooses the number; without one the
//! first free is taken, so an interface is not called `hypertapN` here.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::privileged::{Errno, MachineError, TunSpec};

/// A utun that is up. It goes when this, and every descriptor of [`Device::queue`], is closed.
pub(crate) struct Device {
    utun: SyncDevice,
    pub(crate) name: String,
    pub(crate) index: u32,
}

/// The addresses that an interface is given.
fn addresses(spec: &TunSpec) -> impl Iterator<Item = IpAddr> {
    [Some(IpAddr::V4(spec.ipv4)), spec.ipv6.map(IpAddr::V6)].into_iter().flatten()
}

impl Device {
    /// Makes an interface with its addresses and MTU, up. Where that fails half-way, it is gone again.
    pub(crate) fn create(spec: &TunSpec) -> Result<Self, MachineError> {
        if let Some(name) = spec.name.as_deref().filter(|name| !is_name(name)) {
            let doing = format!("call a TUN interface {name:?}: macOS calls them utun0, utun1 and so on");
            return Err(MachineError::Kernel { doing, errno: Errno(libc::EINVAL) });
        }
        let device =
            build(spec.name.as_deref()).map_err(|error| match (error.raw_os_error(), &spec.name) {
                (Some(libc::EBUSY), Some(name)) => MachineError::NameTaken(name.clone()),
                _ => MachineError::of("create a utun interface", error),
            })?;
        let named = device.name().and_then(|name| Ok((name, device.if_index()?)));
        let (name, index) = named.map_err(|error| MachineError::of("find the utun interface", error))?;
        let made = Self { utun: device, name, index };
        let mtu = u16::try_from(spec.mtu).unwrap_or(u16::MAX);
        made.utun
            .set_mtu(mtu)
            .map_err(|error| MachineError::of(format!("set MTU {mtu} on {}", made.name), error))?;
        for address in addresses(spec) {
            made.add(address)?;
        }
        made.utun
            .enabled(true)
            .map_err(|error| MachineError::of(format!("set up interface {}", made.name), error))?;
        Ok(made)
    }

    /// Puts back those of the addresses that the interface lacks, and says how many those were.
    pub(crate) fn restore_addresses(&self, spec: &TunSpec) -> Result<usize, MachineError> {
        let there = self.utun.addresses();
        let there =
            there.map_err(|error| MachineError::of(format!("list the addresses of {}", self.name), error))?;
        let mut added = 0;
        for address in addresses(spec).filter(|address| !there.contains(address)) {
            self.add(address)?;
            added += 1;
        }
        Ok(added)
    }

    fn add(&self, address: IpAddr) -> Result<(), MachineError> {
        let added = match address {
            IpAddr::V4(address) => self.utun.add_address_v4(address, 32),
            IpAddr::V6(address) => self.utun.add_address_v6(address, 128),
        };
        added.map_err(|error| MachineError::of(format!("give {} the address {address}", self.name), error))
    }

    /// The interface's one queue, not blocking.
    pub(crate) fn queue(&self) -> io::Result<OwnedFd> {
        let queue = self.utun.as_fd().try_clone_to_owned()?;
        let flags = OFlag::from_bits_retain(fcntl(&queue, FcntlArg::F_GETFL)?);
        fcntl(&queue, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(queue)
    }

    /// Sets the interface down: it stays until the data plane has closed its descriptors too.
    pub(crate) fn set_down(&self) -> io::Result<()> {
        self.utun.enabled(false)
    }
}

fn build(name: Option<&str>) -> io::Result<SyncDevice> {
    // Its routes are ours to add.
    let builder = DeviceBuilder::new().enable(false).associate_route(false);
    match name {
        Some(name) => builder.name(name).build_sync(),
        None => builder.build_sync(),
    }
}

/// Whether it is `utun` and a number as the kernel writes it.
fn is_name(name: &str) -> bool {
    let Some(digits) = name.strip_prefix("utun") else { return false };
    digits.parse::<u16>().is_ok_and(|number| number.to_string() == digits)
}
