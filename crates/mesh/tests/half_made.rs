//! QUIC connections that are begun and never made.
#![allow(clippy::disallowed_methods, reason = "tasks end with the test's runtime")]

mod fixture;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fixture::{PATIENCE, QUIC, eventually, settings, start};
use libp2p::multiaddr::Protocol;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::RootCertStore;
use quinn::{ClientConfig, Endpoint, rustls};
use tokio::net::UdpSocket;

/// A client of QUIC that hears no answer, as one that gives another's address.
struct Strangers {
    endpoint: Endpoint,
    config: ClientConfig,
    relay: SocketAddr,
    retries: Arc<AtomicUsize>,
}

impl Strangers {
    async fn new(node: SocketAddr) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("it has TLS 1.3");
        let mut tls = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        tls.alpn_protocols = vec![b"libp2p".to_vec()];
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("it has a cipher")));
        let bind = || UdpSocket::bind("127.0.0.1:0");
        let (near, far) = (bind().await.expect("a port is free"), bind().await.expect("a port is free"));
        far.connect(node).await.expect("it is there");
        let relay = near.local_addr().expect("it is bound");
        let retries = Arc::new(AtomicUsize::new(0));
        tokio::spawn(pass_no_answer(near, far, Arc::clone(&retries)));
        let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        Self { endpoint, config, relay, retries }
    }

    /// Begins so many connections; what is returned holds them.
    fn begin(&self, count: usize) -> Vec<quinn::Connecting> {
        let begin = |_| self.endpoint.connect_with(self.config.clone(), self.relay, "l");
        (0..count).map(begin).collect::<Result<_, _>>().expect("they can be begun")
    }
}

async fn pass_no_answer(near: UdpSocket, far: UdpSocket, retries: Arc<AtomicUsize>) {
    let (mut question, mut answer) = ([0; 2048], [0; 2048]);
    loop {
        tokio::select! {
            Ok(len) = near.recv(&mut question) => {
                far.send(&question[..len]).await.expect("it is there");
            }
            Ok(_) = far.recv(&mut answer) => {
                // A long header of the type Retry (RFC 9000, section 17.2.5).
                retries.fetch_add(usize::from(answer[0] & 0xf0 == 0xf0), Ordering::Relaxed);
            }
        }
    }
}

/// Resident memory of this process, which the node is in, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is said");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

#[tokio::test]
async fn connections_that_are_never_made_cost_little_and_keep_no_peer_out() {
    let one = start(settings(1, &[QUIC], &[2])).await;
    let listening = one.mesh.listening();
    let mut parts = listening[0].iter();
    let (Some(Protocol::Ip4(ip)), Some(Protocol::Udp(port))) = (parts.next(), parts.next()) else {
        panic!("{listening:?}");
    };
    let node = SocketAddr::from((ip, port));
    let strangers = Strangers::new(node).await;
    let before = resident();
    let _begun = strangers.begin(400);
    eventually("all but the first are asked where they are", || {
        strangers.retries.load(Ordering::Relaxed) > 300
    })
    .await;
    let more = resident().saturating_sub(before);
    assert!(more < 60 << 20, "{more} bytes");

    // A peer says where it is.
    let mut two = settings(2, &[], &[]);
    two.peers = vec![one.as_peer()];
    let two = start(two).await;
    assert!(two.mesh.wait_connected(&one.id, PATIENCE).await);
}
