//! What a node was told about services: by its configuration, and at run time.
//!
//! What is said at run time lasts until the node ends, so a reload keeps it, too. Only where the file says
//! something new of a service of that name does the file count again.

use std::collections::BTreeMap;

use hypertap_engine::services::peers::PeerTable;
use hypertap_engine::services::registry::{Registry, RegistryError, Service};
use hypertap_wire::label::Label;
use serde_json::Value;

use crate::config::{self, Config, Fault};

/// The configuration, and what was said since.
#[derive(Clone, Debug)]
pub struct Said {
    /// What the node was last told by its file.
    pub config: Config,
    /// Services that were added, in the configuration's form, and removed. A name of the file may be among them.
    since: BTreeMap<Label, Option<Value>>,
}

/// Why services cannot be together.
#[derive(Debug, thiserror::Error)]
pub enum SaidError {
    /// One that was added at run time is bad by now.
    #[error("{}", config::listed("what was added at run time", .0))]
    Faults(Vec<Fault>),
    /// Two of them.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Said {
    /// What a file says.
    pub fn new(config: Config) -> Self {
        Self { config, since: BTreeMap::new() }
    }

    /// A file says something else.
    #[must_use]
    pub fn reloaded(&self, config: Config) -> Self {
        let is_new = |name: &Label| self.in_file(name) != in_file(&config, name);
        let since = self.since.iter().filter(|(name, _)| !is_new(name));
        Self { since: since.map(|(name, service)| (name.clone(), service.clone())).collect(), config }
    }

    /// A service was added.
    pub fn add(&mut self, service: Service, form: Value, is_saved: bool) {
        if is_saved {
            self.since.remove(&service.name);
            self.config.services.retain(|there| there.name != service.name);
            self.config.services.push(service);
        } else {
            self.since.insert(service.name, Some(form));
        }
    }

    /// A service was removed.
    pub fn remove(&mut self, name: &Label, is_saved: bool) {
        if is_saved {
            self.config.services.retain(|there| there.name != *name);
        }
        if self.in_file(name).is_some() {
            self.since.insert(name.clone(), None);
        } else {
            self.since.remove(name);
        }
    }

    /// The services that there are to be.
    ///
    /// # Errors
    /// They cannot be together, or refer to peers that are gone.
    pub fn registry(&self, peers: &PeerTable) -> Result<Registry, SaidError> {
        let of_file = self.config.services.iter().filter(|service| !self.since.contains_key(&service.name));
        let mut registry = Registry::new(of_file.cloned())?;
        for (name, form) in &self.since {
            if let Some(form) = form {
                let service = config::service(name.as_str(), form.clone(), peers);
                registry.add(service.map_err(SaidError::Faults)?)?;
            }
        }
        Ok(registry)
    }

    /// Whether a service is there again after a restart.
    pub fn is_saved(&self, name: &Label) -> bool {
        self.in_file(name).is_some() && !self.since.contains_key(name)
    }

    /// Services of the file that were removed until the next start.
    pub fn removed(&self) -> impl Iterator<Item = &Label> {
        self.since.iter().filter(|(_, form)| form.is_none()).map(|(name, _)| name)
    }

    /// What the file says of a service.
    pub fn in_file(&self, name: &Label) -> Option<&Service> {
        in_file(&self.config, name)
    }
}

fn in_file<'a>(config: &'a Config, name: &Label) -> Option<&'a Service> {
    config.services.iter().find(|service| service.name == *name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(services: &Value) -> Config {
        let key =
            "z23jhTbcjBgHmxFeeC11RXxeXb32Ce9eMvMy75ke2TrCsXpNrNvVsH98qSumzxPBbF7TqyBsd7macsAYfnVQzUApd51ZgC";
        let text = json!({ "privateKey": key, "services": services }).to_string();
        config::parse(&text, |_| unreachable!()).expect("good").config
    }

    fn label(text: &str) -> Label {
        Label::new(text).expect("a label")
    }

    fn service(said: &Said, name: &str, target: &str) -> Service {
        config::service(name, json!(target), &said.config.peer_table()).expect("good")
    }

    fn there(said: &Said) -> Vec<String> {
        let registry = said.registry(&said.config.peer_table()).expect("they can be together");
        registry.services().map(|service| format!("{} {}", service.name, service.target)).collect()
    }

    #[test]
    fn what_is_said_at_run_time_outlives_a_reload_of_a_file_that_says_nothing_new() {
        let file = config(&json!({"a1": "/tcp/1", "b2": "/tcp/2"}));
        let mut said = Said::new(file.clone());
        said.remove(&label("a1"), false);
        let added = service(&said, "c3", "/tcp/3");
        said.add(added, json!("/tcp/3"), false);
        for said in [said.clone(), said.reloaded(file)] {
            assert_eq!(there(&said), ["b2 /ip4/127.0.0.1/tcp/2", "c3 /ip4/127.0.0.1/tcp/3"]);
            assert!(said.is_saved(&label("b2")) && !said.is_saved(&label("c3")));
            assert_eq!(said.removed().collect::<Vec<_>>(), [&label("a1")]);
        }
    }

    #[test]
    fn what_the_file_says_anew_counts() {
        let mut said = Said::new(config(&json!({"a1": "/tcp/1"})));
        said.remove(&label("a1"), false);
        let added = service(&said, "c3", "/tcp/3");
        said.add(added, json!("/tcp/3"), false);
        let said = said.reloaded(config(&json!({"a1": "/tcp/9", "c3": "/tcp/8"})));
        assert_eq!(there(&said), ["a1 /ip4/127.0.0.1/tcp/9", "c3 /ip4/127.0.0.1/tcp/8"]);
    }

    #[test]
    fn what_is_saved_is_the_files() {
        let mut said = Said::new(config(&json!({"a1": "/tcp/1"})));
        let added = service(&said, "c3", "/tcp/3");
        said.add(added, json!("/tcp/3"), true);
        assert!(said.is_saved(&label("c3")));
        said.remove(&label("a1"), true);
        assert_eq!(there(&said), ["c3 /ip4/127.0.0.1/tcp/3"]);
        assert_eq!(said.removed().count(), 0);
    }

    #[test]
    fn a_service_of_the_file_that_cannot_be_with_an_added_one_is_refused() {
        let mut said = Said::new(config(&json!({})));
        let added = service(&said, "ai", "/tcp/3");
        said.add(added, json!("/tcp/3"), false);
        let said = said.reloaded(config(&json!({"ci": "/tcp/1"})));
        let error = said.registry(&said.config.peer_table()).expect_err("a collision").to_string();
        assert!(error.contains("ai") && error.contains("ci"), "{error}");
    }
}
