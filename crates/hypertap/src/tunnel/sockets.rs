//! The sockets a tunnel daemon listens on: made by us, or handed over by the service manager.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use hypertap_platform::activation::Activated;

use crate::exit::{Exit, Failure};
use crate::socket_file::{self, NotBound, SocketFile};

/// The listening sockets, not blocking.
#[derive(Debug)]
pub struct Sockets {
    /// Commands over TCP.
    pub command: TcpListener,
    /// Commands over a Unix socket.
    pub control: Option<Control>,
    /// Packets over UDP.
    pub data: UdpSocket,
}

/// The Unix command socket; its file goes when this is dropped, if we made it.
#[derive(Debug)]
pub struct Control {
    /// The socket.
    pub listener: UnixListener,
    /// Its file, where we made it.
    pub file: Option<SocketFile>,
}

impl Control {
    /// Where its file is, where we made it.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(SocketFile::path)
    }
}

/// Where the Unix command socket is wanted.
#[derive(Clone, Debug)]
pub enum ControlPath {
    /// Nowhere.
    None,
    /// Exactly there.
    Exact(PathBuf),
    /// `control.sock` in this directory, or the same with the command port in its name where
    /// another instance has that.
    In(PathBuf),
}

impl Sockets {
    /// Where the Unix command socket is, whoever made it.
    pub fn control_path(&self) -> Option<PathBuf> {
        let address = self.control.as_ref()?.listener.local_addr().ok()?;
        address.as_pathname().map(Path::to_owned)
    }

    /// Opens what the service manager did not hand over.
    ///
    /// # Errors
    /// [`Exit::Taken`] naming the address or path, and what to do.
    pub fn open(
        activated: Activated,
        command: SocketAddr,
        control: &ControlPath,
        data: SocketAddr,
    ) -> Result<Self, Failure> {
        let command = match activated.tcp {
            Some(listener) => listener,
            None => {
                TcpListener::bind(command).map_err(|e| refused("--command", &format!("TCP {command}"), e))?
            }
        };
        let data = match activated.udp {
            Some(socket) => socket,
            None => UdpSocket::bind(data).map_err(|e| refused("--data", &format!("UDP {data}"), e))?,
        };
        let control = match activated.unix {
            Some(listener) => Some(Control { listener, file: None }),
            None => bind_control(control, command.local_addr().map_or(0, |address| address.port()))?,
        };
        let quiet = || -> io::Result<()> {
            command.set_nonblocking(true)?;
            data.set_nonblocking(true)?;
            control.as_ref().map_or(Ok(()), |control| control.listener.set_nonblocking(true))
        };
        quiet().map_err(|error| Failure::new(Exit::Other, error))?;
        Ok(Self { command, control, data })
    }
}

/// Refuses an address for packets at which hypertap could not do what it promises.
///
/// Only on loopback is the sender of a datagram certainly a program of this machine. Asked for the
/// owner of another machine's socket, the kernel names whoever has the same port here, bound to any
/// address: a stranger would be taken for root.
///
/// # Errors
/// [`Exit::Usage`] with what to write instead.
pub fn check_data(address: SocketAddr, receive_port: u16) -> Result<(), Failure> {
    let loopback = if address.is_ipv4() { "127.0.0.1" } else { "[::1]" };
    let (what, remedy) = if !address.ip().is_loopback() {
        let what = "packets are taken on a loopback address only, where the kernel says whose they are";
        (what, format!("use {loopback}:{}", address.port()))
    } else if address.port() == receive_port {
        let what = "hypertap cannot send packets to the port that it has itself";
        (what, "give --receive-port another port than --data".to_owned())
    } else {
        return Ok(());
    };
    Err(Failure::new(Exit::Usage, anyhow!("--data {address}: {what}; {remedy}")))
}

/// The sentence for an address that cannot be had.
fn refused(option: &str, address: &str, error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::AddrInUse => Failure::new(
            Exit::Taken,
            anyhow!("{address} is in use by another program; end that one, or choose another with {option}"),
        ),
        ErrorKind::AddrNotAvailable => Failure::new(
            Exit::Taken,
            anyhow!(
                "{address} is no address of this machine (is the interface up?); choose another with {option}"
            ),
        ),
        ErrorKind::PermissionDenied => Failure::new(
            Exit::Right,
            anyhow!(
                "{address} needs a right that this process lacks; choose a port above 1023 with {option}"
            ),
        ),
        _ => Failure::new(
            Exit::Other,
            anyhow::Error::from(error).context(format!("cannot listen on {address}")),
        ),
    }
}

fn bind_control(wanted: &ControlPath, port: u16) -> Result<Option<Control>, Failure> {
    let paths = match wanted {
        ControlPath::None => return Ok(None),
        ControlPath::Exact(path) => vec![path.clone()],
        ControlPath::In(directory) => {
            vec![directory.join("control.sock"), directory.join(format!("control-{port}.sock"))]
        }
    };
    match socket_file::bind(&paths) {
        Ok((listener, file)) => Ok(Some(Control { listener, file: Some(file) })),
        Err((path, error)) => Err(unix_refused(&path, error)),
    }
}

/// The sentence for a path that cannot be listened on.
fn unix_refused(path: &Path, error: NotBound) -> Failure {
    let path = path.display();
    match error {
        NotBound::Io(error) => {
            let (exit, remedy) = match error.kind() {
                ErrorKind::PermissionDenied => (Exit::Right, ""),
                ErrorKind::NotFound => {
                    (Exit::Usage, "; make its folder, or choose another path with --control")
                }
                _ => (Exit::Other, ""),
            };
            let context = format!("cannot listen on {path}{remedy}");
            Failure::new(exit, anyhow::Error::from(error).context(context))
        }
        error => Failure::new(Exit::Taken, anyhow!("{path} {error}; choose another path with --control")),
    }
}

/// Whether a file's name is one that [`ControlPath::In`] gives.
pub fn is_control_socket(name: &str) -> bool {
    let port = name.strip_prefix("control").and_then(|rest| rest.strip_suffix(".sock"));
    port.is_some_and(|port| {
        port.is_empty() || port.strip_prefix('-').is_some_and(|port| port.parse::<u16>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_our_sockets_are_told_from_others() {
        for (name, is_ours) in [
            ("control.sock", true),
            ("control-6500.sock", true),
            ("control-65536.sock", false),
            ("control-.sock", false),
            ("control-a.sock", false),
            ("control6500.sock", false),
            ("other.sock", false),
        ] {
            assert_eq!(is_control_socket(name), is_ours, "{name}");
        }
    }
}
