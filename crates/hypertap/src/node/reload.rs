//! Changes of a running node: its configuration read anew, services added and removed.
//!
//! A change is refused as a whole, with nothing changed, or made as a whole. One is made at a time. First comes
//! all that may fail, the routes last of it; then the tables are changed, which nothing can refuse; then
//! connections that may not go on are cut. All others never notice.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, anyhow};
use hypertap_engine::services::peers::PeerTable;
use hypertap_engine::services::registry::{Registry, RegistryError, Service};
use hypertap_engine::zone::Suffix;
use hypertap_platform::node_link::NodeLink;
use hypertap_wire::label::Label;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::dns::Listening;
use super::packets::Packets;
use super::said::Said;
use super::settings::{peer_settings, refused, routes};
use super::shard::ShardCounts;
use super::state::Node;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};

/// The parts of a node that its control asks and changes.
pub struct Parts {
    /// The node.
    pub node: Arc<Node>,
    /// Its packets.
    pub packets: Arc<Packets>,
    /// Its interface.
    pub link: Arc<Mutex<NodeLink>>,
    /// Its shard.
    pub counts: mpsc::Sender<oneshot::Sender<ShardCounts>>,
}

/// A node that runs, as its control sees it.
pub struct Running {
    /// What it is made of.
    pub parts: Parts,
    /// Its interface's name.
    pub interface: String,
    /// Where its configuration is.
    pub path: PathBuf,
    /// When it began.
    pub since: Instant,
    /// Where it answers for its names.
    pub dns: Names,
    said: Mutex<Said>,
    /// Held by who changes something.
    changing: tokio::sync::Mutex<()>,
}

/// Where a node answers for its names.
#[derive(Clone, Debug)]
pub struct Names {
    /// What they end with.
    pub zone: String,
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Whether it listens at port 53 of that address, too.
    pub is_at_53: bool,
}

impl Names {
    /// Those of a server.
    pub fn of(suffix: &Suffix, listening: &Listening) -> Self {
        Self { zone: suffix.to_string(), address: listening.address, is_at_53: listening.is_at_53 }
    }
}

/// What a reload changed, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// Services and peers that are new.
    pub added: usize,
    /// Those that are gone.
    pub removed: usize,
    /// Those that are not as they were.
    pub changed: usize,
    /// Connections to this node's services that were cut. Those with a peer that is gone end by themselves.
    pub cut: usize,
}

/// What came of adding or removing a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Whether it was not so before.
    pub is_new: bool,
    /// Connections that were cut.
    pub cut: usize,
}

impl Running {
    /// A node that was started with this configuration.
    pub fn new(parts: Parts, (path, config): (&Path, &Config), dns: Names) -> Self {
        let interface = parts.link.lock().unwrap_or_else(PoisonError::into_inner).name().to_owned();
        Self {
            parts,
            interface,
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            since: Instant::now(),
            dns,
            said: Mutex::new(Said::new(config.clone())),
            changing: tokio::sync::Mutex::new(()),
        }
    }

    /// What happened to programs' connections and datagrams; nothing when the shard has ended.
    pub async fn counts(&self) -> Option<ShardCounts> {
        let (asker, answer) = oneshot::channel();
        self.parts.counts.send(asker).await.ok()?;
        answer.await.ok()
    }

    /// What it was told. Never held across an await.
    pub fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configuration anew. What came of it is logged.
    ///
    /// # Errors
    /// What is wrong with it, or cannot change while the node runs; nothing is changed then.
    pub async fn reload(&self) -> Result<Reloaded, Failure> {
        let _alone = self.changing.lock().await;
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(done) => tracing::info!(?done, config = %self.path.display(), "reloaded"),
            Err(failure) => tracing::error!("nothing was changed: {}", failure.sentence()),
        }
        outcome
    }

    async fn try_reload(&self) -> Result<Reloaded, Failure> {
        let path = self.path.clone();
        let config = spawn_blocking(move || config::load(&path)).await.context("its thread has failed")??;
        let said = self.said().clone();
        let fixed = fixed(&said.config, &config);
        if !fixed.is_empty() {
            let text = "cannot change while the node runs: restart it, or put back what was there";
            let error = anyhow!("{}: {} {text}", self.path.display(), fixed.join(", "));
            return Err(Failure::new(Exit::Usage, error));
        }
        let said = said.reloaded(config);
        let peers = said.config.peer_table();
        let registry = said.registry(&peers).map_err(|error| Failure::new(Exit::Usage, error))?;
        let (link, wanted) = (Arc::clone(&self.parts.link), routes(&peers));
        let routed =
            spawn_blocking(move || link.lock().unwrap_or_else(PoisonError::into_inner).set_routes(&wanted));
        routed.await.context("its thread has failed")?.map_err(refused)?;

        let settings = peer_settings(&said.config);
        let mut done = self.compare(&peers, &registry, &said.config);
        {
            let tables = &mut *self.parts.node.tables();
            tables.told.retain(&peers);
            self.parts.packets.retain(&peers);
            (tables.peers, tables.registry) = (peers, registry);
        }
        *self.said() = said;
        self.parts.node.mesh.set_peers(settings).await;
        done.cut = self.settle();
        Ok(done)
    }

    /// What is to be other than it is.
    fn compare(&self, peers: &PeerTable, registry: &Registry, config: &Config) -> Reloaded {
        let (tables, said) = (self.parts.node.tables(), self.said());
        let mut done = Reloaded::default();
        let mut count = |was: bool, is: bool, is_same: bool| match (was, is) {
            (false, true) => done.added += 1,
            (true, false) => done.removed += 1,
            _ => done.changed += usize::from(!is_same),
        };
        for service in registry.services() {
            let before = tables.registry.by_name(&service.name);
            count(before.is_some(), true, before == Some(service));
        }
        for service in tables.registry.services().filter(|old| registry.by_name(&old.name).is_none()) {
            tracing::debug!(name = %service.name, "a service is gone");
            count(true, false, true);
        }
        for peer in &config.peers {
            let before = said.config.peers.iter().find(|before| before.id == peer.id);
            count(before.is_some(), true, before == Some(peer));
        }
        for peer in tables.peers.peers().iter().filter(|old| peers.by_id(old.id()).is_none()) {
            tracing::debug!(id = %peer.id(), "a peer is gone");
            count(true, false, true);
        }
        done
    }

    /// Has all parts of the node go by the tables as they are now. Returns how many connections were cut.
    fn settle(&self) -> usize {
        self.parts.node.changed();
        let tables = self.parts.node.tables();
        let service = |name: &Label| tables.registry.by_name(name);
        self.parts.node.usage.retain(
            |name| service(name).is_some(),
            |name, client| {
                let is_known = tables.peers.by_id(client).is_some();
                let may = |service: &Service| tables.peers.is_own(client) || service.acl.permits(client);
                is_known && service(name).is_some_and(may)
            },
        )
    }

    /// Adds a service, of the configuration's form; `save`: to the configuration, too. One that is there as it is to be
    /// may be saved so.
    ///
    /// # Errors
    /// What the configuration's check would say; nothing is changed then.
    pub async fn add_service(&self, name: &str, form: Value, save: bool) -> Result<Changed, Failure> {
        let _alone = self.changing.lock().await;
        let service = {
            let tables = self.parts.node.tables();
            let made = config::service(name, form.clone(), &tables.peers);
            let service = made.map_err(|faults| usage(anyhow!(config::listed("not added", &faults))))?;
            if tables.registry.by_name(&service.name) != Some(&service) {
                tables.registry.clone().add(service.clone()).map_err(usage)?;
            }
            service
        };
        if save {
            let (service, form) = (service.clone(), form.clone());
            self.edit(move |config, before| {
                let is_other = |there: &Service| there.name == service.name && *there != service;
                if before.services.iter().any(is_other) {
                    return Err(usage(RegistryError::SameName(service.name.clone())));
                }
                config::put_service(config, &service.name, Some(form));
                Ok(())
            })
            .await?;
        }
        let is_new = self.parts.node.tables().registry.add(service.clone()).is_ok();
        tracing::info!(name = %service.name, target = %service.target, save, "a service was added");
        if is_new || save {
            self.said().add(service, form, save);
        }
        Ok(Changed { is_new, cut: self.settle() })
    }

    /// Removes a service; `save`: from the configuration, too.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be changed; nothing is changed then.
    pub async fn remove_service(&self, name: &str, save: bool) -> Result<Changed, Failure> {
        let _alone = self.changing.lock().await;
        let none = || usage(anyhow!("there is no service {name:?}: `hypertap services` lists them"));
        let label = Label::new(name).map_err(|_| none())?;
        let is_there = self.parts.node.tables().registry.by_name(&label).is_some();
        let is_in_file = save && self.said().in_file(&label).is_some();
        if !is_there && !is_in_file {
            return Err(none());
        }
        if save {
            let label = label.clone();
            self.edit(move |config, _| {
                config::put_service(config, &label, None);
                Ok(())
            })
            .await?;
        }
        self.said().remove(&label, save);
        let is_new = self.parts.node.tables().registry.remove(&label).is_some();
        tracing::info!(name = %label, save, "a service was removed");
        Ok(Changed { is_new, cut: self.settle() })
    }

    async fn edit(
        &self,
        change: impl FnOnce(&mut Map<String, Value>, &Config) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let path = self.path.clone();
        spawn_blocking(move || config::edit(&path, change)).await.context("its thread has failed")?
    }
}

fn usage(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Exit::Usage, error)
}

/// The keys that differ and cannot while the node runs.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let keys = [
        ("privateKey", old.private_key == new.private_key),
        ("listenAddresses", old.listen_addresses == new.listen_addresses),
        ("bootstrapPeers", old.bootstrap_peers == new.bootstrap_peers),
        ("domain", old.domain == new.domain),
        ("filterPrivateAddresses", old.filter_private_addresses == new.filter_private_addresses),
        ("localServiceNetwork", old.local_services_ipv4 == new.local_services_ipv4),
        ("limits", old.limits == new.limits),
    ];
    keys.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| key).collect()
}
