//! This node's services: read, and changed in the file.

use std::collections::BTreeMap;
use std::time::Duration;

use hypertap_engine::services::acl::{Acl, AclSettings};
use hypertap_engine::services::peers::PeerTable;
use hypertap_engine::services::registry::Service;
use hypertap_wire::label::Label;
use hypertap_wire::target::{Target, TargetPort};
use serde_json::{Map, Value};

use super::fault::{Fault, Faults, element, key};
use super::form::{self, AclForm, FullServiceForm, ServiceForm};

/// From one try of a target to the next, unless told otherwise.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The services that are as they should be, each by itself. References are not looked up without `peers`.
pub(super) fn read(
    forms: BTreeMap<String, ServiceForm>,
    peers: Option<&PeerTable>,
    faults: &mut Faults,
) -> Vec<Service> {
    let services = forms.into_iter();
    let mut services: Vec<Service> =
        services.filter_map(|(name, form)| read_one(&name, form, peers, faults)).collect();
    services.sort_by(|one, other| one.name.cmp(&other.name));
    services
}

/// A service by its name and what the configuration would say of it.
///
/// # Errors
/// All its faults.
pub fn one(name: &str, value: Value, peers: &PeerTable) -> Result<Service, Vec<Fault>> {
    let form = form::service(&key("services", name), value)?;
    let mut faults = Faults::default();
    let service = read_one(name, form, Some(peers), &mut faults);
    Ok(faults.finish(service)?.0)
}

/// Puts a service into a configuration, in the place of one of that name, or takes it out.
pub fn put(config: &mut Map<String, Value>, name: &Label, service: Option<Value>) {
    let services = config.entry("services").or_insert(Value::Null);
    if !services.is_object() {
        *services = Value::Object(Map::new());
    }
    let services = services.as_object_mut().expect("it was made one");
    let there = services.keys().find(|there| Label::new(there).as_ref() == Ok(name)).cloned();
    match (service, there) {
        (Some(service), there) => {
            services.insert(there.unwrap_or_else(|| name.to_string()), service);
        }
        (None, Some(there)) => {
            services.shift_remove(&there);
        }
        (None, None) => {}
    }
}

fn read_one(
    text: &str,
    form: ServiceForm,
    peers: Option<&PeerTable>,
    faults: &mut Faults,
) -> Option<Service> {
    let at = key("services", text);
    let name =
        Label::new(text).map_err(|error| faults.add_key(&at, format_args!("of the name, {error}"))).ok();
    let (form, target_at) = match form {
        ServiceForm::Target(target) => (FullServiceForm::of(target), at.clone()),
        ServiceForm::Full(form) => (form, key(&at, "target")),
    };
    let target: Option<Target> = faults.take(&target_at, &form.target, form.target.parse());
    let acl = form.acl.map(|acl| read_acl(acl, &key(&at, "acl"), peers, faults)).unwrap_or_default();
    let proxy_protocol = form.proxy_protocol.unwrap_or(false);
    let check_interval = form.check.map(|check| {
        check.interval_seconds.map_or(CHECK_INTERVAL, |seconds| Duration::from_secs(seconds.into()))
    });
    let target = target?;
    if proxy_protocol && matches!(target, Target::Udp(..)) {
        faults.add_key(&key(&at, "proxyProtocol"), "no UDP target is told so: leave it out");
    }
    if check_interval.is_some() && !can_be_tried(&target) {
        let text =
            "only a target with a port of its own can be tried, by TCP, or a Unix socket: leave it out";
        faults.add_key(&key(&at, "check"), text);
    }
    Some(Service { name: name?, target, acl, proxy_protocol, check_interval })
}

fn can_be_tried(target: &Target) -> bool {
    matches!(target, Target::Tcp(_, TargetPort::Fixed(_)) | Target::Unix(_))
}

fn read_acl(form: AclForm, at: &str, peers: Option<&PeerTable>, faults: &mut Faults) -> Acl {
    let settings = AclSettings {
        enable_whitelist: form.enable_whitelist.unwrap_or(false),
        whitelist: form.whitelist.unwrap_or_default(),
        blacklist: form.blacklist.unwrap_or_default(),
    };
    if !settings.enable_whitelist && !settings.whitelist.is_empty() {
        let text =
            "the list counts for nothing, as enableWhitelist is not true: all peers may use the service";
        faults.warn(&key(at, "whitelist"), text);
    }
    let Some(peers) = peers else { return Acl::default() };
    let mut is_good = true;
    for (list, references) in [("whitelist", &settings.whitelist), ("blacklist", &settings.blacklist)] {
        for (index, text) in references.iter().enumerate() {
            let found = peers.reference(text).map_err(|error| error.problem);
            is_good &= faults.take(&element(&key(at, list), index), text, found).is_some();
        }
    }
    if is_good { Acl::resolve(&settings, peers).unwrap_or_default() } else { Acl::default() }
}

impl FullServiceForm {
    fn of(target: String) -> Self {
        Self { target, acl: None, proxy_protocol: None, check: None }
    }
}
