//! A node of the network that the test is itself: what is on its streams are the test's own bytes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use hypertap_mesh::{InboundStreams, Mesh, MeshSettings, MeshStream, PeerSettings};
use hypertap_tests::TIME;
use hypertap_wire::peer_id::PeerId;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::scene::Plan;

/// The node, with the identity of one that was planned, in the test's own namespace.
pub struct Member {
    runtime: Runtime,
    mesh: Mesh,
    inbound: InboundStreams,
    other: PeerId,
}

impl Member {
    /// Connects to the node `other`, which runs at 192.0.2.2, and accepts streams of these protocols.
    #[track_caller]
    pub fn connect(as_whom: &Plan, other: &Plan, protocols: &[&'static str]) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        let address = "/ip4/192.0.2.2/tcp/8001".parse().expect("a multiaddr");
        let settings = MeshSettings {
            key: as_whom.key(),
            listen: Vec::new(),
            bootstrap: Vec::new(),
            peers: vec![PeerSettings { id: other.id, addresses: vec![address] }],
            mdns: false,
            inbound: protocols.to_vec(),
            filter_private: false,
            is_inside: |_| false,
            leads_inside: Arc::new(|_| false),
            set_buffers: |_, _| {},
        };
        let (mesh, inbound) = runtime.block_on(Mesh::start(settings)).expect("a node starts");
        let member = Self { runtime, mesh, inbound, other: other.id };
        assert!(member.within(member.mesh.wait_connected(&member.other, TIME)), "they connect");
        member
    }

    /// Opens a stream of a protocol, which the other must speak.
    #[track_caller]
    pub fn open(&self, protocol: &'static [&'static str]) -> MeshStream {
        self.within(self.mesh.open(&self.other, protocol)).expect("it is spoken").0
    }

    /// The next stream that the other opens, of whatever protocol is accepted.
    #[track_caller]
    pub fn accept(&mut self) -> MeshStream {
        let Self { runtime, inbound, .. } = self;
        let next = runtime.block_on(async { timeout(TIME, inbound.recv()).await });
        next.expect("it opens a stream").expect("the mesh runs").stream
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&self, stream: &mut MeshStream, bytes: &[u8]) {
        assert!(self.try_send(stream, bytes), "nobody reads");
    }

    /// Sends bytes, unless nobody reads them any longer.
    #[track_caller]
    pub fn try_send(&self, stream: &mut MeshStream, bytes: &[u8]) -> bool {
        let sent = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        self.within(sent).is_ok()
    }

    /// Ends the direction to the other.
    #[track_caller]
    pub fn end(&self, stream: &mut MeshStream) {
        assert!(self.try_end(stream), "it is open");
    }

    /// Ends the direction to the other, unless it is gone.
    #[track_caller]
    pub fn try_end(&self, stream: &mut MeshStream) -> bool {
        self.within(stream.close()).is_ok()
    }

    /// Reads so many bytes.
    #[track_caller]
    pub fn read(&self, stream: &mut MeshStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.within(stream.read_exact(&mut bytes)).expect("so much comes");
        bytes
    }

    /// Reads to the end; an error is a reset.
    #[track_caller]
    pub fn rest(&self, stream: &mut MeshStream) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.within(stream.read_to_end(&mut bytes)).map(|_| bytes)
    }

    /// Does what may take no longer than anything here.
    #[track_caller]
    pub fn within<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(TIME + Duration::from_secs(5), what).await }).expect("in time")
    }
}
