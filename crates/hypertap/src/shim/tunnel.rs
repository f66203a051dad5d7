//! The tunnel behind a TUN of the program's.
//!
//! A tunnel needs an address from its start. It is the one of the command line, or the one that the program
//! gives its interface (`SIOCSIFADDR`), upon which it starts. The network that the program gives with it, and
//! its peer's address, are included into the tunnel, as the kernel would route them.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hypertap_client::blocking::{DataSocket, Tunnel};
use hypertap_client::{Address, Error, Plane, Start};
use ipnet::{IpNet, Ipv4Net};

use super::interface::Addresses;
use super::link::TunnelLink;
use crate::cli::status::sockets;

/// How long after a refusal it is tried again, where that may pass.
const PAUSE: Duration = Duration::from_millis(20);

/// What the command line says of tunnels.
#[derive(Clone, Debug)]
pub struct TunnelSettings {
    /// The daemon; else the one that is running.
    pub daemon: Option<Address>,
    /// The machine's end of the tunnel.
    pub ipv4: Option<Ipv4Addr>,
    /// What is routed into it besides.
    pub routes: Vec<IpNet>,
}

/// A tunnel that is there once it has an address, until its interface is closed.
#[derive(Clone, Debug)]
pub struct ProgramTunnel {
    settings: TunnelSettings,
    running: Arc<Mutex<Option<Running>>>,
}

/// A tunnel, and its address.
#[derive(Debug)]
struct Running {
    tunnel: Tunnel,
    address: Ipv4Addr,
    /// Whether it was said that it stays at that.
    said: bool,
}

impl ProgramTunnel {
    /// One that does not run yet.
    pub fn new(settings: TunnelSettings) -> Self {
        Self { settings, running: Arc::new(Mutex::new(None)) }
    }

    /// The address of the command line.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.settings.ipv4
    }

    /// Starts it. A daemon whose tunnel another client has, as one that has just gone, is asked again for at
    /// most `patience`.
    ///
    /// # Errors
    /// When there is no daemon, or it refuses.
    pub fn start(
        &self,
        name: &str,
        ipv4: Ipv4Addr,
        mtu: i32,
        patience: Duration,
    ) -> anyhow::Result<TunnelLink> {
        let mtu = u32::try_from(mtu).ok();
        let start = Start { name: Some(name.to_owned()), mtu, plane: Plane::Stream, ..Start::new(ipv4) };
        let until = Instant::now() + patience;
        let (mut tunnel, data) = loop {
            match self.try_start(&start) {
                Err(error) if is_taken(&error) && Instant::now() < until => thread::sleep(PAUSE),
                outcome => break outcome?,
            }
        };
        if !self.settings.routes.is_empty() {
            tunnel.add_included(&self.settings.routes).context("the routes are refused")?;
        }
        let running = Running { tunnel, address: ipv4, said: false };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(TunnelLink(data))
    }

    fn try_start(&self, start: &Start) -> anyhow::Result<(Tunnel, DataSocket)> {
        let mut tunnel = connect(self.settings.daemon.as_ref())?;
        let data = tunnel.start(start).context("the tunnel does not start")?;
        Ok((tunnel, data))
    }

    /// Says, once, that the tunnel stays at its address where the program has set another.
    pub fn note_address(&self, name: &str, own: Ipv4Addr) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Running { address, said, .. }) = running.as_mut().filter(|running| running.address != own)
        {
            if !*said {
                let text =
                    "the program sets another address, which is remembered only: its tunnel stays at its own";
                tracing::warn!(interface = name, set = %own, stays = %address, "{text}");
            }
            *said = true;
        }
    }

    /// Routes what the program's addresses say into the tunnel that runs.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub fn include(&self, addresses: &Addresses) -> anyhow::Result<()> {
        let nets = networks(addresses);
        match self.running.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(Running { tunnel, .. }) if !nets.is_empty() => {
                tunnel.add_included(&nets).context("the program's network is not routed into the tunnel")
            }
            _ => Ok(()),
        }
    }

    /// Takes it down.
    pub fn stop(&self) {
        if let Some(Running { mut tunnel, .. }) =
            self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // A daemon that is gone has taken it down.
            let _ = tunnel.stop();
        }
    }
}

/// Whether a daemon refuses because its tunnel is another client's.
fn is_taken(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Error>();
    matches!(refused, Some(Error::Refused { text, .. }) if text.starts_with("another client"))
}

fn networks(addresses: &Addresses) -> Vec<IpNet> {
    let own = addresses.own.zip(addresses.netmask);
    let own = own.and_then(|(own, mask)| Ipv4Net::with_netmask(own, mask).ok()).map(|net| net.trunc());
    let peer = addresses.peer.filter(|peer| !peer.is_unspecified() && Some(*peer) != addresses.own);
    // The address itself is in the tunnel already.
    let own = own.filter(|net| net.prefix_len() < 32).map(IpNet::from);
    own.into_iter().chain(peer.map(|peer| IpNet::from(Ipv4Net::from(peer)))).collect()
}

fn connect(daemon: Option<&Address>) -> anyhow::Result<Tunnel> {
    if let Some(address) = daemon {
        return Ok(Tunnel::connect(address.clone())?);
    }
    let mut refused = None;
    for path in sockets(None) {
        match Tunnel::connect(Address::Unix(PathBuf::clone(&path))) {
            Ok(tunnel) => return Ok(tunnel),
            Err(error @ Error::Refused { .. }) => refused = Some((path, error)),
            Err(error) => tracing::debug!(path = %path.display(), %error, "no daemon there"),
        }
    }
    Err(match refused {
        Some((path, error)) => anyhow::Error::from(error)
            .context(format!("the daemon at {} does not let this user in", path.display())),
        None => anyhow!(
            "no hypertap daemon answers; start one with `sudo hypertap tunnel`, or name its socket with --tunnel"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_and_the_peer_of_the_program_are_included() {
        let mut addresses = Addresses { own: Some([10, 1, 0, 1].into()), ..Addresses::default() };
        assert_eq!(networks(&addresses), []);
        addresses.netmask = Some([255, 255, 255, 255].into());
        addresses.peer = addresses.own;
        assert_eq!(networks(&addresses), []);
        addresses.netmask = Some([255, 255, 255, 0].into());
        addresses.peer = Some([10, 2, 0, 1].into());
        let nets = ["10.1.0.0/24", "10.2.0.1/32"].map(|net| net.parse().expect("a net"));
        assert_eq!(networks(&addresses), nets);
        addresses.netmask = Some([255, 0, 255, 0].into());
        assert_eq!(networks(&addresses), nets[1..]);
    }
}
