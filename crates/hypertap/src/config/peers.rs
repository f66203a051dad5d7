//! The list of peers: read, and changed in the file.

use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use ipnet::IpNet;
use serde_json::{Map, Value};

use super::Peer;
use super::addresses;
use super::fault::{Faults, element, key};
use super::form::PeerForm;

/// The peers that are as they should be, each by itself; this node may be among them.
pub(super) fn read(forms: Vec<PeerForm>, faults: &mut Faults) -> Vec<Peer> {
    let peers = forms.into_iter().enumerate();
    peers.filter_map(|(index, form)| read_one(form, &element("peers", index), faults)).collect()
}

fn read_one(form: PeerForm, at: &str, faults: &mut Faults) -> Option<Peer> {
    let name = form.name.filter(|name| !name.is_empty());
    let name = name.and_then(|text| faults.take(&key(at, "name"), &text, name_of(&text)));
    let routes = form.routes.unwrap_or_default().into_iter().enumerate();
    let routes = routes.filter_map(|(index, route)| {
        let at = key(&element(&key(at, "routes"), index), "net");
        faults.take(&at, &route.net, network(&route.net))
    });
    let mut routes: Vec<IpNet> = routes.collect();
    routes.sort_unstable();
    routes.dedup();
    let id: PeerId = faults.take(&key(at, "id"), &form.id, form.id.parse())?;
    let addresses = form.addresses.unwrap_or_default().into_iter().enumerate();
    let addresses = addresses.filter_map(|(index, text)| {
        let at = element(&key(at, "addresses"), index);
        faults.take(&at, &text, addresses::of_peer(&text, &id))
    });
    Some(Peer { id, name, routes, addresses: addresses.collect() })
}

fn name_of(text: &str) -> Result<Label, String> {
    // Under an id only its own node is found.
    if text.parse::<PeerId>().is_ok() {
        return Err("it is a peer id, and no name: leave the name out".to_owned());
    }
    Label::new(text).map_err(|error| error.to_string())
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    let net: IpNet = text.parse().map_err(|_| "it is no network: expected one as in 10.10.0.0/16")?;
    Ok(net.trunc())
}

/// What came of putting a peer into the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new there.
    Added,
    /// It was there, and is another now.
    Updated,
    /// It was there as it is.
    Unchanged,
}

/// Puts a peer, of the form that a peer has, into a configuration. What is said of one that is there already takes
/// the place of what was; what is not said stays.
pub fn put(config: &mut Map<String, Value>, peer: Map<String, Value>) -> Put {
    let id = id_of(&Value::Object(peer.clone()));
    let peers = list(config);
    let there = peers.iter_mut().find(|entry| id.is_some() && id_of(entry) == id);
    let Some(Value::Object(there)) = there else {
        peers.push(Value::Object(peer));
        return Put::Added;
    };
    let before = there.clone();
    // However the id is written, it stays so.
    there.extend(peer.into_iter().filter(|(name, _)| name != "id"));
    if *there == before { Put::Unchanged } else { Put::Updated }
}

/// Takes a peer out of a configuration and says whether it was there.
pub fn remove(config: &mut Map<String, Value>, id: &PeerId) -> bool {
    let peers = list(config);
    let before = peers.len();
    peers.retain(|entry| id_of(entry).as_ref() != Some(id));
    peers.len() < before
}

fn id_of(entry: &Value) -> Option<PeerId> {
    entry["id"].as_str()?.parse().ok()
}

fn list(config: &mut Map<String, Value>) -> &mut Vec<Value> {
    let peers = config.entry("peers").or_insert(Value::Null);
    if !peers.is_array() {
        *peers = Value::Array(Vec::new());
    }
    peers.as_array_mut().expect("it was made one")
}
