//! Who may send and receive packets: asked of the kernel, for loopback carries no identity.

use std::net::SocketAddr;
use std::sync::Arc;

use hypertap_platform::peer::{Allowed, udp_owner};

use crate::plane::{PeerGuard, Verdict};

/// Judges the program's end of a data plane by the uid that owns its socket.
#[derive(Debug)]
pub struct Guard {
    allowed: Arc<Allowed>,
    /// The data plane's own UDP address.
    ours: SocketAddr,
}

impl Guard {
    /// A guard for the UDP socket at `ours`.
    pub fn new(allowed: Arc<Allowed>, ours: SocketAddr) -> Self {
        Self { allowed, ours }
    }
}

impl PeerGuard for Guard {
    fn may_use(&self, address: SocketAddr) -> Verdict {
        match udp_owner(self.ours, address) {
            Ok(Some(uid)) if self.allowed.permits(uid) => Verdict::Allowed,
            Ok(None) => Verdict::Absent,
            Ok(Some(_)) | Err(_) => Verdict::NotPermitted,
        }
    }

    fn may_connect(&self, uid: u32) -> bool {
        self.allowed.permits(uid)
    }
}
