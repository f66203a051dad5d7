//! How a node is, as JSON.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hypertap_engine::services::admission::Dropped;
use hypertap_engine::services::local_ipv4::LocalService;
use hypertap_engine::services::peers::Peer;
use hypertap_engine::services::registry::Service;
use hypertap_mesh::{ConnectionStatus, PeerStatus};
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use serde_json::{Map, Value, json};

use crate::node::check::Finding;
use crate::node::reload::Running;
use crate::node::shard::ShardCounts;
use crate::node::state::Tables;

/// All of it.
pub fn node(running: &Running, counts: Option<ShardCounts>) -> Value {
    let node = &running.parts.node;
    let statuses = node.mesh.status();
    let mesh: HashMap<PeerId, &PeerStatus> = statuses.iter().map(|status| (status.id, status)).collect();
    let mut all = {
        let tables = node.tables();
        let own = tables.peers.own();
        let mut all = identity(own);
        let peers = tables.peers.peers().iter();
        let peers: Vec<Value> =
            peers.map(|peer| self::peer(peer, mesh.get(peer.id()).copied(), &tables).into()).collect();
        all.insert("peers".to_owned(), peers.into());
        all
    };
    let bootstrap: Vec<Value> = statuses
        .iter()
        .filter(|status| status.is_bootstrap)
        .map(|status| connections(status).into())
        .collect();
    let rest = json!({
        "kind": "node",
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "upSeconds": running.since.elapsed().as_secs(),
        "interface": running.interface,
        "config": running.path,
        "listening": node.mesh.listening(),
        "dns": {
            "zone": running.dns.zone,
            "address": running.dns.address.to_string(),
            "isAtPort53": running.dns.is_at_53,
        },
        "services": services_of_this_node(running),
        "bootstrap": bootstrap,
        "packets": packets(running),
        "programs": counts.map(programs),
    });
    all.extend(fields(rest));
    all.into()
}

/// What services there are.
pub fn services(running: &Running) -> Value {
    let node = &running.parts.node;
    let connected = node.connected();
    let offered: Vec<Value> = {
        let tables = node.tables();
        let peers = tables.peers.peers().iter();
        peers
            .map(|peer| {
                json!({
                    "id": peer.id(),
                    "name": peer.name(),
                    "isConnected": connected.contains(peer.id()),
                    "services": offered(peer, &tables),
                })
            })
            .collect()
    };
    let said = running.said();
    let removed: Vec<&Label> = said.removed().collect();
    let removed = json!(removed);
    drop(said);
    json!({
        "interface": running.interface,
        "services": services_of_this_node(running),
        "removedUntilRestart": removed,
        "peers": offered,
    })
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn identity(peer: &Peer) -> Map<String, Value> {
    fields(json!({
        "id": peer.id(),
        "name": peer.name(),
        "ipv4": peer.ipv4(),
        "ipv6": peer.ipv6(),
        "serviceNetwork": peer.node().service_net(),
        "routes": peer.routes(),
    }))
}

fn peer(peer: &Peer, status: Option<&PeerStatus>, tables: &Tables) -> Map<String, Value> {
    let mut all = identity(peer);
    all.insert("services".to_owned(), offered(peer, tables));
    all.extend(status.map(connections).unwrap_or_default());
    all
}

/// How a peer is connected.
fn connections(status: &PeerStatus) -> Map<String, Value> {
    let connections: Vec<Value> = status.connections.iter().map(connection).collect();
    fields(json!({
        "id": status.id,
        "isConnected": !connections.is_empty(),
        "connections": connections,
        "dialled": status.addresses,
        "lastError": status.last_error,
        "retryInSeconds": status.retry_in.map(|wait| wait.as_secs_f64()),
    }))
}

fn connection(connection: &ConnectionStatus) -> Value {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    json!({
        "address": connection.address,
        "transport": connection.transport.to_string(),
        "roundTripMilliseconds": connection.round_trip.map(milliseconds),
        "chosenBecause": connection.is_chosen.map(|why| why.to_string()),
        "streams": connection.streams,
        "refusedStreams": connection.refused_streams,
        "upSeconds": connection.up_for.as_secs(),
    })
}

/// The services that a peer has told of; null when it has not.
fn offered(peer: &Peer, tables: &Tables) -> Value {
    let Some(names) = tables.told.knows(peer.id()) else { return Value::Null };
    names.iter().map(|name| Value::from(addressed(peer, name, tables))).collect()
}

fn addressed(peer: &Peer, name: &Label, tables: &Tables) -> Map<String, Value> {
    let service = hypertap_wire::service_address::ServiceId::of(name);
    let local = LocalService { node: peer.node(), service, name: Some(name.clone()) };
    fields(json!({
        "name": name,
        "ipv6": peer.node().service_ipv6(service),
        "ipv4": tables.local_ipv4.address(&local),
    }))
}

fn services_of_this_node(running: &Running) -> Value {
    let checks = running.parts.node.checks.all();
    let services: Vec<(Service, Map<String, Value>)> = {
        let tables = running.parts.node.tables();
        let own = tables.peers.own();
        let services = tables.registry.services();
        services.map(|service| (service.clone(), addressed(own, &service.name, &tables))).collect()
    };
    let said = running.said();
    let describe = |(service, mut all): (Service, Map<String, Value>)| {
        let counts = running.parts.node.usage.counts(&service.name);
        let check = checks.iter().find(|check| check.service == service.name);
        all.extend(fields(json!({
            "target": service.target.to_string(),
            "isSaved": said.is_saved(&service.name),
            "isForAll": service.acl == hypertap_engine::services::acl::Acl::default(),
            "proxyProtocol": service.proxy_protocol,
            "connections": counts.open,
            "served": counts.served,
            "bytesToTarget": counts.to_target,
            "bytesFromTarget": counts.from_target,
        })));
        if let Some(check) = check {
            let is_good = match check.finding {
                Finding::Unknown => None,
                Finding::Good => Some(true),
                Finding::Failing(_) => Some(false),
            };
            let since = check.since.elapsed().as_secs();
            let check = json!({"isGood": is_good, "says": check.finding.to_string(), "sinceSeconds": since});
            all.insert("check".to_owned(), check);
        }
        Value::from(all)
    };
    services.into_iter().map(describe).collect()
}

fn packets(running: &Running) -> Value {
    let (counts, dropped) = (running.parts.packets.counts(), running.parts.packets.dropped());
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let cause = |cause: Dropped| match cause {
        Dropped::Malformed => "malformed",
        Dropped::UnknownPeer => "unknownPeer",
        Dropped::ForeignSource => "foreignSource",
        Dropped::ServiceAddress => "serviceAddress",
        Dropped::ForeignDestination => "foreignDestination",
    };
    let dropped: Map<String, Value> =
        Dropped::ALL.into_iter().map(|kind| (cause(kind).to_owned(), dropped.of(kind).into())).collect();
    json!({
        "toPeers": {
            "packets": of(&counts.sent),
            "dropped": {
                "tooLong": of(&counts.too_long),
                "queueFull": of(&counts.queue_full),
                "notConnected": of(&counts.not_connected),
            },
        },
        "fromPeers": { "packets": of(&counts.received), "dropped": dropped },
    })
}

/// What programs here have open, and what of theirs was dropped.
fn programs(counts: ShardCounts) -> Value {
    let ShardCounts { tcp, udp } = counts;
    json!({
        "connections": tcp.flows,
        "halfOpen": tcp.half_open,
        "bufferedBytes": tcp.buffered,
        "dropped": {
            "badSegments": tcp.bad_packets,
            "strayingSegments": tcp.strays,
            "refusedForRoom": tcp.refused_syns,
            "expiredBeforeAnswer": tcp.expired_syns,
            "noBuffers": tcp.no_buffers,
            "answers": tcp.dropped_answers,
            "badDatagrams": udp.bad,
            "datagramsWithoutFlow": udp.no_flow,
            "datagramsWithoutRoom": udp.no_room,
        },
    })
}
