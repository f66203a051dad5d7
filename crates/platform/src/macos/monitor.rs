//! The routing socket's side of [`crate::monitor`] (route(4)). Never run.
//!
//! Whatever message comes, interfaces and default route are looked at anew, and the difference to the
//! last look is the events. So the order of messages does not matter, nor that some are dropped when
//! nobody reads. Only for the tunnel that is watched are messages read themselves: somebody else
//! removed a route through it, or an address of it. A default route that moved counts as well, for the
//! tunnel's excluded routes lead to the gateway that was.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socket};
use route_manager::RouteManager;
use rustix::io::{ioctl_fioclex, ioctl_fionbio};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::routes::default_route;
use crate::monitor::{DefaultRoute, Known};

/// The longest message: a header, and eight addresses of at most 255 bytes.
const MESSAGE_BYTES: usize = 4096;
/// `RTM_DELETE` (net/route.h).
const DELETE: u8 = 0x2;
/// `RTM_DELADDR` (net/route.h).
const DELETE_ADDRESS: u8 = 0xd;

/// Hears the messages.
pub(crate) struct Source {
    pub(crate) known: Known,
    socket: AsyncFd<OwnedFd>,
    routes: RouteManager,
}

impl Source {
    /// Starts listening, and looks how things are now.
    #[expect(clippy::unused_async, reason = "where the state comes over the socket, it is waited for")]
    pub(crate) async fn open() -> io::Result<Self> {
        let family = AddressFamily::Route;
        let socket = socket(family, SockType::Raw, SockFlag::empty(), None)?;
        ioctl_fioclex(&socket)?;
        ioctl_fionbio(&socket, true)?;
        // SAFETY: an `OwnedFd` keeps the one descriptor that it has until it is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        let mut source = Self { known: Known::default(), socket, routes: RouteManager::new()? };
        source.look()?;
        Ok(source)
    }

    /// Waits for messages, and looks anew. Cancel-safe.
    pub(crate) async fn step(&mut self) -> io::Result<()> {
        self.drain().await?;
        self.look()
    }

    /// Waits for a message, and reads all that are there.
    async fn drain(&mut self) -> io::Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        let mut heard = false;
        loop {
            if heard {
                match receive(self.socket.get_ref(), &mut message) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    got => self.take(got, &message)?,
                }
                continue;
            }
            let mut ready = self.socket.readable().await?;
            if let Ok(got) = ready.try_io(|socket| receive(socket.get_ref(), &mut message)) {
                heard = true;
                self.take(got, &message)?;
            }
        }
    }

    fn take(&mut self, got: io::Result<usize>, message: &[u8]) -> io::Result<()> {
        match got {
            Ok(length) => {
                let message = message.get(..length).unwrap_or_default();
                self.known.on_removal(|index, footprint| is_damage(message, index, footprint.port));
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.known.on_removal(|_, _| true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells what the machine is like now.
    fn look(&mut self) -> io::Result<()> {
        let now = links()?;
        self.known.on_all_links(|index| now.contains_key(&index));
        for (index, (name, up)) in now {
            self.known.on_link(index, name, up);
        }
        let list = self.routes.list()?;
        let way = default_route(&list, true, None).or_else(|| default_route(&list, false, None));
        let default = way.and_then(route_manager::Route::if_index).map(|index| DefaultRoute { index });
        if self.known.on_default_route(default) {
            self.known.on_removal(|_, _| true);
        }
        Ok(())
    }
}

fn receive(socket: &OwnedFd, message: &mut [u8]) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    Ok(recv(socket.as_raw_fd(), message, MsgFlags::MSG_DONTWAIT)?)
}

/// The interfaces there are, by index: name, and whether it is set up.
fn links() -> io::Result<BTreeMap<u32, (String, bool)>> {
    let mut links = BTreeMap::new();
    for address in getifaddrs()? {
        // One that went since is not there any more.
        let Ok(index) = if_nametoindex(address.interface_name.as_str()) else { continue };
        let up = address.flags.contains(InterfaceFlags::IFF_UP);
        links.insert(index, (address.interface_name, up));
    }
    Ok(links)
}

/// Whether a message says that somebody other than the process `ours` took a route or an address from
/// the interface `index`. Every message begins with its length, a version and its kind; a route's
/// (`struct rt_msghdr`) has the interface at byte 4, the process at 16 and an errno at 24; an address's
/// (`struct ifa_msghdr`) has the interface at byte 12.
fn is_damage(message: &[u8], index: u32, ours: u32) -> bool {
    let short = |at: usize| {
        let bytes = message.get(at..)?.first_chunk()?;
        Some(u32::from(u16::from_ne_bytes(*bytes)))
    };
    let long = |at: usize| message.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    match message.get(3) {
        Some(&DELETE) => short(4) == Some(index) && long(16) != Some(ours) && long(24) == Some(0),
        Some(&DELETE_ADDRESS) => short(12) == Some(index),
        _ => false,
    }
}
