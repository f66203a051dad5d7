//! Makes TAPs of feths, macOS's pairs of Ethernet interfaces with a cable between. Never run.
//!
//! One of a pair is the interface; the frames that go over the cable are read from the other by BPF and
//! written to it through an `AF_NDRV` socket. These are two descriptors, and a feth does not go with them. So
//! what is handed out is one end of a pair of sockets, a frame a message; a thread carries frames between the
//! other end and the feth, and when the first end is closed, it removes the interfaces. They go with the
//! process that made them too, a helper included, but stay when that is killed.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::socket::{message_pair, set_buffers};
use crate::privileged::{self, MachineError, Offload, Tap, TapName, TapSpec};
use crate::queue::is_passing;

/// The longest frame, in bytes.
const MAX_FRAME: usize = 1 << 16;
/// Of the sockets between queue and thread, in bytes.
const BUFFER: usize = 1 << 20;
/// So many frames go one way before the other is looked at.
const TURN: usize = 64;
/// The other end of a pair of datagram sockets wakes nobody when it is closed, so it is looked at so often,
/// in milliseconds.
const LOOK: u16 = 1000;

/// Makes an interface with its addresses and settings, up. Where that fails half-way, it is gone again.
pub(crate) fn create(spec: &TapSpec) -> Result<Tap, MachineError> {
    spec.check()?;
    if spec.accept_ra {
        let doing =
            "take router advertisements on a feth (`ipconfig set fethN AUTOMATIC-V6` does)".to_owned();
        return Err(MachineError::Kernel { doing, errno: privileged::Errno(libc::ENOTSUP) });
    }
    let device = build(spec)?;
    let named = device.name().and_then(|name| Ok((name, device.if_index()?)));
    let (name, index) = named.map_err(|error| MachineError::of("find the feth interface", error))?;
    furnish(&device, spec, &name)?;
    let descriptor = start(device).map_err(|error| MachineError::of(format!("open {name}"), error))?;
    Ok(Tap { name, index, descriptor, offload: Offload::None })
}

fn build(spec: &TapSpec) -> Result<SyncDevice, MachineError> {
    let builder = DeviceBuilder::new()
        .layer(Layer::L2)
        .mac_addr(spec.mac.0)
        .reuse_dev(false)
        .persist(false)
        .enable(false);
    let builder = match &spec.name {
        TapName::Free => builder,
        TapName::Exact(name) if is_name(name) => builder.name(name),
        TapName::Exact(name) => {
            let doing = format!("call an interface {name:?}: macOS calls them feth0, feth1 and so on");
            return Err(MachineError::Kernel { doing, errno: privileged::Errno(libc::EINVAL) });
        }
    };
    builder.build_sync().map_err(|error| match (error.raw_os_error(), &spec.name) {
        (Some(libc::EEXIST), TapName::Exact(name)) => MachineError::NameTaken(name.clone()),
        _ => MachineError::of("create a pair of feth interfaces", error),
    })
}

fn furnish(device: &SyncDevice, spec: &TapSpec, name: &str) -> Result<(), MachineError> {
    let mtu = u16::try_from(spec.mtu).unwrap_or(u16::MAX);
    device.set_mtu(mtu).map_err(|error| MachineError::of(format!("set MTU {mtu} on {name}"), error))?;
    if spec.metric != 0 {
        ifconfig(&[name, "metric", &spec.metric.to_string()])?;
    }
    if !spec.nud {
        ifconfig(&[name, "inet6", "-nud"])?;
    }
    let of =
        |address: String| move |error| MachineError::of(format!("give {name} the address {address}"), error);
    if let Some((address, prefix)) = spec.ipv4 {
        device.add_address_v4(address, prefix).map_err(of(address.to_string()))?;
    }
    if let Some((address, prefix)) = spec.ipv6 {
        device.add_address_v6(address, prefix).map_err(of(address.to_string()))?;
    }
    device.enabled(true).map_err(|error| MachineError::of(format!("set up interface {name}"), error))
}

/// What only ifconfig(8) knows how to set.
fn ifconfig(arguments: &[&str]) -> Result<(), MachineError> {
    let doing = || format!("run ifconfig {}", arguments.join(" "));
    let output = Command::new("/sbin/ifconfig").args(arguments).output();
    let output = output.map_err(|error| MachineError::of(doing(), error))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(MachineError::Failed { doing: doing(), reason })
}

/// Starts the thread that carries frames. Returns the end that it carries them to.
fn start(device: SyncDevice) -> io::Result<OwnedFd> {
    device.set_nonblocking(true)?;
    let (ours, theirs) = message_pair()?;
    set_buffers(&ours, BUFFER);
    set_buffers(&theirs, BUFFER);
    let ours = File::from(ours);
    // It ends when the other end is closed, and the interfaces with it.
    thread::Builder::new().name("feth".to_owned()).spawn(move || {
        if let Err(error) = carry(&device, &ours) {
            tracing::debug!(%error, "a TAP has ended");
        }
    })?;
    Ok(theirs)
}

/// Carries frames both ways until either end is gone. What finds no room is lost, as on a cable.
fn carry(feth: &SyncDevice, program: &File) -> io::Result<()> {
    let mut frame = vec![0; MAX_FRAME];
    loop {
        let ends = [feth.as_fd(), program.as_fd()];
        match poll(&mut ends.map(|end| PollFd::new(end, PollFlags::POLLIN)), PollTimeout::from(LOOK)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        for _ in 0..TURN {
            let Some(len) = received(feth.recv(&mut frame))? else { break };
            sent({ program }.write(&frame[..len]))?;
        }
        for _ in 0..TURN {
            let Some(len) = received({ program }.read(&mut frame))? else { break };
            sent(feth.send(&frame[..len]))?;
        }
    }
}

/// The length of what came, if anything did.
fn received(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(len) => Ok(Some(len)),
        Err(error) if is_passing(&error) || error.kind() == ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// Only an end that is gone ends the carrying; a frame that is refused is lost.
fn sent(result: io::Result<usize>) -> io::Result<()> {
    match result.as_ref().err().and_then(io::Error::raw_os_error).map(Errno::from_raw) {
        Some(errno) if super::queue::is_gone(errno) => result.map(drop),
        _ => Ok(()),
    }
}

/// Whether it is `feth` and a number as the kernel writes it.
fn is_name(name: &str) -> bool {
    let Some(digits) = name.strip_prefix("feth") else { return false };
    digits.parse::<u16>().is_ok_and(|number| number.to_string() == digits)
}
