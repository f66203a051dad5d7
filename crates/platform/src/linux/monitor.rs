//! The rtnetlink side of [`crate::monitor`].
//!
//! One socket carries the announcements and our own dumps, so the order between them is the
//! kernel's. Messages are read by header and by the few attributes that matter: an attribute that a
//! newer kernel adds cannot make an announcement unreadable.
//!
//! The kernel announces no removal of the IPv4 routes that a link takes with it when it goes down,
//! so every link event asks for the default routes again, not only route events.

mod dump;
mod filter;

use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{
    NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use self::dump::{Dump, Subject, Wanted};
use super::announcement::{LinkMessage, Route, address_link, number, rule_priority};
use super::rules::{priorities_of, tables_of};
use crate::Footprint;
use crate::monitor::Known;

/// The groups that announce links, and the addresses, routes and rules of both families
/// (linux/rtnetlink.h).
const GROUPS: [u32; 7] = [1, 5, 9, 7, 11, 8, 19];
/// The kernel's dump buffers have at most 32 KiB, an announcement is a page or less.
const MESSAGE_BYTES: usize = 64 * 1024;
/// Room for announcements while nobody reads. The kernel grants an ordinary process up to its
/// `net.core.rmem_max`; what does not fit is found again by a dump.
const SOCKET_BYTES: usize = 1024 * 1024;

/// Hears the announcements of one network namespace.
pub(crate) struct Source {
    pub(crate) known: Known,
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
    /// The dump that is being answered. The kernel does one at a time on a socket.
    dump: Option<Dump>,
    wanted: Wanted,
    sequence: u32,
}

impl Source {
    /// Starts listening in the calling thread's network namespace, and asks how things are now.
    pub(crate) async fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        // Lets a dump of routes be one of the main table only; a kernel before 4.20 dumps all.
        let _ = socket.set_netlink_get_strict_chk(true);
        socket.set_rx_buf_sz(SOCKET_BYTES)?;
        socket.set_non_blocking(true)?;
        if let Err(error) = filter::attach(socket.as_fd(), 0) {
            tracing::debug!(%error, "the kernel announces every route");
        }
        // SAFETY: a `Socket` keeps the one descriptor that it has until it is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        let mut source = Self {
            known: Known::default(),
            socket,
            buffer: Vec::with_capacity(MESSAGE_BYTES),
            dump: None,
            wanted: Wanted { links: true, routes: true },
            sequence: 0,
        };
        while source.dump.is_some() || source.wanted.links || source.wanted.routes {
            source.step().await?;
        }
        Ok(source)
    }

    /// Sends what is wanted, reads one datagram and takes it in. Cancel-safe.
    pub(crate) async fn step(&mut self) -> io::Result<()> {
        self.ask()?;
        self.buffer.clear();
        loop {
            let mut ready = self.socket.readable().await?;
            let buffer = &mut self.buffer;
            match ready.try_io(|socket| socket.get_ref().recv(buffer, 0)) {
                Ok(Ok(_)) => break,
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    tracing::debug!("the kernel dropped link announcements; asking for the whole state");
                    self.resync();
                    return Ok(());
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        let bytes = std::mem::take(&mut self.buffer);
        let mut rest = bytes.as_slice();
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            self.take(&message);
            let length = usize::try_from(message.length()).unwrap_or(usize::MAX).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        self.buffer = bytes;
        Ok(())
    }

    /// From now on, does not hear of what the tunnel's own half does to its routes.
    pub(crate) fn ignore(&self, footprint: Footprint) {
        if let Err(error) = filter::attach(self.socket.get_ref().as_fd(), footprint.port) {
            tracing::debug!(%error, "the kernel announces our own removals too");
        }
    }

    fn resync(&mut self) {
        self.wanted = Wanted { links: true, routes: true };
        self.known.on_removal(|_, _| true);
    }

    fn take(&mut self, message: &NetlinkBuffer<&[u8]>) {
        // An announcement carries the sequence number of whoever caused it, which may equal ours, but
        // only the parts of a dump's answer say that they are parts.
        let same = self.dump.as_ref().is_some_and(|dump| dump.sequence == message.sequence_number());
        let answers = same && message.flags() & NLM_F_MULTIPART != 0;
        if answers
            && message.flags() & NLM_F_DUMP_INTR != 0
            && let Some(dump) = &mut self.dump
        {
            dump.torn = true;
        }
        match message.message_type() {
            libc::RTM_NEWLINK => self.on_link(message.payload()),
            libc::RTM_DELLINK => self.on_link_gone(message.payload()),
            libc::RTM_NEWROUTE if answers => self.on_dumped_route(message.payload()),
            kind @ (libc::RTM_NEWROUTE | libc::RTM_DELROUTE) => {
                let Some(route) = Route::parse(message.payload()) else { return };
                self.wanted.routes |= route.is_default();
                if kind == libc::RTM_DELROUTE {
                    self.on_removal(message, |index, footprint| {
                        tables_of(footprint).contains(&route.table) && !route.leads_elsewhere(index)
                    });
                }
            }
            libc::RTM_DELRULE => self.on_removal(message, |_, footprint| {
                rule_priority(message.payload())
                    .is_some_and(|priority| priorities_of(footprint).contains(&priority))
            }),
            libc::RTM_DELADDR => {
                self.on_removal(message, |index, _| address_link(message.payload()) == Some(index));
            }
            NLMSG_DONE | NLMSG_ERROR if same => self.on_done(number(message.payload(), 0).unwrap_or(0)),
            NLMSG_OVERRUN => self.resync(),
            _ => {}
        }
    }

    /// Somebody removed something; `hits` says whether it was the watched tunnel's. What we remove
    /// ourselves does not count.
    fn on_removal(&mut self, message: &NetlinkBuffer<&[u8]>, hits: impl Fn(u32, Footprint) -> bool) {
        let author = message.port_number();
        self.known.on_removal(|index, footprint| author != footprint.port && hits(index, footprint));
    }

    fn on_link(&mut self, payload: &[u8]) {
        let Some(message) = LinkMessage::parse(payload) else { return };
        if let Some(Dump { of: Subject::Links(heard), .. }) = &mut self.dump {
            heard.insert(message.index);
        }
        self.wanted.routes |= self.known.on_link(message.index, message.name, message.up);
    }

    fn on_link_gone(&mut self, payload: &[u8]) {
        let Some(message) = LinkMessage::parse(payload) else { return };
        self.known.on_link_gone(message.index);
        self.wanted.routes = true;
        if let Some(Dump { of: Subject::Links(heard), .. }) = &mut self.dump {
            heard.remove(&message.index);
        }
    }
}
