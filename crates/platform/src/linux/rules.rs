//! The rules that lead into the tunnel's routing tables.
//!
//! Each tunnel has a *slot*: two routing tables and ten rule priorities that nothing else on the
//! machine uses. In it, for IPv4 and IPv6 alike (ip-rule(8)):
//!
//! ```text
//! 20000  fwmark BYPASS goto 20009         sockets that are let past the tunnel
//! 20001  iif lo ipproto udp dport 53 lookup D    while DNS is captured
//! 20002  iif lo ipproto tcp dport 53 lookup D    while DNS is captured
//! 20003  lookup T                         the included and excluded routes
//! 20004  ipproto udp dport 53 nop         while DNS is captured, IPv4 alone
//! 20009  nop                              where the bypass lands
//! ```
//!
//! To rules, whatever this machine sends itself comes in by `lo`; what it forwards for others does not, and
//! their DNS queries are not captured. An answer that comes out of the tunnel passes the kernel's reverse path
//! filter where the rules lead to its sender by the tunnel. For that the kernel has to look for ports in what comes
//! in, and does so only while a rule that is not for `lo` has ports: hence 20004, which does nothing else.
//!
//! The next slot's rules follow at 20010, and the machine's main table is looked up after them
//! all, at 32766. A slot is claimed by making its last rule, which the kernel refuses to make
//! twice, so that two programs that choose at the same moment cannot both have it.
//!
//! Two settings of a machine get in the way. `rp_filter=1` drops what comes back to a bypassing
//! socket, since the way back is looked up without its mark (2, or 0, do not). And
//! systemd-networkd, when it starts, removes the rules of others unless its
//! `ManageForeignRoutingPolicyRules=` is `no`: they are put back ([`restore`]), a moment later.

mod slot;

use std::io;
use std::ops::RangeInclusive;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};

pub(crate) use self::slot::{Slot, priorities_of, tables_of};
use super::netlink::{Netlink, gone_is_fine, is_no_family};
use super::routes;
use crate::privileged::Footprint;

/// Marks our rules and routes as made by us: a number that rtnetlink(7) leaves to administrators
/// and that iproute2's list of protocols does not use.
pub(crate) const PROTOCOL: RouteProtocol = RouteProtocol::Other(104);
/// Both families, in the order in which things are made.
pub(crate) const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// Where a packet of this machine's own comes in.
const LOOPBACK: &str = "lo";

/// A slot's priorities in use, by their number in it.
const BYPASS: u32 = 0;
const DNS_UDP: u32 = 1;
const DNS_TCP: u32 = 2;
const ROUTES: u32 = 3;
const PORTS: u32 = 4;
const END: u32 = 9;

/// The rules of the machine, as far as slots are concerned.
pub(crate) struct Census(Vec<Rule>);

#[derive(PartialEq, Eq)]
struct Rule {
    family: AddressFamily,
    priority: u32,
    table: u32,
    ours: bool,
}

impl Census {
    /// Reads them.
    pub(crate) fn take(netlink: &mut Netlink) -> io::Result<Self> {
        let mut rules = Vec::new();
        for family in FAMILIES {
            let mut message = RuleMessage::default();
            message.header.family = family;
            let dump = match netlink.dump(&RouteNetlinkMessage::GetRule(message)) {
                Err(error) if is_no_family(&error) => continue,
                other => other?,
            };
            rules.extend(dump.iter().filter_map(|message| match message {
                RouteNetlinkMessage::NewRule(rule) if rule.header.family == family => Some(Rule::of(rule)),
                _ => None,
            }));
        }
        Ok(Self(rules))
    }

    /// Whether no rule has one of the slot's priorities or leads to one of its tables, and its
    /// tables are empty.
    pub(crate) fn has_free(&self, netlink: &mut Netlink, slot: Slot) -> io::Result<bool> {
        let tables = [slot.routes_table(), slot.dns_table()];
        let used = self
            .0
            .iter()
            .any(|rule| slot.priorities().contains(&rule.priority) || tables.contains(&rule.table));
        if used {
            return Ok(false);
        }
        for table in tables {
            if !routes::is_empty(netlink, table)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Rule {
    fn of(message: &RuleMessage) -> Self {
        let mut rule = Self {
            family: message.header.family,
            priority: 0,
            table: message.header.table.into(),
            ours: false,
        };
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Priority(priority) => rule.priority = *priority,
                RuleAttribute::Table(table) => rule.table = *table,
                RuleAttribute::Protocol(protocol) => rule.ours = *protocol == PROTOCOL,
                _ => {}
            }
        }
        rule
    }
}

/// Claims a slot that looked free, whole or not at all. `EEXIST` when somebody else was faster.
pub(crate) fn claim(netlink: &mut Netlink, slot: Slot) -> io::Result<()> {
    let [first, second] = ends(slot);
    add(netlink, first.clone())?;
    add(netlink, second).map(drop).inspect_err(|_| {
        // Made a moment ago, by us; should this fail, a rule that does nothing is left.
        let _ = netlink.request(RouteNetlinkMessage::DelRule(first), 0);
    })
}

/// Adds the rules of a claimed slot. A `bypass_mark` of 0, which is every other socket's, lets
/// nothing past.
pub(crate) fn add_base(netlink: &mut Netlink, slot: Slot, bypass_mark: u32) -> io::Result<()> {
    base(slot, bypass_mark).into_iter().try_for_each(|message| add(netlink, message).map(drop))
}

/// Adds the rules that send DNS queries to the slot's DNS table.
pub(crate) fn add_dns(netlink: &mut Netlink, slot: Slot) -> io::Result<()> {
    dns(slot).into_iter().try_for_each(|message| add(netlink, message).map(drop))
}

/// Adds those rules of a claimed slot that are not there, and says how many were added. `with_dns`
/// says whether those of DNS are among them.
pub(crate) fn restore(
    netlink: &mut Netlink,
    slot: Slot,
    bypass_mark: u32,
    with_dns: bool,
) -> io::Result<usize> {
    let there = Census::take(netlink)?;
    let mut wanted = ends(slot).to_vec();
    wanted.extend(base(slot, bypass_mark));
    wanted.extend(with_dns.then(|| dns(slot)).into_iter().flatten());
    let mut added = 0;
    for message in wanted {
        if !there.0.contains(&Rule::of(&message)) && add(netlink, message)? {
            added += 1;
        }
    }
    Ok(added)
}

/// Where the bypass lands.
fn ends(slot: Slot) -> [RuleMessage; 2] {
    FAMILIES.map(|family| rule(family, slot.priority(END), RuleAction::Nop, Vec::new()))
}

/// The bypass, where there is one, before the tunnel's own routes, so that nothing that carries the
/// tunnel is ever sent into it.
fn base(slot: Slot, bypass_mark: u32) -> Vec<RuleMessage> {
    let bypass = |family| {
        let attributes = vec![
            RuleAttribute::FwMark(bypass_mark),
            RuleAttribute::FwMask(u32::MAX),
            RuleAttribute::Goto(slot.priority(END)),
        ];
        rule(family, slot.priority(BYPASS), RuleAction::Goto, attributes)
    };
    let routes = |family| {
        let attributes = vec![RuleAttribute::Table(slot.routes_table())];
        rule(family, slot.priority(ROUTES), RuleAction::ToTable, attributes)
    };
    let bypasses = FAMILIES.into_iter().filter(|_| bypass_mark != 0).map(bypass);
    bypasses.chain(FAMILIES.map(routes)).collect()
}

fn dns(slot: Slot) -> Vec<RuleMessage> {
    let both = [(DNS_UDP, IpProtocol::Udp), (DNS_TCP, IpProtocol::Tcp)];
    let one = |family, (which, protocol)| {
        let attributes = vec![
            RuleAttribute::Iifname(LOOPBACK.to_owned()),
            RuleAttribute::IpProtocol(protocol),
            RuleAttribute::DestinationPortRange(RulePortRange { start: 53, end: 53 }),
            RuleAttribute::Table(slot.dns_table()),
        ];
        rule(family, slot.priority(which), RuleAction::ToTable, attributes)
    };
    let look_for_ports = {
        let attributes = vec![
            RuleAttribute::IpProtocol(IpProtocol::Udp),
            RuleAttribute::DestinationPortRange(RulePortRange { start: 53, end: 53 }),
        ];
        rule(AddressFamily::Inet, slot.priority(PORTS), RuleAction::Nop, attributes)
    };
    // IPv6 has no such filter.
    let capture = FAMILIES.into_iter().flat_map(|family| both.map(|pair| one(family, pair)));
    std::iter::once(look_for_ports).chain(capture).collect()
}

/// Whether there is any rule of ours with a tunnel's priorities.
pub(crate) fn are_there(netlink: &mut Netlink, footprint: Footprint) -> io::Result<bool> {
    let priorities = priorities_of(footprint);
    Ok(Census::take(netlink)?.0.iter().any(|rule| rule.ours && priorities.contains(&rule.priority)))
}

/// Removes the rules that [`add_dns`] added, as far as they are there, and says how many were.
pub(crate) fn remove_dns(netlink: &mut Netlink, slot: Slot) -> io::Result<usize> {
    let captures = remove(netlink, slot, &(slot.priority(DNS_UDP)..=slot.priority(DNS_TCP)))?;
    Ok(captures + remove(netlink, slot, &(slot.priority(PORTS)..=slot.priority(PORTS)))?)
}

/// Removes all the slot's rules, as far as they are there and ours, and says how many were.
pub(crate) fn remove_all(netlink: &mut Netlink, slot: Slot) -> io::Result<usize> {
    remove(netlink, slot, &slot.priorities())
}

fn remove(netlink: &mut Netlink, slot: Slot, priorities: &RangeInclusive<u32>) -> io::Result<usize> {
    let census = Census::take(netlink)?;
    let mut removed = 0;
    for found in census.0.iter().filter(|rule| rule.ours && priorities.contains(&rule.priority)) {
        // Without an action any matches; a goto would have to be given with its target.
        let mut message = rule(found.family, found.priority, RuleAction::Unspec, Vec::new());
        if [slot.routes_table(), slot.dns_table()].contains(&found.table) {
            message.attributes.push(RuleAttribute::Table(found.table));
        }
        gone_is_fine(netlink.request(RouteNetlinkMessage::DelRule(message), 0))?;
        removed += 1;
    }
    Ok(removed)
}

fn rule(
    family: AddressFamily,
    priority: u32,
    action: RuleAction,
    attributes: Vec<RuleAttribute>,
) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family;
    message.header.action = action;
    message.attributes = attributes;
    message.attributes.extend([RuleAttribute::Priority(priority), RuleAttribute::Protocol(PROTOCOL)]);
    message
}

/// Adds a rule; one of IPv6 on a machine without it is left out, which `false` says.
fn add(netlink: &mut Netlink, message: RuleMessage) -> io::Result<bool> {
    let is_ipv6 = message.header.family == AddressFamily::Inet6;
    match netlink.request(RouteNetlinkMessage::NewRule(message), NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if is_ipv6 && is_no_family(&error) => Ok(false),
        other => other.map(|()| true),
    }
}
