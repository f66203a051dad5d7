//! What a configuration means, once its form is right: values that mean something, and together too.

use std::io;
use std::path::Path;

use hypertap_engine::services::peers::PeerTable;
use hypertap_engine::services::registry::{Registry, RegistryError};
use hypertap_wire::peer_id::PrivateKey;
use hypertap_wire::service_address::LOCAL_SERVICES_IPV4;
use ipnet::Ipv4Net;
use multiaddr::Multiaddr;

use super::fault::{Fault, Faults, element};
use super::form::{Form, LimitsForm};
use super::{Config, Limits, Parsed, Peer, addresses, key, peers, services};

/// What names of nodes end with, unless told otherwise.
const DOMAIN: &str = "hyprspace";

/// What a form means; `key_file` as for [`super::parse`].
///
/// # Errors
/// Every value that means nothing, all services that cannot be told apart, of those that are right otherwise, and
/// the first two such peers.
pub(super) fn of(
    form: Form,
    key_file: impl FnOnce(&Path) -> io::Result<String>,
) -> Result<Parsed, Vec<Fault>> {
    let mut faults = Faults::default();
    let key = key::choose(form.private_key, form.private_key_file, key_file, &mut faults);
    let local = match form.local_service_network {
        Some(text) => faults.take("localServiceNetwork", &text, addresses::local_network(&text)),
        None => Some(LOCAL_SERVICES_IPV4),
    };
    let peers = peers::read(form.peers.unwrap_or_default(), &mut faults);
    let table = table(key.as_ref(), &peers, local.unwrap_or(LOCAL_SERVICES_IPV4), &mut faults);
    let services = services::read(form.services.unwrap_or_default(), table.as_ref(), &mut faults);
    let mut registry = Registry::default();
    for error in services.iter().filter_map(|service| registry.add(service.clone()).err()) {
        let is_last = matches!(error, RegistryError::TooMany(_));
        faults.add_key("services", error);
        if is_last {
            break;
        }
    }
    let mut list = |at, texts: Option<Vec<String>>, default: fn() -> _, read: fn(&str) -> _| {
        texts.map_or_else(default, |texts| multiaddrs(at, &texts, read, &mut faults))
    };
    let listen_addresses =
        list("listenAddresses", form.listen_addresses, addresses::default_listen, addresses::listen);
    let bootstrap_peers =
        list("bootstrapPeers", form.bootstrap_peers, addresses::default_bootstrap, addresses::bootstrap);
    let domain = form.domain.filter(|domain| !domain.is_empty()).unwrap_or_else(|| DOMAIN.to_owned());
    let domain = faults.take("domain", &domain, addresses::domain(&domain));
    let made = (|| {
        let (private_key, local_services_ipv4, domain) = (key?, local?, domain?);
        let (own, others) = peers.into_iter().partition::<Vec<_>, _>(|peer| peer.id == private_key.peer_id());
        let (name, routes) = own.into_iter().next().map(|own| (own.name, own.routes)).unwrap_or_default();
        Some(Config {
            private_key,
            name,
            routes,
            peers: others,
            services,
            listen_addresses,
            bootstrap_peers,
            domain,
            filter_private_addresses: form.filter_private_addresses.unwrap_or(false),
            local_services_ipv4,
            limits: limits(&form.limits.unwrap_or_default()),
        })
    })();
    let (config, warnings) = faults.finish(made)?;
    Ok(Parsed { config, warnings })
}

/// This node and its peers, unless they cannot be told apart.
fn table(key: Option<&PrivateKey>, peers: &[Peer], local: Ipv4Net, faults: &mut Faults) -> Option<PeerTable> {
    let table = PeerTable::new(key?.peer_id(), None, peers.iter().map(Peer::entry), local);
    table.map_err(|error| faults.add_key("peers", error)).ok()
}

fn multiaddrs(
    at: &str,
    texts: &[String],
    read: impl Fn(&str) -> Result<Multiaddr, addresses::AddressError>,
    faults: &mut Faults,
) -> Vec<Multiaddr> {
    let mut found = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let address = faults.take(&element(at, index), text, read(text));
        found.extend(address.filter(|address| !found.contains(address)));
    }
    found
}

fn limits(form: &LimitsForm) -> Limits {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        connections: size(form.connections.unwrap_or(1 << 17)),
        buffered: size(form.buffer_mebibytes.unwrap_or(512)).saturating_mul(1 << 20),
    }
}
