//! What the tap door costs when its clients are silent.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::idle::{QUIET, SETTLE, fill, resident, wake_ups};
use crate::namespace::Namespace;
use crate::process;
use crate::summary::{Row, Wanted};
use crate::tap::Tap;
use crate::workshop::Workshop;

const CLIENTS: u32 = 32;

/// The rows of this group, one sample for each of `reps` servers.
pub(crate) fn measure(shop: &Workshop, reps: u32, quiet: Duration) -> Result<Vec<Row>> {
    let row = |name: &str, unit, wanted| Row::new(format!("{CLIENTS} idle clients: {name}"), unit, wanted);
    let mut rows = [
        row("resident memory", "MiB", Wanted::Below(16.0)),
        row("memory for each", "KiB", Wanted::Below(128.0)),
        row("wake-ups in 5 s", "", Wanted::AtMost(0.0)),
    ];
    if shop.hypertap.is_none() {
        return Ok(Vec::new());
    }
    fill("tap-idle", &mut rows, reps, quiet, || sample(shop))?;
    Ok(rows.into())
}

fn sample(shop: &Workshop) -> Result<[f64; 3]> {
    let namespace = Namespace::create()?;
    without_ipv6(&namespace)?;
    let tap = Tap { framing: "le16", clients: CLIENTS, interface: Some("bench") };
    let (mut hypertap, socket) = tap.start(shop, &namespace)?;
    let pid = hypertap.pid();
    let mut clients = vec![client(&socket)?];
    process::rest(SETTLE)?;
    let one = resident(pid)?;
    for _ in 1..CLIENTS {
        clients.push(client(&socket)?);
    }
    process::rest(SETTLE)?;
    let (all, before) = (resident(pid)?, wake_ups(pid)?);
    process::rest(QUIET)?;
    let woken = wake_ups(pid)?.saturating_sub(before);
    hypertap.alive()?;
    if let Some(number) = clients.iter().position(gone) {
        bail!("client {} was disconnected", number + 1);
    }
    let each = (all - one) * 1024.0 / f64::from(CLIENTS - 1);
    Ok([all, each, f64::from(u32::try_from(woken)?)])
}

fn client(socket: &Path) -> Result<UnixStream> {
    UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))
}

/// Whether the server has closed the connection; nothing else is ever to be read here.
fn gone(client: &UnixStream) -> bool {
    let mut client = client;
    client.set_nonblocking(true).is_err() || matches!(client.read(&mut [0]), Ok(0))
}

/// The kernel looks for routers on an interface of its own accord, at intervals that grow: traffic, not idleness.
fn without_ipv6(namespace: &Namespace) -> Result<()> {
    namespace.inside(|| {
        for scope in ["all", "default"] {
            let file = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
            fs::write(&file, "1").with_context(|| format!("write {file}"))?;
        }
        Ok(())
    })
}
