//! `hypertap init`: a configuration with a new identity, and the line that tells others of this node.

use std::net::IpAddr;

use anyhow::Context;
use clap::Args;
use hypertap_platform::link::reachable_addresses;
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::is_inside;
use multiaddr::{Multiaddr, Protocol};
use nix::unistd::gethostname;
use serde::Serialize;
use serde_json::{Map, json};

use super::config::ConfigPlace;
use crate::config::{self, Config};
use crate::exit::Failure;
use crate::log;
use crate::output::Output;

/// Make the configuration of a services node, and print the line that others take
///
/// The file gets a new private key, and its owner alone may read it. Where there is one already it stays as it
/// is. In either case the line for the other machines' lists of peers is printed: this node's id, name
/// and addresses. `hypertap peer add` takes it there.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    #[command(flatten)]
    place: ConfigPlace,

    /// What others call this node; a new configuration keeps it [default: its name in the list of peers, or this machine's]
    #[arg(long, value_name = "NAME", value_parser = label)]
    name: Option<Label>,
}

const EXAMPLES: &str = "\
Examples:
  sudo hypertap init
  sudo hypertap init --name gate | ssh other sudo hypertap peer add -
  hypertap init --config ./node.json";

/// What others are told.
#[derive(Serialize)]
struct Line {
    id: PeerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Label>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Multiaddr>,
}

/// A name on the command line.
fn label(text: &str) -> Result<Label, String> {
    Label::new(text).map_err(|error| error.to_string())
}

/// Makes the file, if there is none, and prints the line.
///
/// # Errors
/// A file that is there and is bad, or that cannot be made.
pub fn run(args: &InitArgs) -> Result<(), Failure> {
    let path = args.place.path();
    let is_new = !path.try_exists().with_context(|| format!("cannot look at {}", path.display()))?;
    if is_new {
        let key = config::generate().context("cannot make a key")?;
        let own = args.name.iter().map(|name| json!({ "id": key.peer_id(), "name": name }));
        let peers: Vec<_> = own.collect();
        let content = json!({ "privateKey": key.to_multibase(), "peers": peers, "services": {} });
        config::create(&path, content.as_object().unwrap_or(&Map::new()))?;
    }
    let config = config::load(&path)?;
    let path = path.display();
    let here = if is_new { format!("made {path}") } else { format!("{path} was there, and is unchanged") };
    log::complain(format_args!("{here}; `hypertap peer add` on the other machines takes this line:"));
    let line = Line {
        id: config.private_key.peer_id(),
        name: args.name.clone().or_else(|| config.name.clone()).or_else(machine_name),
        addresses: addresses(
            &config,
            &reachable_addresses().context("cannot list this machine's addresses")?,
        ),
    };
    let mut out = Output::standard();
    out.line(serde_json::to_string(&line).context("JSON")?);
    out.finish()
}

/// This machine's name, if it has one that tells it from others.
fn machine_name() -> Option<Label> {
    let name = gethostname().ok()?.into_string().ok()?;
    let label = Label::new(name.split('.').next()?).ok()?;
    (label.as_str() != "localhost").then_some(label)
}

/// Where others may dial: each address that is listened at, with those of `machine` for all of a family.
fn addresses(config: &Config, machine: &[IpAddr]) -> Vec<Multiaddr> {
    let is_outside = |ip: &IpAddr| {
        let is_local = matches!(ip, IpAddr::V4(ip) if config.local_services_ipv4.contains(ip));
        !is_local && !is_inside(*ip)
    };
    let machine: Vec<IpAddr> = machine.iter().copied().filter(is_outside).collect();
    let mut found = Vec::new();
    for address in &config.listen_addresses {
        let has_port = address.iter().all(|part| !matches!(part, Protocol::Tcp(0) | Protocol::Udp(0)));
        let at = match address.iter().next() {
            Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
            Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
            _ => continue,
        };
        let is_meant = |ip: &&IpAddr| **ip == at || (at.is_unspecified() && ip.is_ipv4() == at.is_ipv4());
        let here = machine.iter().filter(is_meant).filter(|_| has_port);
        found.extend(here.filter_map(|ip| address.replace(0, |_| Some(Protocol::from(*ip)))));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(listen: &[&str], machine: &[&str]) -> Vec<String> {
        let key = config::generate().expect("random").to_multibase();
        let text = json!({ "privateKey": key, "listenAddresses": listen }).to_string();
        let config = config::parse(&text, |_| unreachable!()).expect("good").config;
        let machine: Vec<IpAddr> = machine.iter().map(|ip| ip.parse().expect("an address")).collect();
        addresses(&config, &machine).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn others_are_told_the_machines_addresses_where_it_listens_at_all() {
        let listen = ["/ip4/0.0.0.0/tcp/8001", "/ip4/0.0.0.0/udp/8001/quic-v1", "/ip6/::/tcp/9"];
        assert_eq!(
            found(&listen, &["192.0.2.1", "2001:db8::1"]),
            ["/ip4/192.0.2.1/tcp/8001", "/ip4/192.0.2.1/udp/8001/quic-v1", "/ip6/2001:db8::1/tcp/9"]
        );
    }

    #[test]
    fn others_are_told_no_address_that_is_not_the_machines_or_inside_a_tunnel_and_no_unknown_port() {
        let machine = ["192.0.2.1", "100.64.1.2", "198.18.0.1", "fd00:6879:7072:7370:6163:6500::1"];
        let listen = [
            "/ip4/192.0.2.1/tcp/1",
            "/ip4/192.0.2.2/tcp/2",
            "/ip4/127.0.0.1/tcp/3",
            "/ip4/0.0.0.0/tcp/0",
            "/ip6/::/tcp/4",
        ];
        assert_eq!(found(&listen, &machine), ["/ip4/192.0.2.1/tcp/1"]);
    }
}
