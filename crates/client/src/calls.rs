//! The typed commands: what each sends, and how its reply is read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypertap_wire::command::Verb;
use hypertap_wire::event::{Event, Status};
use hypertap_wire::route::{format_route, parse_route};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Result, Violation};
use crate::protocol::read_event;

/// Packets, bytes and drops since the tunnel started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Stats {
    /// Packets that the machine routed into the tunnel.
    pub to_program: Traffic,
    /// Packets that the program sent.
    pub from_program: Traffic,
}

/// The counters of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Traffic {
    /// Packets that were passed on.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
    /// Packets that were dropped, by the name of the cause (docs/tunnel.md, "Data plane").
    pub dropped: BTreeMap<String, u64>,
}

/// The tunnel's routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Routes {
    /// What goes into the tunnel.
    pub included: Vec<IpNet>,
    /// What does not, even where an included route covers it.
    pub excluded: Vec<IpNet>,
}

/// An event, and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PastEvent {
    /// When, by the daemon's clock.
    pub at: SystemTime,
    /// What.
    pub event: Event,
}

/// A command with the reader of its reply.
pub(crate) struct Call<T> {
    pub(crate) verb: &'static str,
    pub(crate) fields: Map<String, Value>,
    reader: fn(&Map<String, Value>) -> Option<T>,
    /// What the reply should hold.
    field: &'static str,
}

impl<T> Call<T> {
    fn new(verb: Verb, field: &'static str, reader: fn(&Map<String, Value>) -> Option<T>) -> Self {
        Self { verb: verb.name(), fields: Map::new(), reader, field }
    }

    /// Reads the reply.
    ///
    /// # Errors
    /// [`Violation::Field`].
    pub(crate) fn read(&self, reply: &Map<String, Value>) -> Result<T> {
        (self.reader)(reply).ok_or_else(|| Violation::Field { verb: self.verb, field: self.field }.into())
    }
}

/// A command whose reply says nothing but that it was done.
pub(crate) fn plain(verb: Verb) -> Call<()> {
    Call::new(verb, "ok", |_| Some(()))
}

/// One of the four route commands.
pub(crate) fn change_routes(verb: Verb, nets: &[IpNet]) -> Call<()> {
    let mut call = plain(verb);
    call.fields.insert("routes".into(), nets.iter().map(format_route).collect());
    call
}

/// What the tunnel is doing.
pub(crate) fn status() -> Call<Status> {
    const ALL: [Status; 6] = [
        Status::Connected,
        Status::Disconnected,
        Status::Connecting,
        Status::Disconnecting,
        Status::Invalid,
        Status::Reasserting,
    ];
    Call::new(Verb::Status, "status", |reply| {
        let name = reply.get("status")?.as_str()?;
        ALL.into_iter().find(|status| status.name() == name)
    })
}

fn text(reply: &Map<String, Value>, field: &str) -> Option<String> {
    reply.get(field)?.as_str().map(str::to_owned)
}

/// The interface's name.
pub(crate) fn name() -> Call<String> {
    Call::new(Verb::GetName, "name", |reply| text(reply, "name"))
}

/// The daemon's version.
pub(crate) fn version() -> Call<String> {
    Call::new(Verb::ShowVersion, "version", |reply| text(reply, "version"))
}

/// The counters.
pub(crate) fn stats() -> Call<Stats> {
    Call::new(Verb::Stats, "stats", |reply| Stats::deserialize(reply.get("stats")?).ok())
}

/// The routes.
pub(crate) fn routes() -> Call<Routes> {
    fn list(reply: &Map<String, Value>, kind: &str) -> Option<Vec<IpNet>> {
        reply.get(kind)?.as_array()?.iter().map(|net| parse_route(net.as_str()?)).collect()
    }
    Call::new(Verb::Routes, "included", |reply| {
        Some(Routes { included: list(reply, "included")?, excluded: list(reply, "excluded")? })
    })
}

/// Whether an address goes into the tunnel.
pub(crate) fn is_in_tunnel(address: IpAddr) -> Call<bool> {
    let mut call = Call::new(Verb::Routes, "inTunnel", |reply| reply.get("inTunnel")?.as_bool());
    call.fields.insert("address".into(), address.to_string().into());
    call
}

/// The latest events. Those that this version does not know are left out.
pub(crate) fn events() -> Call<Vec<PastEvent>> {
    fn past(entry: &Value) -> Option<PastEvent> {
        let entry = entry.as_object()?;
        let since = Duration::try_from_secs_f64(entry.get("at")?.as_f64()?).ok()?;
        Some(PastEvent { at: UNIX_EPOCH.checked_add(since)?, event: read_event(entry)? })
    }
    Call::new(Verb::Events, "events", |reply| {
        Some(reply.get("events")?.as_array()?.iter().filter_map(past).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read<T>(call: &Call<T>, reply: Value) -> Option<T> {
        call.read(&serde_json::from_value(reply).expect("an object")).ok()
    }

    #[test]
    fn replies_are_read_whole() {
        assert_eq!(read(&status(), json!({"status": "reasserting"})), Some(Status::Reasserting));
        let reply = json!({"included": ["10.0.0.0/8", "fd00::1"], "excluded": []});
        let included = read(&routes(), reply).expect("routes").included;
        assert_eq!(included, ["10.0.0.0/8".parse().expect("a net"), "fd00::1/128".parse().expect("a net")]);
        let reply =
            json!({"stats": {"toProgram": {"packets": 4, "bytes": 600, "dropped": {"noReceiver": 10}}}});
        let got = read(&stats(), reply).expect("stats");
        assert_eq!((got.to_program.packets, got.to_program.dropped.get("noReceiver")), (4, Some(&10)));
        assert_eq!(got.from_program, Traffic::default());
        let reply = json!({"events": [{"at": 1.5, "event": "tunnelStarted"}, {"at": -1, "event": "tunnelStarted"}, 7]});
        let event = PastEvent { at: UNIX_EPOCH + Duration::from_millis(1500), event: Event::TunnelStarted };
        assert_eq!(read(&events(), reply), Some(vec![event]));
    }

    #[test]
    fn a_reply_that_says_something_else_is_a_violation() {
        assert_eq!(read(&status(), json!({"status": "flying"})), None);
        assert_eq!(read(&name(), json!({"name": 5})), None);
        assert_eq!(read(&routes(), json!({"included": ["x"], "excluded": []})), None);
        assert_eq!(read(&stats(), json!({"stats": {"toProgram": {"packets": "many"}}})), None);
        assert_eq!(read(&is_in_tunnel(IpAddr::from([1, 1, 1, 1])), json!({})), None);
    }

    #[test]
    fn routes_are_sent_as_the_daemon_reads_them() {
        let net: IpNet = "10.1.0.0/16".parse().expect("a net");
        let call = change_routes(Verb::AddExcludedRoutes, &[net]);
        assert_eq!(
            (call.verb, call.fields.get("routes")),
            ("addExcludedRoutes", Some(&json!(["10.1.0.0/16"])))
        );
    }
}
