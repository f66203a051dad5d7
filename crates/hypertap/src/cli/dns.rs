//! `hypertap dns`: what to tell the machine's resolver, so that it asks a services node for its names.

use std::fmt::Write as _;
use std::net::SocketAddrV4;

use clap::{Args, ValueEnum};
use hypertap_engine::zone::{Suffix, reverse_zones};
use hypertap_wire::service_address::dns_listener;

use super::config::ConfigPlace;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::output::Output;

const EXAMPLES: &str = "\
Where systemd-resolved runs, `hypertap up` tells it, and nothing is to be done.

Examples:
  sudo hypertap dns
  sudo hypertap dns dnsmasq | sudo tee /etc/dnsmasq.d/hypertap.conf";

/// Print what makes this machine's resolver ask a services node for its names
///
/// The lines are for the zone of the node's names and those of its addresses (reverse lookups). They
/// follow from the configuration and the interface's name; the node need not run, and nothing is changed.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DnsArgs {
    /// The resolver to print the lines for, and no other
    #[arg(value_enum)]
    resolver: Option<Resolver>,

    #[command(flatten)]
    place: ConfigPlace,
}

/// A resolver whose configuration is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Resolver {
    Resolved,
    Dnsmasq,
    Unbound,
    Coredns,
    ResolvConf,
}

/// Prints.
///
/// # Errors
/// What is wrong with the configuration.
pub fn run(args: &DnsArgs) -> Result<(), Failure> {
    let config = config::load(&args.place.path())?;
    let interface = args.place.interface();
    let suffix = Suffix::new(interface, &config.domain).map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut zones = vec![suffix.to_string()];
    zones.extend(reverse_zones(&config.peer_table()));
    let names = Names { interface, server: dns_listener(interface), zones: &zones };
    let chosen = args.resolver.map_or(Resolver::value_variants().to_vec(), |resolver| vec![resolver]);
    let all: Vec<String> = chosen.into_iter().map(|resolver| names.lines(resolver)).collect();
    let mut out = Output::standard();
    out.line(all.join("\n").trim_end());
    out.finish()
}

/// What is served, and where.
struct Names<'a> {
    interface: &'a str,
    server: SocketAddrV4,
    /// With the dot at the end; that of names first.
    zones: &'a [String],
}

impl Names<'_> {
    /// The lines for a resolver, with a comment that says where they belong.
    fn lines(&self, resolver: Resolver) -> String {
        let Self { interface, server, zones } = *self;
        let (address, port) = (server.ip(), server.port());
        let without_dot = || zones.iter().map(|zone| zone.trim_end_matches('.'));
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = match resolver {
            Resolver::Resolved => {
                let zones: Vec<String> = without_dot().map(|zone| format!("'~{zone}'")).collect();
                write!(
                    text,
                    "# systemd-resolved: run as root each time when the node is up, unless it did so itself\n\
                     resolvectl dns {interface} {server}\n\
                     resolvectl domain {interface} {}\n\
                     resolvectl default-route {interface} no\n\
                     resolvectl dnssec {interface} no\n\
                     resolvectl dnsovertls {interface} no\n\
                     resolvectl llmnr {interface} no\n\
                     resolvectl mdns {interface} no\n",
                    zones.join(" ")
                )
            }
            Resolver::Dnsmasq => {
                let _ = writeln!(text, "# dnsmasq: /etc/dnsmasq.d/{interface}.conf");
                without_dot().take(1).for_each(|zone| {
                    let _ = writeln!(text, "rebind-domain-ok=/{zone}/");
                });
                without_dot().try_for_each(|zone| writeln!(text, "server=/{zone}/{address}#{port}"))
            }
            Resolver::Unbound => {
                let _ = writeln!(
                    text,
                    "# unbound: /etc/unbound/unbound.conf.d/{interface}.conf\n\
                     server:\n    do-not-query-localhost: no"
                );
                for (at, zone) in zones.iter().enumerate() {
                    let _ = writeln!(text, "    domain-insecure: \"{zone}\"");
                    let _ = match at {
                        0 => writeln!(text, "    private-domain: \"{zone}\""),
                        _ => writeln!(text, "    local-zone: \"{zone}\" transparent"),
                    };
                }
                zones.iter().try_for_each(|zone| {
                    writeln!(text, "stub-zone:\n    name: \"{zone}\"\n    stub-addr: {address}@{port}")
                })
            }
            Resolver::Coredns => writeln!(
                text,
                "# CoreDNS: a block of the Corefile\n{} {{\n    forward . {server}\n}}",
                without_dot().collect::<Vec<_>>().join(" ")
            ),
            Resolver::ResolvConf => writeln!(
                text,
                "# /etc/resolv.conf: the first of its lines, where the node has port 53 (its log says so if not).\n\
                 # It refuses all other names, so that the next server is asked for them.\n\
                 nameserver {address}"
            ),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resolver_is_told_of_every_zone_and_where_it_is() {
        let zones = ["hs0.hyprspace.", "64.100.in-addr.arpa."].map(str::to_owned);
        let names = Names { interface: "hs0", server: dns_listener("hs0"), zones: &zones };
        for (resolver, lines) in [
            (Resolver::Resolved, "resolvectl dns hs0 127.56.114.5:20647"),
            (Resolver::Resolved, "resolvectl domain hs0 '~hs0.hyprspace' '~64.100.in-addr.arpa'"),
            (
                Resolver::Dnsmasq,
                "rebind-domain-ok=/hs0.hyprspace/\n\
                 server=/hs0.hyprspace/127.56.114.5#20647\n\
                 server=/64.100.in-addr.arpa/127.56.114.5#20647\n",
            ),
            (
                Resolver::Unbound,
                "    domain-insecure: \"hs0.hyprspace.\"\n    private-domain: \"hs0.hyprspace.\"\n    \
                     domain-insecure: \"64.100.in-addr.arpa.\"\n    local-zone: \"64.100.in-addr.arpa.\" transparent\n\
                 stub-zone:\n    name: \"hs0.hyprspace.\"\n    stub-addr: 127.56.114.5@20647\n",
            ),
            (Resolver::Coredns, "hs0.hyprspace 64.100.in-addr.arpa {\n    forward . 127.56.114.5:20647\n}\n"),
            (Resolver::ResolvConf, "\nnameserver 127.56.114.5\n"),
        ] {
            let text = names.lines(resolver);
            assert!(text.contains(lines) && text.starts_with("# "), "{text}");
        }
    }
}
