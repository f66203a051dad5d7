//! The sockets a tunnel daemon listens on: made by us, or handed over by the service manager.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use hypertap_platform::activation::Activated;

use crate::exit::{Exit, Failure};

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
    pub path: Option<PathBuf>,
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // After dropping rights it may not be ours to remove; the helper does it then.
            let _ = fs::remove_file(path);
        }
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
            Some(listener) => Some(Control { listener, path: None }),
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
    let path = match wanted {
        ControlPath::None => return Ok(None),
        ControlPath::Exact(path) => path.clone(),
        ControlPath::In(directory) => {
            let first = directory.join("control.sock");
            if is_live(&first) { directory.join(format!("control-{port}.sock")) } else { first }
        }
    };
    let listener = bind_unix(&path)?;
    Ok(Some(Control { listener, path: Some(path) }))
}

/// Whether somebody listens on a Unix socket.
fn is_live(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Whether a file's name is one that [`ControlPath::In`] gives.
pub fn is_control_socket(name: &str) -> bool {
    let port = name.strip_prefix("control").and_then(|rest| rest.strip_suffix(".sock"));
    port.is_some_and(|port| {
        port.is_empty() || port.strip_prefix('-').is_some_and(|port| port.parse::<u16>().is_ok())
    })
}

/// Removes a Unix socket that nobody listens on.
pub fn remove_if_dead(path: &Path) -> io::Result<()> {
    let named = || fs::symlink_metadata(path).map(|file| (file.file_type().is_socket(), file.ino()));
    let (is_socket, before) = named()?;
    // Who does not get round to listening is there all the same: nobody waits for him.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let Err(error) = socket.connect(&socket2::SockAddr::unix(path)?) else { return Ok(()) };
    // Another instance may have put its own there meanwhile.
    if is_socket && error.kind() == ErrorKind::ConnectionRefused && named()?.1 == before {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Binds a Unix stream socket that everybody may connect to (who may speak is asked of the kernel
/// at each connection). A stale socket file is replaced; a live one or another kind of file is not.
///
/// # Errors
/// [`Exit::Taken`] naming the path and what to do.
pub fn bind_unix(path: &Path) -> Result<UnixListener, Failure> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
            let why = match (is_socket, is_socket && is_live(path)) {
                (false, _) => "is there already and is no socket",
                (true, true) => "is in use by another program",
                (true, false) => {
                    fs::remove_file(path).map_err(|e| unix_refused(path, e))?;
                    let listener = UnixListener::bind(path).map_err(|e| unix_refused(path, e))?;
                    return finish_unix(path, listener);
                }
            };
            let text = anyhow!("{} {why}; choose another path with --control", path.display());
            return Err(Failure::new(Exit::Taken, text));
        }
        bound => bound.map_err(|e| unix_refused(path, e))?,
    };
    finish_unix(path, listener)
}

fn finish_unix(path: &Path, listener: UnixListener) -> Result<UnixListener, Failure> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(|e| unix_refused(path, e))?;
    Ok(listener)
}

fn unix_refused(path: &Path, error: io::Error) -> Failure {
    let exit = if error.kind() == ErrorKind::PermissionDenied { Exit::Right } else { Exit::Other };
    Failure::new(exit, anyhow::Error::from(error).context(format!("cannot listen on {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_of_ours_that_nobody_listens_on_is_removed() {
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
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name| folder.path().join(name);
        let live = UnixListener::bind(path("live")).expect("ours");
        drop(UnixListener::bind(path("dead")).expect("ours"));
        fs::write(path("file"), "").expect("ours");
        for (name, stays) in [("live", true), ("dead", false), ("file", true)] {
            remove_if_dead(&path(name)).expect("it can be asked");
            assert_eq!(path(name).exists(), stays, "{name}");
        }
        drop(live);
    }
}
