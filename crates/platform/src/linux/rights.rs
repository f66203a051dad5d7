//! Trying out the two things that a tunnel needs.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::stat::{major, minor};

use crate::Errno;
use crate::rights::Driver;

const DRIVER: &str = "/dev/net/tun";
/// The driver's number (`MISC_MAJOR` and `TUN_MINOR` of the kernel).
const NUMBER: (u64, u64) = (10, 200);

/// Whether `/dev/net/tun` is the TUN driver and opens. Opening it makes nothing.
pub fn driver() -> Driver {
    match probe_driver() {
        Ok(()) => Driver::Ready,
        Err(errno) if matches!(errno.0, libc::EACCES | libc::EPERM) => Driver::Refused(errno),
        Err(errno) => Driver::Missing(errno),
    }
}

/// The same, with the kernel's word against it: `ENODEV` where something else has the driver's name.
pub(crate) fn probe_driver() -> Result<(), Errno> {
    probe(Path::new(DRIVER))
}

fn probe(path: &Path) -> Result<(), Errno> {
    let number = |error: io::Error| Errno(error.raw_os_error().unwrap_or(libc::EIO));
    // Asked first: whatever else is there might do something on being opened.
    let found = path.metadata().map_err(number)?;
    if !found.file_type().is_char_device() || (major(found.rdev()), minor(found.rdev())) != NUMBER {
        return Err(Errno(libc::ENODEV));
    }
    OpenOptions::new().read(true).write(true).open(path).map(drop).map_err(number)
}

/// Whether the kernel lets us change the network: asks it to change a link without naming one, which
/// it refuses for the missing right first, and for the missing name only then.
pub fn net_admin() -> bool {
    try_change().is_ok_and(|errno| errno != libc::EPERM && errno != libc::EACCES)
}

/// The errno that the kernel answered with.
fn try_change() -> io::Result<i32> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = Vec::with_capacity(32);
    request.extend(32_u32.to_ne_bytes());
    request.extend(libc::RTM_SETLINK.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    // Sequence and port, then a struct ifinfomsg without family, index, flags and mask.
    request.extend([0; 24]);
    socket.send(&request, 0)?;
    // The kernel answers within the send call.
    let mut reply = Vec::with_capacity(1024);
    socket.recv(&mut reply, libc::MSG_DONTWAIT)?;
    let reply = NetlinkBuffer::new_checked(reply.as_slice())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match reply.payload().first_chunk() {
        Some(code) if reply.message_type() == NLMSG_ERROR => Ok(i32::from_ne_bytes(*code).wrapping_neg()),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_driver_itself_is_the_driver() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert_eq!(probe(file.path()), Err(Errno(libc::ENODEV)));
        for other in ["/dev/null", "/dev", "/proc/self/exe"] {
            assert_eq!(probe(Path::new(other)), Err(Errno(libc::ENODEV)), "{other}");
        }
        assert_eq!(probe(Path::new("/dev/none")), Err(Errno(libc::ENOENT)));
    }
}
