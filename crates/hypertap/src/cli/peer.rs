//! `hypertap peer`: the list of peers in a node's configuration.

use std::io::{Read, stdin};
use std::path::Path;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use hypertap_engine::services::peers::Peer as Node;
use hypertap_wire::peer_id::PeerId;
use serde_json::{Value, json};

use super::config::ConfigPlace;
use crate::config::{self, Config, Put};
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// How much of standard input is read.
const MAX_INPUT: u64 = 1 << 20;

/// Add, remove or list the peers of a services node
#[derive(Args, Clone, Debug)]
pub struct PeerArgs {
    #[command(subcommand)]
    command: PeerCommand,
}

/// What is done with the list.
#[derive(Clone, Debug, Subcommand)]
enum PeerCommand {
    Add(AddArgs),
    Remove(RemoveArgs),
    List(ListArgs),
}

/// Add a peer, or update the one with that id
///
/// Of a peer that is in the list already, what the line says takes the place of what was there, and what the
/// line does not say stays. A line that would make the configuration bad changes nothing.
#[derive(Args, Clone, Debug)]
struct AddArgs {
    /// What `hypertap init` prints on the peer, as in {"id":"12D3KooW…","name":"gate"}; - reads standard input
    line: String,

    #[command(flatten)]
    rest: Rest,
}

/// Remove a peer
#[derive(Args, Clone, Debug)]
struct RemoveArgs {
    /// Which one: @NAME, or the beginning of its id
    #[arg(value_name = "PEER")]
    reference: String,

    #[command(flatten)]
    rest: Rest,
}

/// List the peers and their addresses in the network
#[derive(Args, Clone, Debug)]
struct ListArgs {
    #[command(flatten)]
    rest: Rest,
}

#[derive(Args, Clone, Debug)]
struct Rest {
    #[command(flatten)]
    place: ConfigPlace,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Changes or prints the list.
///
/// # Errors
/// The line, the reference or the configuration is bad, or the file cannot be written. It is as it was then.
pub fn run(args: &PeerArgs) -> Result<(), Failure> {
    match &args.command {
        PeerCommand::Add(args) => add(args),
        PeerCommand::Remove(args) => remove(args),
        PeerCommand::List(args) => list(args),
    }
}

fn usage(text: String) -> Failure {
    Failure::new(Exit::Usage, anyhow!(text))
}

fn add(args: &AddArgs) -> Result<(), Failure> {
    let mut line = args.line.clone();
    if line == "-" {
        line.clear();
        stdin().take(MAX_INPUT).read_to_string(&mut line).context("standard input")?;
    }
    let peer =
        config::peer_form(&line).map_err(|faults| usage(config::listed("the peer's line", &faults)))?;
    let id = peer.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let path = args.rest.place.path();
    let put = config::edit(&path, |config, _| Ok(config::put_peer(config, peer)))?;
    let done = match put {
        Put::Added => "added",
        Put::Updated => "updated",
        Put::Unchanged => "unchanged",
    };
    say(done, &id, &path, args.rest.json)
}

fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let path = args.rest.place.path();
    let id = config::edit(&path, |config, before| {
        let peers = before.peer_table();
        let peer = peers.reference(&args.reference).map_err(|error| usage(error.to_string()))?;
        if config::remove_peer(config, peer.id()) {
            Ok(*peer.id())
        } else {
            Err(usage(format!("{:?} is this node itself, which is not in the list", args.reference)))
        }
    })?;
    say("removed", &id.to_string(), &path, args.rest.json)
}

fn say(done: &str, id: &str, path: &Path, as_json: bool) -> Result<(), Failure> {
    let mut out = Output::standard();
    let path = path.display();
    if as_json {
        out.json(&json!({ "done": done, "id": id, "config": path.to_string() }))?;
    } else if done == "unchanged" {
        out.line(format_args!("{path} has {id} as it is already"));
    } else {
        out.line(format_args!("{done} {id} in {path}"));
    }
    out.finish()
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let config = config::load(&args.rest.place.path())?;
    let peers = config.peer_table();
    let mut out = Output::standard();
    if args.rest.json {
        let list: Vec<Value> = peers.peers().iter().map(|peer| to_json(peer, &config)).collect();
        out.json(&list)?;
    } else {
        for peer in peers.peers() {
            print(&mut out, peer, &config);
        }
    }
    out.finish()
}

fn to_json(peer: &Node, config: &Config) -> Value {
    json!({
        "id": peer.id(),
        "name": peer.name(),
        "ipv4": peer.ipv4(),
        "ipv6": peer.ipv6(),
        "services": peer.node().service_net(),
        "routes": peer.routes(),
        "addresses": dialled(config, peer.id()),
    })
}

fn print(out: &mut Output, peer: &Node, config: &Config) {
    let name = peer.name().map(|name| format!("@{name} ")).unwrap_or_default();
    out.line(format_args!("{name}{}", peer.id()));
    out.line(format_args!("  node      {}, {}", peer.ipv4(), peer.ipv6()));
    out.line(format_args!("  services  {}", peer.node().service_net()));
    for route in peer.routes() {
        out.line(format_args!("  route     {route}"));
    }
    for address in dialled(config, peer.id()) {
        out.line(format_args!("  dialled   {address}"));
    }
}

fn dialled(config: &Config, id: &PeerId) -> Vec<String> {
    let peer = config.peers.iter().find(|peer| peer.id == *id);
    peer.into_iter().flat_map(|peer| &peer.addresses).map(ToString::to_string).collect()
}
