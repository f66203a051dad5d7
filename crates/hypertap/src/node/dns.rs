//! The node's DNS server: names of nodes and services, for this machine's programs.
//!
//! It listens on the loopback interface alone, at an address and a port that follow from the interface's
//! name, and at port 53 of that address where that is allowed: resolv.conf(5) cannot name a port. What
//! is answered is the engine's [`Zone`]; here are the sockets. Each answer is made at once from the node's
//! tables, so no client waits for another.

mod datagrams;
mod listening;
mod resolver;
mod streams;

use std::sync::Arc;

use hypertap_engine::zone::{Suffix, Transport, Zone, reverse_zones};
use hypertap_platform::node_link::NodeLink;
use hypertap_platform::resolver::NodeNames;
use hypertap_wire::label::Label;
use tokio::task::JoinSet;

pub use self::listening::Listening;
use self::resolver::Resolver;
use super::local_addresses::LocalAddresses;
use super::state::{Node, Tables};

/// The longest query that is taken, in bytes. Those that there are have some 100.
const MAX_QUERY: usize = 4096;

/// The server, until it is dropped.
pub struct Dns {
    answers: Arc<Answers>,
    resolver: Resolver,
    tasks: JoinSet<()>,
}

impl Dns {
    /// Serves a node's names to this machine, and has its resolver ask here. To be called in a runtime.
    pub fn start(
        node: &Arc<Node>,
        suffix: Suffix,
        addresses: LocalAddresses,
        listening: Listening,
        link: &NodeLink,
    ) -> Self {
        let mut zones = vec![suffix.to_string()];
        zones.extend(reverse_zones(&node.tables().peers));
        let resolver = Resolver::tell(NodeNames {
            index: link.index(),
            interface: link.name().to_owned(),
            server: listening.address,
            is_at_53: listening.is_at_53,
            zones,
        });
        let answers = Arc::new(Answers { node: Arc::clone(node), suffix, addresses: Arc::new(addresses) });
        let mut tasks = JoinSet::new();
        for socket in listening.datagrams {
            tasks.spawn(datagrams::serve(socket, Arc::clone(&answers)));
        }
        for listener in listening.streams {
            tasks.spawn(streams::serve(listener, Arc::clone(&answers)));
        }
        tasks.spawn(Arc::clone(&answers.addresses).keep(Arc::clone(node)));
        Self { answers, resolver, tasks }
    }

    /// Leaves the machine's resolver as it was, and writes down what was given. A resolver that does not
    /// answer takes 10 s, more than a node's end has; what is written a moment.
    pub async fn end(self) {
        let Self { answers, mut resolver, mut tasks } = self;
        let written = async {
            tasks.shutdown().await;
            answers.addresses.write(&answers.node).await;
        };
        tokio::join!(resolver.end(), written);
    }
}

/// What answers are made of.
struct Answers {
    node: Arc<Node>,
    suffix: Suffix,
    addresses: Arc<LocalAddresses>,
}

impl Answers {
    /// The answer to a query. `None` when there is none.
    fn answer(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let (hostname, now) = (hostname(), self.node.age());
        let mut tables = self.node.tables();
        let Tables { peers, registry, told, local_ipv4, .. } = &mut *tables;
        let before = local_ipv4.revision();
        let (suffix, hostname) = (&self.suffix, hostname.as_ref());
        let mut zone = Zone { suffix, hostname, peers, registry, told, local_ipv4, now };
        let answer = zone.answer(query, transport);
        if tables.local_ipv4.revision() != before {
            self.addresses.given();
        }
        answer
    }
}

/// The first label of this machine's host name, which may change at any time.
fn hostname() -> Option<Label> {
    let name = nix::unistd::gethostname().ok()?;
    Label::new(name.to_str()?.split('.').next()?).ok()
}
