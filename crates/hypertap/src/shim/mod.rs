//! `hypertap shim`: a TAP or TUN for a program that opens `/dev/net/tun`, without rights.
//!
//! The program's descriptor is one end of a socket pair, at whose other end a [`pump`] carries packets to
//! a tap server or a tunnel ([`link`], [`tunnel`]). What the program asks by ioctl(2) a [`device`] answers,
//! from what it knows of its [`interface`]s. How the calls come here, [`hypertap_platform::shim`] says.

pub mod device;
mod header;
mod interface;
mod link;
mod name;
mod pump;
mod request;
pub mod tunnel;
