//! Capture of DNS queries, and the way around it.

#[path = "dns/bypass.rs"]
mod bypass;
#[path = "dns/capture.rs"]
mod capture;

use std::net::SocketAddr;

use hypertap_tests::machine::{RESOLVER, RESOLVER6, Uplink};
use hypertap_tests::{Client, UdpProgram, json};

/// A tunnel for both versions of IP, on a machine with resolvers to reach; with the program at its end.
fn connected(client: &mut Client) -> (Uplink, UdpProgram) {
    let uplink = Uplink::connect();
    let program = UdpProgram::bind();
    client.start_with(json!({"myIPv6Address": "fd00::5"}));
    (uplink, program)
}

fn resolvers() -> [SocketAddr; 2] {
    [format!("{RESOLVER}:53"), format!("[{RESOLVER6}]:53")].map(|text| text.parse().expect("an address"))
}
