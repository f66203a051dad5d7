//! Yamux: many streams on one connection (hashicorp/yamux, `spec.md`), for libp2p as `/yamux/1.0.0`.
//!
//! # Theory of operation
//!
//! [`Session`] is the whole protocol without I/O: bytes of the peer go in, bytes for the peer come out,
//! and streams are read, written and closed. It lives behind a lock that [`Muxer`], which owns the
//! connection, shares with every [`Substream`]; the lock is never held while the connection is read or
//! written. Whoever is to be woken is woken after the lock is released.
//!
//! Writing copies once: from the caller's buffer into the frames that are on their way out. There are two
//! buffers of them; while one is written to the connection the other fills. When that is full, writers
//! queue and get turns of one frame each, so no stream starves another.
//!
//! Reading copies once where frames are large: their bodies are read from the connection into what the
//! stream keeps, and from there into the caller's buffer. Small ones are copied once more.
//!
//! Each stream has a window of its own, of what the peer may still send, so that a reader that stops
//! stops its stream alone. It grows while the reader keeps up, within bounds of the stream and of the
//! connection, and only what was read is granted again: what is held never exceeds it.
//!
//! What differs from other implementations: the end of a stream (FIN) and its reset (RST) are different
//! to the reader; a stream above the limit is reset alone, the connection lives; a stream that is dropped
//! before both ends are closed is reset.

mod error;
mod input;
mod muxer;
mod outgoing;
mod rate;
mod received;
mod session;
mod settings;
mod stream;
mod substream;
mod turns;
mod upgrade;
mod window;

pub use error::{OpenError, SessionError, StreamError, Violation};
pub use muxer::Muxer;
pub use received::Chunk;
pub use session::{Counters, Session, Side, Wakers};
pub use settings::YamuxSettings;
pub use substream::Substream;
pub use upgrade::Upgrade;

#[cfg(test)]
mod tests;
