//! The services door's tables: who is in the network, who may use what, and which packets are in order.
//!
//! All of it is made from the configuration, save what peers have told ([`told`]) and the local IPv4
//! addresses that were given out ([`local_ipv4`]).

pub mod acl;
pub mod admission;
pub mod local_ipv4;
pub mod peers;
pub mod registry;
#[cfg(test)]
pub(crate) mod samples;
pub mod told;
