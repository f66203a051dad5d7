//! The in-process privileged half, on the real kernel, judged by iproute2's view of it. Each test
//! has a network namespace of its own, for which an ordinary user needs a user namespace; the few that
//! need the machine's root say so.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::wildcard_imports, reason = "the set-up's names are the language of these tests")]

#[path = "../support/alone.rs"]
mod alone;
mod dns;
mod reassert;
mod recovery;
mod routes;
mod setup;
mod tap;
mod tap_traffic;
mod tunnel;
