//! Streams between nodes that carry a connection to a service, or tell of services: how they begin.
//!
//! All numbers are big-endian.
//!
//! # `/hyprspace/service/0.0.1`
//!
//! | from | bytes | |
//! |---|---|---|
//! | client | 2 | service id ([`PlainOpening`]) |
//! | server | 1 | f1 go ahead, f2 no such service, f3 not authorised ([`PlainReply`]) |
//!
//! After f1 the stream is the connection's bytes, both ways.
//!
//! # `/hypertap/service/1`
//!
//! The client sends an [`Opening`] and waits:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | length of what follows: 8 to 512 |
//! | 2 | 2 | service id |
//! | 4 | 2 | the client program's port |
//! | 6 | 2 | the port it asked for, never 0 |
//! | 8 | 1 | protocol by IANA's number: 6 TCP, 17 UDP |
//! | 9 | 1 | length n of the name, 0 when there is none |
//! | 10 | n | the service's name in lower case, whose id is the one above |
//! | 10 + n | | nothing yet; what a later version puts here is skipped |
//!
//! The server answers with a [`Reply`], and when that refuses ends the stream:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | length of what follows: 1 to 255 |
//! | 2 | 1 | 0 go ahead, else the reason: [`Refusal::code`] |
//! | 3 | | nothing yet; what a later version puts here is skipped |
//!
//! After 0 the stream is, for TCP, the connection's bytes, both ways; for UDP, datagrams both ways,
//! each with its length before it (u16, at most 65,527; 0 is an empty datagram). The length 65,535 has
//! nothing behind it: the server says so that nobody takes datagrams at the target ([`Item`]).
//! A reason that is not known is a refusal all the same.
//!
//! # `/hypertap/services/1`
//!
//! Who tells opens a stream, sends [`ServiceNames`] and ends its direction; who listens ends the other once it
//! has taken them. It is told when the two connect and whenever the names change, and stands for all that
//! was told before.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | length of what follows: 2 to 65535 |
//! | 2 | 2 | how many names: at most 1000 |
//! | 4 | | of each name its length (1 byte) and the name in lower case |
//! | | | nothing yet; what a later version puts here is skipped |

mod datagrams;
mod names;
mod opening;
mod plain;
mod refusal;

pub use datagrams::{DatagramTooLong, Item, ItemReader, MAX_DATAGRAM};
pub use names::{MAX_NAMES, NamesError, ServiceNames, TooManyNames};
pub use opening::{Opening, OpeningError, Protocol, Reply, ReplyError};
pub use plain::{PlainOpening, PlainReply, UnknownStatus};
pub use refusal::{Answer, Refusal};

/// The name of the protocol that other programs of the network speak too.
pub const PLAIN_SERVICE: &str = "/hyprspace/service/0.0.1";
/// The name of our own, which tells more both ways.
pub const SERVICE: &str = "/hypertap/service/1";
/// The name of the protocol that tells peers which services they may use.
pub const SERVICES: &str = "/hypertap/services/1";

#[cfg(test)]
mod tests;
