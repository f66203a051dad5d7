//! The form of a configuration's text: which keys there are and what kind of value each has.
//!
//! The schema that editors get is made of these types, and so is what is checked ([`structure`]).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::duplicates;
use super::fault::{Fault, Faults};
use super::structure;

/// A node of hypertap's services network.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(title = "hypertap's services network")]
pub(super) struct Form {
    /// The node's Ed25519 private key in libp2p's protobuf, as multibase base58btc: what `hypertap keygen`
    /// prints. Either this or privateKeyFile.
    pub(super) private_key: Option<String>,
    /// A file with such a key and nothing else. A relative path begins at the configuration's folder.
    pub(super) private_key_file: Option<String>,
    /// The other nodes. This node itself may be among them, so that all can have the same list.
    pub(super) peers: Option<Vec<PeerForm>>,
    /// What this node offers, by name: a target, or an object with more.
    pub(super) services: Option<BTreeMap<String, ServiceForm>>,
    /// Where peers may connect: [/ip4/A|/ip6/A]/tcp/PORT and …/udp/PORT/quic-v1. By default port 8001 of both,
    /// at every address.
    pub(super) listen_addresses: Option<Vec<String>>,
    /// Where the public network is entered: multiaddrs that end with /p2p/ID. By default libp2p's own.
    pub(super) bootstrap_peers: Option<Vec<String>>,
    /// What names of nodes end with; "hyprspace" by default.
    pub(super) domain: Option<String>,
    /// Leave private, link-local and loopback addresses that peers tell of alone; false by default.
    pub(super) filter_private_addresses: Option<bool>,
    /// The IPv4 network that services have addresses in on this machine, for programs without IPv6;
    /// 198.18.0.0/15 by default.
    pub(super) local_service_network: Option<String>,
    /// Bounds.
    pub(super) limits: Option<LimitsForm>,
}

/// Another node.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PeerForm {
    /// Its peer id, as in 12D3KooW….
    pub(super) id: String,
    /// What it is called here.
    pub(super) name: Option<String>,
    /// Networks behind it, which are reached through it.
    pub(super) routes: Option<Vec<RouteForm>>,
    /// Multiaddrs where it can be dialled, besides those that are found.
    pub(super) addresses: Option<Vec<String>>,
}

/// A network behind a peer.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RouteForm {
    /// Address and prefix length, as in 10.10.0.0/16.
    pub(super) net: String,
}

/// A service: its target, or an object with more.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ServiceForm {
    /// Where its connections go, as in /tcp/8080.
    Target(String),
    /// With all there is to say.
    Full(FullServiceForm),
}

/// A service with all there is to say.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FullServiceForm {
    /// Where its connections go: [/ip4/A|/ip6/A|/dns/NAME]/tcp/PORT, …/tcp/*, …/udp/PORT or /unix/PATH. Without a
    /// host it is 127.0.0.1; `tcp/*` is the port that the client asked for.
    pub(super) target: String,
    /// Which peers may use it; all by default.
    pub(super) acl: Option<AclForm>,
    /// Tell the target who connects, by PROXY protocol v2; false by default.
    pub(super) proxy_protocol: Option<bool>,
    /// Try the target again and again, and refuse connections while it fails.
    pub(super) check: Option<CheckForm>,
}

/// Which peers may use a service. A reference is @NAME or the beginning of a peer id that only one peer has.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct AclForm {
    /// Only those on the whitelist may; false by default.
    pub(super) enable_whitelist: Option<bool>,
    /// References of peers that may.
    pub(super) whitelist: Option<Vec<String>>,
    /// References of peers that may not, also when they are on the whitelist.
    pub(super) blacklist: Option<Vec<String>>,
}

/// How a target is tried.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct CheckForm {
    /// Seconds from one try to the next; 10 by default.
    #[schemars(range(min = 1, max = 86_400))]
    pub(super) interval_seconds: Option<u32>,
}

/// Bounds of what the node keeps for its users.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct LimitsForm {
    /// Connections to services at once, also unfinished ones; 131072 by default.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(super) connections: Option<u32>,
    /// Mebibytes that all of them together may buffer; 512 by default.
    #[schemars(range(min = 1, max = 65_536))]
    pub(super) buffer_mebibytes: Option<u32>,
}

/// The JSON schema (draft 2020-12) of a configuration.
pub fn schema() -> Value {
    schema_of::<Form>()
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// A text as JSON.
///
/// # Errors
/// That it is none, or the keys that are there twice.
pub fn json(text: &str) -> Result<Value, Vec<Fault>> {
    let mut faults = Faults::default();
    let value = serde_json::from_str(text);
    match &value {
        Ok(_) => duplicates::find(text, &mut faults),
        Err(error) => faults.add_key("", format_args!("it is not JSON: {error}")),
    }
    Ok(faults.finish(value.ok())?.0)
}

/// A whole configuration.
///
/// # Errors
/// All that is not of its form.
pub(super) fn read(value: Value) -> Result<Form, Vec<Fault>> {
    checked("", value)
}

/// A service.
///
/// # Errors
/// All that is not of its form, by its path from `at`.
pub(super) fn service(at: &str, value: Value) -> Result<ServiceForm, Vec<Fault>> {
    checked(at, value)
}

/// A peer of the list, as the object that it is. Of what its values mean nothing is said.
///
/// # Errors
/// All that is not of its form.
pub fn peer(text: &str) -> Result<Map<String, Value>, Vec<Fault>> {
    let value = json(text)?;
    let _: PeerForm = checked("", value.clone())?;
    match value {
        Value::Object(peer) => Ok(peer),
        _ => Ok(Map::new()),
    }
}

fn checked<T: JsonSchema + DeserializeOwned>(at: &str, value: Value) -> Result<T, Vec<Fault>> {
    let mut faults = Faults::default();
    structure::check(&schema_of::<T>(), &value, at, &mut faults);
    let ((), _) = faults.finish(Some(()))?;
    let form = serde_json::from_value(value);
    form.map_err(|error| vec![Fault { path: at.to_owned(), value: None, problem: error.to_string() }])
}
