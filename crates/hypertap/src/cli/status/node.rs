//! The nodes' part of `hypertap status`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Answers, words};
use crate::cli::node::ask;
use crate::cli::services::{peer_name, service_line};
use crate::exit::{Exit, Failure};
use crate::node::Request;
use crate::output::Output;

/// What nodes say, and why one of them does not, where it is not for this user or has too many clients. `is_named`: only those are meant.
///
/// # Errors
/// A named one does not answer.
pub fn ask_nodes<'a>(
    paths: &[&'a PathBuf],
    is_named: bool,
) -> Result<(Answers<'a>, Option<Failure>), Failure> {
    let (mut answers, mut closed) = (Vec::new(), None);
    for path in paths {
        match ask(path, &Request::Status) {
            Ok(answer) => answers.push((*path, answer)),
            Err(failure) if is_named => return Err(failure),
            Err(failure) if matches!(failure.exit, Exit::Right | Exit::Taken) => closed = Some(failure),
            Err(failure) => tracing::debug!("{}", failure.sentence()),
        }
    }
    Ok((answers, closed))
}

/// Prints what a node says.
pub fn print_node(out: &mut Output, path: &Path, answer: &Map<String, Value>) {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let part = |name: &str| answer.get(name).unwrap_or(&Value::Null);
    let up = words(part("upSeconds").as_u64().unwrap_or_default());
    out.line(format_args!("{} (node), version {}, up for {up}", path.display(), text("version")));
    out.line(format_args!("  id         {}", text("id")));
    if let Some(name) = part("name").as_str() {
        out.line(format_args!("  name       @{name}"));
    }
    out.line(format_args!("  interface  {}: {}, {}", text("interface"), text("ipv4"), text("ipv6")));
    out.line(format_args!("  config     {}", text("config")));
    for address in list(part("listening")).filter_map(Value::as_str) {
        out.line(format_args!("  listening  {address}"));
    }
    let dns = part("dns");
    let is_at_53 = if dns["isAtPort53"] == true { ", and port 53" } else { "" };
    let (zone, address) = (dns["zone"].as_str().unwrap_or("-"), dns["address"].as_str().unwrap_or("-"));
    out.line(format_args!("  names      {zone} at {address}{is_at_53}"));
    for (key, label) in [("toPeers", "to peers"), ("fromPeers", "from peers")] {
        print_packets(out, label, &part("packets")[key]);
    }
    let programs = part("programs");
    if let Some(open) = programs["connections"].as_u64() {
        out.line(format_args!("  programs   {open} connections{}", dropped(programs)));
    }
    let bootstrap: Vec<&Value> = list(part("bootstrap")).collect();
    if !bootstrap.is_empty() {
        let connected = bootstrap.iter().filter(|node| node["isConnected"] == true).count();
        out.line(format_args!("  bootstrap  {connected} of {} nodes connected", bootstrap.len()));
    }
    for (index, service) in list(part("services")).enumerate() {
        if index == 0 {
            out.line("  services");
        }
        service_line(out, service);
    }
    for peer in list(part("peers")) {
        print_peer(out, peer);
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn print_packets(out: &mut Output, label: &str, direction: &Value) {
    out.line(format_args!("  {label:<10} {} packets{}", direction["packets"], dropped(direction)));
}

/// What was dropped, by cause, in words.
fn dropped(of: &Value) -> String {
    let causes = of["dropped"].as_object().into_iter().flatten();
    let causes: Vec<String> =
        causes.filter(|(_, count)| **count != 0).map(|(cause, count)| format!("{count} {cause}")).collect();
    if causes.is_empty() { String::new() } else { format!(", dropped: {}", causes.join(", ")) }
}

fn print_peer(out: &mut Output, peer: &Value) {
    let id = peer["id"].as_str().unwrap_or("-");
    let name = peer_name(peer);
    let name = if name == id { String::new() } else { format!("{name} ") };
    let is_connected = if peer["isConnected"] == true { "connected" } else { "not connected" };
    out.line(format_args!("  peer       {name}{id}: {is_connected}"));
    let mut connections: Vec<&Value> = list(&peer["connections"]).collect();
    connections.sort_by_key(|connection| connection["chosenBecause"].is_null());
    for connection in connections {
        let round_trip = match connection["roundTripMilliseconds"].as_f64() {
            Some(time) => format!(", round trip {time:.1} ms"),
            None => String::new(),
        };
        let why = match connection["chosenBecause"].as_str() {
            Some(why) => format!("; chosen: {why}"),
            None => String::new(),
        };
        let (transport, address) = (&connection["transport"], &connection["address"]);
        out.line(format_args!(
            "    {:<8} {}{round_trip}, {} streams, up for {}{why}",
            transport.as_str().unwrap_or("-"),
            address.as_str().unwrap_or("-"),
            connection["streams"],
            words(connection["upSeconds"].as_u64().unwrap_or_default()),
        ));
    }
    if let Some(error) = peer["lastError"].as_str() {
        let retry = peer["retryInSeconds"].as_f64();
        let retry = retry.map(|wait| format!("; tried again in {wait:.0} s")).unwrap_or_default();
        out.line(format_args!("    last error: {error}{retry}"));
    }
    if peer["isConnected"] == false && list(&peer["dialled"]).next().is_none() {
        out.line("    no address is known to dial it at");
    }
    if let Some(services) = peer["services"].as_array().filter(|services| !services.is_empty()) {
        let names: Vec<&str> = services.iter().filter_map(|service| service["name"].as_str()).collect();
        out.line(format_args!("    offers {}", names.join(", ")));
    }
}
