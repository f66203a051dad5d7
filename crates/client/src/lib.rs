//! What a program links to use a hypertap daemon: a TUN interface without rights of its own.
//!
//! A daemon (`hypertap tunnel`) makes the interface, its routes and its capture of DNS, when a
//! client says so on the command plane, and carries raw IP packets between the interface and the
//! client on a data plane. [`Tunnel`] is the command plane, [`DataSocket`] the data plane, here for
//! tokio (feature `async`, on by default) and in [`blocking`] for programs without a runtime.
//!
//! A program that answers the pings to a network:
//!
#![cfg_attr(feature = "async", doc = "```no_run")]
#![cfg_attr(not(feature = "async"), doc = "```ignore")]
//! use hypertap_client::{Address, Plane, Start, Tunnel, packet};
//!
//! # async fn program() -> Result<(), Box<dyn std::error::Error>> {
//! let mut tunnel = Tunnel::connect(Address::default()).await?;
//! let start = Start { plane: Plane::Stream, ..Start::new([10, 1, 0, 1].into()) };
//! let data = tunnel.start(&start).await?;
//! tunnel.add_included(&["10.1.0.0/16".parse()?]).await?;
//!
//! let mut buffer = vec![0; packet::MAX_PACKET];
//! loop {
//!     let length = data.recv(&mut buffer).await?;
//!     let packet = &mut buffer[..length];
//!     if packet::answer_echo(packet) {
//!         data.send(packet).await?;
//!     }
//! }
//! # }
//! ```
//!
//! The same without a runtime:
//!
//! ```no_run
//! use hypertap_client::blocking::Tunnel;
//! use hypertap_client::{Address, Start, packet};
//!
//! # fn program() -> Result<(), Box<dyn std::error::Error>> {
//! let mut tunnel = Tunnel::connect(Address::Unix("/run/hypertap/control.sock".into()))?;
//! let data = tunnel.start(&Start::new([10, 1, 0, 1].into()))?;
//! tunnel.add_included(&["10.1.0.0/16".parse()?])?;
//!
//! let mut buffer = vec![0; packet::MAX_PACKET];
//! while let Some(length) = data.recv(&mut buffer, None)? {
//!     let packet = &mut buffer[..length];
//!     if packet::answer_echo(packet) {
//!         data.send(packet)?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Ethernet
//!
//! [`TapInterface`] is an Ethernet interface of the machine: whole frames, ARP and broadcasts included. A
//! server (`hypertap tap`) makes it for a program without rights; one that has them makes it for
//! itself. See [`tap`].
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use hypertap_client::blocking::TapInterface;
//! use hypertap_client::{Address, TapServer, TapSpec, tap};
//!
//! # fn program() -> Result<(), Box<dyn std::error::Error>> {
//! let tap = match std::env::args().nth(1) {
//!     Some(address) => TapInterface::connect(&TapServer::new(address.parse::<Address>()?))?,
//!     None => TapInterface::open(&TapSpec { ipv4: Some(([172, 30, 0, 1].into(), 24)), ..TapSpec::default() })?,
//! };
//! let mut buffer = vec![0; tap::MAX_FRAME];
//! while let Some(length) = tap.recv(&mut buffer, Duration::from_secs(60))? {
//!     println!("{:02x?}", &buffer[..length]);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Which data plane
//!
//! | [`Plane`] | what it is | for |
//! |---|---|---|
//! | `Udp` | a datagram a packet, on loopback | what every daemon and language knows |
//! | `Unix` | a message a packet | several packets a system call, and an end that is noticed |
//! | `Stream` | lengths and packets in a stream | the highest rates over a socket |
//! | `Fd` | the kernel's device | nothing in between; needs the Unix command socket |
//!
//! # Ends
//!
//! The tunnel lasts as long as the connection of the client that owns it: dropping its [`Tunnel`] ends
//! it. [`Tunnel::stop`] first, before the data socket is dropped, ends it without complaint in the
//! daemon's log. What happens meanwhile (the interface was deleted, another instance took it over) arrives as an
//! [`Event`]; a program that only moves packets also notices by the data plane's errors, except over UDP.

// Without the feature, what the page above says of it leads nowhere.
#![cfg_attr(not(feature = "async"), allow(rustdoc::broken_intra_doc_links))]

mod address;
pub mod blocking;
mod calls;
mod channel;
#[cfg(feature = "async")]
mod data;
mod error;
pub mod packet;
pub mod protocol;
mod session;
mod socket;
mod start;
mod system;
pub mod tap;
#[cfg(feature = "async")]
mod tunnel;

pub use address::{Address, NoAddress};
pub use calls::{PastEvent, Routes, Stats, Traffic};
#[cfg(feature = "async")]
pub use data::DataSocket;
pub use error::{Error, Result, Violation};
pub use hypertap_wire::event::{Event, Status, StopReason};
pub use start::{Plane, Start};
#[cfg(feature = "async")]
pub use tap::interface::TapInterface;
pub use tap::{TapError, TapServer, TapSpec};
#[cfg(feature = "async")]
pub use tunnel::Tunnel;
