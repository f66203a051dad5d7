//! What a service manager is told about this process (`sd_notify(3)`).

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that says where it listens.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// All is set up.
    Ready,
    /// The end has begun.
    Stopping,
}

impl Stage {
    fn line(self) -> &'static str {
        match self {
            Self::Ready => "READY=1\n",
            Self::Stopping => "STOPPING=1\n",
        }
    }
}

/// Tells the service manager, where one asks for it.
///
/// # Errors
/// When it cannot be told, naming its address.
pub fn tell(stage: Stage) -> io::Result<()> {
    match env::var_os(NOTIFY_SOCKET) {
        Some(address) => tell_at(&address, stage),
        None => Ok(()),
    }
}

fn tell_at(address: &OsStr, stage: Stage) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let sent = read_address(address).and_then(|to| socket.send_to_addr(stage.line().as_bytes(), &to));
    sent.map(drop).map_err(|error| {
        io::Error::new(error.kind(), format!("{NOTIFY_SOCKET} is {}: {error}", address.display()))
    })
}

/// Reads an address: a path, or after an `@` a name that is in no directory.
fn read_address(text: &OsStr) -> io::Result<SocketAddr> {
    match text.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(text),
        [b'@', name @ ..] => named(name),
        _ => Err(io::Error::new(ErrorKind::Unsupported, "wanted an absolute path, or a name after an @")),
    }
}

#[cfg(target_os = "linux")]
fn named(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn named(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(ErrorKind::Unsupported, "only Linux has sockets with a name and no path"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn assert_told(listener: &UnixDatagram, address: &OsStr) {
        listener.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
        for (stage, line) in [(Stage::Ready, "READY=1\n"), (Stage::Stopping, "STOPPING=1\n")] {
            tell_at(address, stage).expect("it listens");
            let mut told = [0; 64];
            let count = listener.recv(&mut told).expect("it was told");
            assert_eq!(&told[..count], line.as_bytes());
        }
    }

    #[test]
    fn a_manager_is_told_at_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        assert_told(&UnixDatagram::bind(&path).expect("ours"), path.as_os_str());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_is_told_at_a_name_that_is_in_no_directory() {
        let name = format!("hypertap-test-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&named(name.as_bytes()).expect("short")).expect("ours");
        assert_told(&listener, &OsString::from(format!("@{name}")));
    }

    #[test]
    fn a_manager_that_cannot_be_told_is_named() {
        for address in ["/nonexistent/notify", "@", "relative", "", "vsock:2:1"] {
            let error = tell_at(OsStr::new(address), Stage::Ready).expect_err(address).to_string();
            assert!(error.contains(&format!("NOTIFY_SOCKET is {address}: ")), "{error}");
        }
    }
}
