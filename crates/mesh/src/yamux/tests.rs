//! The rules of the session, of the muxer around it, and the other implementation at the other end.

#![allow(clippy::disallowed_methods, reason = "tasks end with the test's runtime")]
#![allow(clippy::cast_possible_truncation, reason = "made-up bytes")]

mod connected;
mod ends;
mod interop;
mod model;
mod muxer;
mod opening;
mod peer;
mod sending;
mod violations;
