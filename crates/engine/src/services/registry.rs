//! The services that this node has.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::ServiceId;
use hypertap_wire::service_stream::{MAX_NAMES, ServiceNames};
use hypertap_wire::target::Target;

use super::acl::Acl;

/// A service of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it is called.
    pub name: Label,
    /// Where its connections go.
    pub target: Target,
    /// Who may use it.
    pub acl: Acl,
    /// Whether the target is told by PROXY protocol who its client is.
    pub proxy_protocol: bool,
    /// How often the target is checked, when it is.
    pub check_interval: Option<Duration>,
}

/// Why a service is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is one of that name.
    #[error("the service {0} is there already: remove one of the two")]
    SameName(Label),
    /// Two names give one service id, and so one address.
    #[error("the services {first} and {second} have one service id, {id}: rename one of the two")]
    SameId {
        /// The one that is there.
        first: Label,
        /// The one that comes.
        second: Label,
        /// What both names give.
        id: ServiceId,
    },
    /// More than peers can be told of.
    #[error("the service {0} is one too many: a node has at most {MAX_NAMES}")]
    TooMany(Label),
}

/// This node's services, by name and by id.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    services: BTreeMap<Label, Service>,
    by_id: HashMap<ServiceId, Label>,
}

impl Service {
    /// A service for every peer, without PROXY protocol and check.
    pub fn new(name: Label, target: Target) -> Self {
        Self { name, target, acl: Acl::default(), proxy_protocol: false, check_interval: None }
    }

    /// What stands for it in addresses and openings.
    pub fn id(&self) -> ServiceId {
        ServiceId::of(&self.name)
    }
}

impl Registry {
    /// A registry with these services.
    ///
    /// # Errors
    /// Two of them that cannot be told apart, or too many.
    pub fn new(services: impl IntoIterator<Item = Service>) -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        services.into_iter().try_for_each(|service| registry.add(service))?;
        Ok(registry)
    }

    /// Adds a service.
    ///
    /// # Errors
    /// It cannot be told from one that is there, or is one too many; nothing is changed then.
    pub fn add(&mut self, service: Service) -> Result<(), RegistryError> {
        let id = service.id();
        if self.services.contains_key(&service.name) {
            return Err(RegistryError::SameName(service.name));
        }
        if let Some(first) = self.by_id.get(&id) {
            return Err(RegistryError::SameId { first: first.clone(), second: service.name, id });
        }
        if self.services.len() >= MAX_NAMES {
            return Err(RegistryError::TooMany(service.name));
        }
        self.by_id.insert(id, service.name.clone());
        self.services.insert(service.name.clone(), service);
        Ok(())
    }

    /// Removes a service and returns it, if there was one of that name.
    pub fn remove(&mut self, name: &Label) -> Option<Service> {
        let service = self.services.remove(name)?;
        self.by_id.remove(&service.id());
        Some(service)
    }

    /// The service that a stream's opening asks for: by id, and by name if it gives one.
    pub fn find(&self, id: ServiceId, name: Option<&Label>) -> Option<&Service> {
        let found = self.by_id.get(&id)?;
        if name.is_some_and(|name| name != found) {
            return None;
        }
        self.services.get(found)
    }

    /// The service of that name.
    pub fn by_name(&self, name: &Label) -> Option<&Service> {
        self.services.get(name)
    }

    /// All services, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// What a peer is to be told: the names of those that it may use, in order.
    #[allow(clippy::missing_panics_doc, reason = "`add` keeps to the limit")]
    pub fn names_for(&self, peer: &PeerId) -> ServiceNames {
        let permitted = self.services().filter(|service| service.acl.permits(peer));
        ServiceNames::new(permitted.map(|service| service.name.clone()).collect())
            .expect("there are never more than MAX_NAMES")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::acl::AclSettings;
    use crate::services::samples::{FIRST, SECOND, id, label, table};

    fn service(name: &str) -> Service {
        Service::new(label(name), "/tcp/8080".parse().expect("a target"))
    }

    fn registry(names: &[&str]) -> Result<Registry, RegistryError> {
        Registry::new(names.iter().map(|name| service(name)))
    }

    #[test]
    fn a_service_is_found_by_its_id_and_by_its_name_if_one_is_given() {
        let registry = registry(&["web", "ssh", "ai"]).expect("distinct");
        let web = service("web");
        assert_eq!(web.id(), ServiceId([0x3b, 0x9b]));
        assert_eq!(registry.find(web.id(), None), Some(&web));
        assert_eq!(registry.find(web.id(), Some(&label("WEB"))), Some(&web));
        assert_eq!(registry.find(web.id(), Some(&label("ssh"))), None);
        assert_eq!(registry.find(service("ai").id(), Some(&label("ci"))), None, "same id, another name");
        assert_eq!(registry.find(service("example").id(), None), None);
    }

    #[test]
    fn two_names_with_one_id_are_refused_naming_both() {
        for names in [["ai", "ci"], ["chat", "ldap"], ["hass", "k8s"], ["k8s", "pass"], ["paperless", "www"]]
        {
            let error = registry(&names).expect_err("a collision").to_string();
            assert!(names.iter().all(|name| error.contains(name)), "{error}");
        }
        assert_eq!(registry(&["web", "Web"]).expect_err("twice"), RegistryError::SameName(label("web")));
    }

    #[test]
    fn services_come_and_go() {
        let mut registry = registry(&["ai"]).expect("one");
        assert!(registry.add(service("ci")).is_err());
        assert_eq!(registry.services().count(), 1);
        assert_eq!(registry.remove(&label("ai")), Some(service("ai")));
        assert_eq!(registry.remove(&label("ai")), None);
        registry.add(service("ci")).expect("its id is free");
        assert_eq!(registry.find(service("ai").id(), None), Some(&service("ci")));
    }

    #[test]
    fn a_node_has_no_more_services_than_a_peer_can_be_told_of() {
        let mut registry = Registry::default();
        for number in 0.. {
            match registry.add(service(&format!("s{number}"))) {
                Ok(()) | Err(RegistryError::SameId { .. }) => {}
                Err(error) => {
                    assert_eq!(error, RegistryError::TooMany(label(&format!("s{number}"))));
                    break;
                }
            }
        }
        assert_eq!(registry.services().count(), MAX_NAMES);
        assert_eq!(registry.names_for(&id(SECOND)).names().len(), MAX_NAMES);
    }

    #[test]
    fn a_peer_is_told_of_what_it_may_use() {
        let settings = AclSettings { blacklist: vec!["@bob".to_owned()], ..AclSettings::default() };
        let acl = Acl::resolve(&settings, &table()).expect("bob is there");
        let services = [service("web"), Service { acl, ..service("ssh") }, service("db")];
        let registry = Registry::new(services).expect("distinct");
        assert_eq!(registry.names_for(&id(SECOND)).names(), [label("db"), label("web")]);
        assert_eq!(registry.names_for(&id(FIRST)).names(), [label("db"), label("ssh"), label("web")]);
    }
}
