//! `hypertap services`: what a running node offers and is offered.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::node::NodePlace;
use crate::exit::Failure;
use crate::node::Request;
use crate::output::Output;

/// List, add or remove services of a running node
///
/// Without a command: the services of this node, and those that its peers offer it, with their addresses. A peer that
/// does not tell its services, as a Hyprspace node, may have any: `NAME.PEER` resolves, and connecting shows.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ServicesArgs {
    #[command(subcommand)]
    command: Option<ServicesCommand>,

    #[command(flatten)]
    place: NodePlace,

    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  sudo hypertap services
  sudo hypertap services add web /tcp/8080
  sudo hypertap services add db /unix/run/db.sock --allow @gate --save
  sudo hypertap services remove web --save";

/// What is done.
#[derive(Clone, Debug, Subcommand)]
enum ServicesCommand {
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Add a service at once
#[derive(Args, Clone, Debug)]
struct AddArgs {
    /// Its name
    name: String,

    /// Where its connections go: [/ip4/A|/ip6/A|/dns/NAME]/tcp/PORT, …/tcp/*, …/udp/PORT or /unix/PATH
    target: String,

    /// Only this peer may use it: @NAME, or the beginning of its id; may be given several times
    #[arg(long, value_name = "PEER")]
    allow: Vec<String>,

    /// This peer may not use it; may be given several times
    #[arg(long, value_name = "PEER")]
    deny: Vec<String>,

    /// Tell the target who connects, by PROXY protocol v2
    #[arg(long)]
    proxy_protocol: bool,

    /// Try the target every so many seconds, and refuse connections while it fails
    #[arg(long, value_name = "SECONDS")]
    check: Option<u32>,

    /// Put it into the configuration, too; else it is there until the node is started again
    #[arg(long)]
    save: bool,
}

/// Remove a service at once, and cut its connections
#[derive(Args, Clone, Debug)]
struct RemoveArgs {
    /// Its name
    name: String,

    /// Take it out of the configuration, too; else it is there again when the node is started again
    #[arg(long)]
    save: bool,
}

/// Asks the node.
///
/// # Errors
/// No node answers, or why it changed nothing.
pub fn run(args: &ServicesArgs) -> Result<(), Failure> {
    let mut out = Output::standard();
    let request = match &args.command {
        None => Request::Services,
        Some(ServicesCommand::Add(add)) => {
            Request::AddService { name: add.name.clone(), service: add.form(), save: add.save }
        }
        Some(ServicesCommand::Remove(remove)) => {
            Request::RemoveService { name: remove.name.clone(), save: remove.save }
        }
    };
    let answer = args.place.ask(&request)?;
    if args.json {
        out.json(&answer)?;
        return out.finish();
    }
    let cut = cut(answer.get("cut").and_then(Value::as_u64).unwrap_or_default());
    match request {
        Request::AddService { name, save: true, .. } => {
            out.line(format_args!("added {name}, and saved{cut}"))
        }
        Request::AddService { name, .. } if answer.get("isNew") == Some(&Value::Bool(false)) => {
            out.line(format_args!("{name} is there already, as it is to be"));
        }
        Request::AddService { name, .. } => {
            out.line(format_args!("added {name} until the node is started again; --save keeps it"));
        }
        Request::RemoveService { name, save: true } => {
            out.line(format_args!("removed {name}, and saved{cut}"))
        }
        Request::RemoveService { name, .. } => {
            out.line(format_args!("removed {name} until the node is started again{cut}"));
        }
        _ => list(&mut out, &answer),
    }
    out.finish()
}

/// How many connections were cut, in words.
pub fn cut(number: u64) -> String {
    match number {
        0 => String::new(),
        1 => "; 1 connection was cut".to_owned(),
        number => format!("; {number} connections were cut"),
    }
}

impl AddArgs {
    /// The service as in the configuration; in the short form where there is nothing but the target to say.
    fn form(&self) -> Value {
        let mut form = Map::new();
        if !self.allow.is_empty() || !self.deny.is_empty() {
            let mut acl = Map::new();
            if !self.allow.is_empty() {
                acl.insert("enableWhitelist".to_owned(), true.into());
                acl.insert("whitelist".to_owned(), json!(self.allow));
            }
            if !self.deny.is_empty() {
                acl.insert("blacklist".to_owned(), json!(self.deny));
            }
            form.insert("acl".to_owned(), acl.into());
        }
        if self.proxy_protocol {
            form.insert("proxyProtocol".to_owned(), true.into());
        }
        if let Some(seconds) = self.check {
            form.insert("check".to_owned(), json!({ "intervalSeconds": seconds }));
        }
        if form.is_empty() {
            return self.target.clone().into();
        }
        let mut whole = Map::new();
        whole.insert("target".to_owned(), self.target.clone().into());
        whole.extend(form);
        whole.into()
    }
}

/// Entries of a list.
fn all<'a>(of: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    of.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn list(out: &mut Output, answer: &Map<String, Value>) {
    out.line("this node");
    if all(answer, "services").next().is_none() {
        out.line("  no services; `hypertap services add NAME TARGET` adds one");
    }
    for service in all(answer, "services") {
        service_line(out, service);
    }
    for name in all(answer, "removedUntilRestart").filter_map(Value::as_str) {
        out.line(format_args!("  {name:<15} removed until the node is started again"));
    }
    for peer in all(answer, "peers") {
        let gone = if peer["isConnected"] == true { "" } else { ", not connected" };
        out.line(format_args!("{}{gone}", peer_name(peer)));
        match peer["services"].as_array() {
            None if gone.is_empty() => {
                out.line("  does not tell its services: any may be there, and connecting shows");
            }
            None => out.line("  has not told its services"),
            Some(services) if services.is_empty() => out.line("  offers nothing to this node"),
            Some(services) => services.iter().for_each(|service| out.line(address_line(service))),
        }
    }
}

/// A peer as people call it.
pub fn peer_name(peer: &Value) -> String {
    match peer["name"].as_str() {
        Some(name) => format!("@{name}"),
        None => peer["id"].as_str().unwrap_or("-").to_owned(),
    }
}

fn address_line(service: &Value) -> String {
    let name = service["name"].as_str().unwrap_or("-");
    let ipv4 = service["ipv4"].as_str().map(|ipv4| format!(", {ipv4}")).unwrap_or_default();
    format!("  {name:<15} {}{ipv4}", service["ipv6"].as_str().unwrap_or("-"))
}

/// A service of this node, on two lines.
pub fn service_line(out: &mut Output, service: &Value) {
    out.line(address_line(service));
    let number = |name: &str| service[name].as_u64().unwrap_or_default();
    let mut says = vec![
        format!("→ {}", service["target"].as_str().unwrap_or("-")),
        format!("{} open, {} served", number("connections"), number("served")),
        format!("{} bytes to it, {} from it", number("bytesToTarget"), number("bytesFromTarget")),
    ];
    if let Some(check) = service["check"]["says"].as_str() {
        says.push(format!("check {check}"));
    }
    if service["isForAll"] == false {
        says.push("not for all peers".to_owned());
    }
    if service["isSaved"] == false {
        says.push("not saved".to_owned());
    }
    out.line(format_args!("  {:<15} {}", "", says.join("; ")));
}
