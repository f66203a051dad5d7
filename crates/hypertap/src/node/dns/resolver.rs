//! The machine's resolver, which is to ask the node for its names.

use hypertap_platform::resolver::{NodeNames, ask_node, ask_node_no_more};
use tokio::task::JoinSet;

/// A resolver that is told, or being told.
pub(super) struct Resolver {
    names: NodeNames,
    /// One task, which says whether there is one that was told.
    telling: JoinSet<bool>,
}

impl Resolver {
    /// Tells it; nobody waits for that.
    pub(super) fn tell(names: NodeNames) -> Self {
        let mut telling = JoinSet::new();
        telling.spawn(tell(names.clone()));
        Self { names, telling }
    }

    /// Leaves it as it was.
    pub(super) async fn end(&mut self) {
        if matches!(self.telling.join_next().await, Some(Ok(true)))
            && let Err(error) = ask_node_no_more(&self.names).await
        {
            tracing::debug!(%error, "the resolver forgets this node when the interface goes");
        }
    }
}

async fn tell(names: NodeNames) -> bool {
    let zone = names.zones.first().map_or("", String::as_str);
    let how = format!("`hypertap dns -i {}` prints what to configure", names.interface);
    match ask_node(&names).await {
        Ok(true) => {
            tracing::info!(zone, server = %names.server, "systemd-resolved asks this node for names");
            true
        }
        Ok(false) => {
            tracing::info!(zone, server = %names.server, "names are served, and no systemd-resolved runs here: {how}");
            false
        }
        Err(error) => {
            tracing::warn!(zone, server = %names.server, %error, "names are served, but systemd-resolved does not know: {how}");
            false
        }
    }
}
