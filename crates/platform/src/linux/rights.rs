//! Trying out the two things that a tunnel needs.

use std::fs::OpenOptions;
use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::Errno;
use crate::rights::Driver;

/// Whether `/dev/net/tun` opens. Opening it makes nothing.
pub fn driver() -> Driver {
    match OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => Driver::Ready,
        Err(error) => match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Driver::Refused(Errno::from(error)),
            _ => Driver::Missing(Errno::from(error)),
        },
    }
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
