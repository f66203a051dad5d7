//! An Ethernet interface for a program: frames in and out, without a TAP device of its own.
//!
//! There are two ways to one, behind one type:
//!
//! - [`TapServer`]: a server (`hypertap tap --listen=WHERE`, or another that speaks the tapserver
//!   protocol) makes the interface while this program is connected. The program needs no rights.
//! - [`TapSpec`]: this program has the rights (root, `CAP_NET_ADMIN`) and makes the interface for
//!   itself. The program `hypertap` does it, started at the other end of a socket pair; the
//!   interface is there, with its addresses, once that says so, and lasts as long as the socket,
//!   whatever becomes of this program.
//!
//! [`TapInterface`](crate::TapInterface) is for tokio, [`blocking::TapInterface`](crate::blocking::TapInterface)
//! for programs that wait in their calls. Both send and receive whole frames: destination, source,
//! type, payload; no preamble and no check sequence (IEEE 802.3, 3.1).
//!
//! In the stream every frame stands after its length, so a frame that was written half would garble
//! all that follow. Therefore a frame that is begun is taken whole: what the socket has no room for
//! stays with the interface and goes before everything else.

mod error;
#[cfg(feature = "async")]
pub(crate) mod interface;
mod options;
mod program;
pub(crate) mod stream;

pub use error::{ProgramEnd, TapError};
pub use hypertap_wire::ethernet::MacAddress;
pub use hypertap_wire::frames::{FrameError, Framing};
pub use options::{DEFAULT_MTU, TapServer, TapSpec};
pub(crate) use program::Program;
use stream::Stream;

/// A frame's longest headers in bytes: Ethernet's own and two VLAN tags (IEEE 802.1Q, 802.1ad).
const HEADERS: usize = hypertap_wire::ethernet::HEADER + 2 * hypertap_wire::ethernet::TAG;

/// Room for every frame that can come, in bytes: the largest MTU with its headers.
pub const MAX_FRAME: usize = 65_521 + HEADERS;

/// Connects to a server, waiting as long as it says.
pub(crate) fn connect(server: &TapServer) -> Result<Stream, TapError> {
    let socket = crate::socket::Socket::connect(&server.address, server.timeout)
        .map_err(|source| TapError::Connect { address: server.address.clone(), source })?;
    Ok(Stream::new(socket.into_descriptor(), server.framing, server.mtu))
}

/// Makes an interface, waiting until it is there.
pub(crate) fn open(spec: &TapSpec) -> Result<(Stream, Program, String), TapError> {
    let started = Program::start(spec)?;
    let stream = Stream::new(started.socket.into_descriptor(), Framing::Le16, spec.mtu);
    Ok((stream, started.program, started.name))
}
