//! Datagrams that programs on this machine send to service addresses, as flows.
//!
//! All that goes between one program's address and port and one of a service is a flow. [`Flows`] finds them and
//! says which have been idle for too long; [`Outbox`] keeps what a flow has still to send;
//! [`Fragments`] puts together what was too long for the interface.

mod flows;
mod fragments;
mod outbox;

pub use flows::{FlowKey, FlowLimits, Flows};
pub use fragments::Fragments;
pub use outbox::Outbox;
