//! Keeps the interface furnished: the kernel takes routes and addresses from one that is set down, and whoever
//! sets it up again does not know them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypertap_platform::monitor::{LinkEvent, LinkMonitor};
use hypertap_platform::node_link::NodeLink;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// When to try again to hear of links.
const AGAIN: Duration = Duration::from_secs(1);

/// Puts back what is missing each time that the interface was set up.
pub async fn run(link: Arc<Mutex<NodeLink>>) {
    loop {
        if let Err(error) = follow(&link).await {
            tracing::warn!(%error, "cannot watch the machine's links");
        }
        sleep(AGAIN).await;
    }
}

async fn follow(link: &Arc<Mutex<NodeLink>>) -> io::Result<()> {
    let mut monitor = LinkMonitor::new().await?;
    let ours = locked(link).index();
    loop {
        if monitor.next().await? != (LinkEvent::Up { index: ours }) {
            continue;
        }
        let link = Arc::clone(link);
        let restored = spawn_blocking(move || locked(&link).restore()).await;
        match restored {
            Ok(Ok(())) => tracing::info!("somebody set the interface down and up: its routes are back"),
            Ok(Err(error)) => tracing::warn!(%error, "somebody set the interface down and up"),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

fn locked(link: &Mutex<NodeLink>) -> MutexGuard<'_, NodeLink> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}
