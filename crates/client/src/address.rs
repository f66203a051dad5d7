//! Where a daemon takes commands.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a daemon takes commands. The default is TCP 127.0.0.1:5500.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Over TCP. One client at a time, and no descriptors.
    Tcp(SocketAddr),
    /// Over a Unix stream socket, by its path.
    Unix(PathBuf),
}

impl Default for Address {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 5500)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

/// A text that is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address: say an absolute path, a port of 127.0.0.1, or ADDR:PORT")]
pub struct NoAddress(String);

/// As the command line has it: an absolute path, a port of 127.0.0.1, or an address and a port.
impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let tcp = match text.parse() {
            Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            Err(_) => text.parse(),
        };
        tcp.map(Self::Tcp).map_err(|_| NoAddress(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_a_port_or_both_parts_of_one() {
        assert_eq!("/tmp/x".parse(), Ok(Address::Unix("/tmp/x".into())));
        assert_eq!("7000".parse(), Ok(Address::Tcp(([127, 0, 0, 1], 7000).into())));
        assert_eq!("10.0.0.1:70".parse(), Ok(Address::Tcp(([10, 0, 0, 1], 70).into())));
        assert_eq!("[::1]:70".parse(), Ok(Address::Tcp("[::1]:70".parse().expect("an address"))));
        for wrong in ["", "tap", "./tap", "70000", "-1", "10.0.0.1", "localhost:70"] {
            assert_eq!(wrong.parse::<Address>(), Err(NoAddress(wrong.to_owned())));
        }
    }
}
