//! The routing socket's side of [`crate::monitor`] (route(4)). Never run.
//!
//! Whatever message comes, interfaces and default route are looked at anew, and the difference to the
//! last look is the events. So the order of messages does not matter, nor that some are dropped when
//! nobody reads. Only for the tunnel that is watched are messages read themselves: somebody else
//! removed a route through it, or an address of it. A default route that moved counts as well, for the
//! tunnel's excluded routes lead to the gateway that was.

use std::collections::{BTreeMap, VecDeque};
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
use crate::Footprint;
use crate::monitor::{DefaultRoute, LinkEvent};

/// The longest message: a header, and eight addresses of at most 255 bytes.
const MESSAGE_BYTES: usize = 4096;
/// `RTM_DELETE` (net/route.h).
const DELETE: u8 = 0x2;
/// `RTM_DELADDR` (net/route.h).
const DELETE_ADDRESS: u8 = 0xd;

/// Listens to what happens to links and default routes.
pub struct LinkMonitor {
    socket: AsyncFd<OwnedFd>,
    routes: RouteManager,
    links: BTreeMap<u32, Link>,
    default: Option<DefaultRoute>,
    /// Events that were found and not yet handed out; at most what one look brings.
    events: VecDeque<LinkEvent>,
    watched: Option<(u32, Footprint)>,
}

#[derive(Clone, PartialEq, Eq)]
struct Link {
    name: String,
    up: bool,
}

impl LinkMonitor {
    /// Starts listening. Links and default route as they are now are known when this returns, and make
    /// no events.
    ///
    /// # Errors
    /// What the kernel said to the routing socket.
    #[expect(clippy::unused_async, reason = "where the state comes over the socket, it is waited for")]
    pub async fn new() -> io::Result<Self> {
        let family = AddressFamily::Route;
        let socket = socket(family, SockType::Raw, SockFlag::empty(), None)?;
        ioctl_fioclex(&socket)?;
        ioctl_fionbio(&socket, true)?;
        // SAFETY: an `OwnedFd` keeps the one descriptor that it has until it is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        let mut monitor = Self {
            socket,
            routes: RouteManager::new()?,
            links: BTreeMap::new(),
            default: None,
            events: VecDeque::new(),
            watched: None,
        };
        monitor.look()?;
        monitor.events.clear();
        Ok(monitor)
    }

    /// The default route as it was at the last look.
    pub fn default_route(&self) -> Option<DefaultRoute> {
        self.default
    }

    /// From now on, tells when somebody else removes an address or included route of this tunnel (its
    /// link's index; the footprint's port is the process that changes its routes), and when its excluded
    /// routes must be moved. `None` ends that.
    pub fn watch(&mut self, tunnel: Option<(u32, Footprint)>) {
        self.watched = tunnel;
        self.events.retain(|event| *event != LinkEvent::Policy);
    }

    /// Waits for the next event. Cancel-safe: an event that was not returned comes next time.
    ///
    /// # Errors
    /// What the kernel said, other than that it dropped messages, which are then made up for.
    pub async fn next(&mut self) -> io::Result<LinkEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.drain().await?;
            self.look()?;
        }
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
        let damaged = match got {
            Ok(length) => {
                let message = message.get(..length).unwrap_or_default();
                self.watched.is_some_and(|(index, footprint)| is_damage(message, index, footprint.port))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => return Err(error),
        };
        if damaged {
            self.on_damage();
        }
        Ok(())
    }

    fn on_damage(&mut self) {
        if self.watched.is_some() && !self.events.contains(&LinkEvent::Policy) {
            self.events.push_back(LinkEvent::Policy);
        }
    }

    /// Compares the machine with the last look.
    fn look(&mut self) -> io::Result<()> {
        let now = links()?;
        for (&index, link) in &now {
            let before = self.links.get(&index);
            match (before.map(|before| before.up), link.up) {
                (Some(false) | None, true) => self.events.push_back(LinkEvent::Up { index }),
                (Some(true), false) => self.events.push_back(LinkEvent::Down { index }),
                _ => {}
            }
            if before.is_some_and(|before| before.name != link.name) {
                self.events.push_back(LinkEvent::Renamed { index, name: link.name.clone() });
            }
        }
        let gone = self.links.keys().filter(|index| !now.contains_key(index));
        self.events.extend(gone.map(|&index| LinkEvent::Deleted { index }));
        self.links = now;

        let list = self.routes.list()?;
        let way = default_route(&list, true, None).or_else(|| default_route(&list, false, None));
        let default = way.and_then(route_manager::Route::if_index).map(|index| DefaultRoute { index });
        if default != self.default {
            self.default = default;
            self.events.push_back(LinkEvent::DefaultRoute(default));
            self.on_damage();
        }
        Ok(())
    }
}

fn receive(socket: &OwnedFd, message: &mut [u8]) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    Ok(recv(socket.as_raw_fd(), message, MsgFlags::MSG_DONTWAIT)?)
}

/// The interfaces there are.
fn links() -> io::Result<BTreeMap<u32, Link>> {
    let mut links = BTreeMap::new();
    for address in getifaddrs()? {
        // One that went since is not there any more.
        let Ok(index) = if_nametoindex(address.interface_name.as_str()) else { continue };
        let up = address.flags.contains(InterfaceFlags::IFF_UP);
        links.insert(index, Link { name: address.interface_name, up });
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

impl std::fmt::Debug for LinkMonitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkMonitor").field("socket", &self.socket.get_ref()).finish_non_exhaustive()
    }
}
