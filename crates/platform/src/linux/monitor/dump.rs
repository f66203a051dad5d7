//! Asking for the whole state: at the start, and whenever announcements may have been lost or do not tell.

use std::collections::HashSet;
use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};

use super::Source;
use crate::linux::announcement::Route;
use crate::monitor::DefaultRoute;

/// Which state is to be asked for.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) links: bool,
    pub(super) routes: bool,
}

/// A question, and what was answered so far.
pub(super) struct Dump {
    pub(super) sequence: u32,
    /// The kernel says that the state changed under the dump: it may lack something.
    pub(super) torn: bool,
    pub(super) of: Subject,
}

/// What is asked for.
pub(super) enum Subject {
    /// Which links were heard of since the dump began.
    Links(HashSet<u32>),
    /// The best default route so far: metric and device.
    Routes { family: u8, best: Option<(u32, u32)> },
}

impl Source {
    /// Asks for the next dump that is wanted, unless one is being answered.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        if self.dump.is_some() {
            return Ok(());
        }
        let subject = if std::mem::take(&mut self.wanted.links) {
            Subject::Links(HashSet::new())
        } else if std::mem::take(&mut self.wanted.routes) {
            Subject::Routes { family: family(libc::AF_INET), best: None }
        } else {
            return Ok(());
        };
        self.start(subject)
    }

    fn start(&mut self, of: Subject) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let request = match &of {
            // struct ifinfomsg: all zero is every link.
            Subject::Links(_) => request(libc::RTM_GETLINK, self.sequence, &[0; 16]),
            // struct rtmsg: the family, and the table at its offset.
            Subject::Routes { family, .. } => request(
                libc::RTM_GETROUTE,
                self.sequence,
                &[*family, 0, 0, 0, libc::RT_TABLE_MAIN, 0, 0, 0, 0, 0, 0, 0],
            ),
        };
        self.socket.get_ref().send(&request, 0)?;
        self.dump = Some(Dump { sequence: self.sequence, torn: false, of });
        Ok(())
    }

    /// A route of the dump.
    pub(super) fn on_dumped_route(&mut self, payload: &[u8]) {
        let Some(Dump { of: Subject::Routes { best, .. }, .. }) = &mut self.dump else { return };
        if let Some(route) = Route::parse(payload)
            && route.is_default()
            && let Some(device) = route.device
            && best.is_none_or(|(metric, _)| route.metric < metric)
        {
            *best = Some((route.metric, device));
        }
    }

    /// The dump is over, with 0 or a negated errno. One of routes may fail: the kernel has no IPv6,
    /// or no route in the main table yet.
    pub(super) fn on_done(&mut self, code: u32) {
        let Some(dump) = self.dump.take() else { return };
        match dump.of {
            Subject::Links(_) if code != 0 => {
                tracing::warn!(error = %io::Error::from_raw_os_error(code.cast_signed().wrapping_neg()), "cannot list the links");
            }
            Subject::Links(_) if dump.torn => self.wanted.links = true,
            Subject::Links(heard) => {
                self.wanted.routes |= self.known.on_all_links(|index| heard.contains(&index));
            }
            Subject::Routes { .. } if dump.torn => self.wanted.routes = true,
            Subject::Routes { family: asked, best: None } if asked == family(libc::AF_INET) => {
                let next = Subject::Routes { family: family(libc::AF_INET6), best: None };
                if let Err(error) = self.start(next) {
                    tracing::warn!(%error, "cannot ask for the IPv6 default route");
                }
            }
            Subject::Routes { best, .. } => {
                self.known.on_default_route(best.map(|(_, index)| DefaultRoute { index }));
            }
        }
    }
}

fn family(family: i32) -> u8 {
    u8::try_from(family).expect("the two families fit a byte")
}

/// A dump request: `struct nlmsghdr` and the body.
fn request(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("a small request");
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}
