use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hypertap_platform::queue::{MemoryQueue, receive_batch};
use hypertap_platform::stop::{Interest, Stop, Wake};
use hypertap_wire::batch::Batch;
use hypertap_wire::packet::Tally;
use tokio::time::timeout;

use super::*;

mod ends;
mod guests;
mod host;
mod modem;
mod slow;

const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
const PATIENCE: Duration = Duration::from_secs(10);

/// A fabric whose interface and clients are in the test's hands.
struct Bench {
    fabric: Fabric,
    events: mpsc::Receiver<FabricEvent>,
    places: Places,
}

/// The machine's end of the host's interface.
struct Machine(MemoryQueue);

/// A client's end.
struct Client {
    id: ClientId,
    stream: UnixStream,
}

fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

/// An IPv4 frame with a length that is right, numbered so that its order can be seen.
fn frame(to: [u8; 6], from: [u8; 6], number: u32, len: usize) -> Vec<u8> {
    let mut frame = [to.as_slice(), &from, &[8, 0]].concat();
    frame.resize(len.max(38), 0x5a);
    let total = u16::try_from(frame.len() - 14).unwrap().to_be_bytes();
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&total);
    frame[34..38].copy_from_slice(&number.to_be_bytes());
    frame
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[34..38].try_into().unwrap())
}

fn le16(frames: &[Vec<u8>]) -> Vec<u8> {
    let with_length =
        |frame: &Vec<u8>| [&u16::try_from(frame.len()).unwrap().to_le_bytes(), frame.as_slice()].concat();
    frames.iter().flat_map(with_length).collect()
}

impl Bench {
    fn start(places: usize) -> Self {
        Self::observed(places, None)
    }

    fn observed(places: usize, observer: Option<Box<dyn FrameObserver>>) -> Self {
        let places = Places::new(places);
        let (fabric, events) =
            Fabric::start(FabricSettings { mtu: 1500, places: places.clone(), observer }).unwrap();
        Self { fabric, events, places }
    }

    async fn machine(&self) -> Machine {
        let (near, far) = MemoryQueue::pair().unwrap();
        self.fabric.attach_host(Box::new(near), MacAddress(HOST)).await;
        Machine(far)
    }

    async fn client(&self, framing: Option<Framing>) -> Client {
        let (near, stream) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let id = ClientId::next();
        let place = self.places.take().expect("a free place");
        self.fabric.attach_stream(id, place, near.into(), framing).await;
        Client { id, stream }
    }

    async fn event(&mut self) -> FabricEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the fabric runs")
    }

    async fn report_of(&self, port: Origin) -> PortReport {
        let report = self.fabric.report().await.expect("the fabric runs");
        report.ports.into_iter().find(|one| one.port == port).expect("the port is there")
    }

    /// Asks for a port's report until it is as it should be.
    async fn until(&self, port: Origin, is_so: impl Fn(&PortReport) -> bool) {
        let wait = async {
            while !is_so(&self.report_of(port).await) {
                tokio::task::yield_now().await;
            }
        };
        let is_in_time = timeout(PATIENCE, wait).await.is_ok();
        assert!(is_in_time, "{:?}", self.report_of(port).await);
    }
}

impl Machine {
    fn send(&mut self, frames: &[Vec<u8>]) {
        let mut batch = Batch::new(frames.iter().map(Vec::len).sum(), frames.len());
        assert!(frames.iter().all(|frame| batch.push(frame)));
        let (mut sent, stop) = (0, Stop::new().unwrap());
        while sent < frames.len() {
            let mut tally = Tally::default();
            self.0.send(&batch, sent..sent + 1, &mut tally).unwrap();
            sent += usize::try_from(tally.packets).unwrap();
            if tally.packets == 0 {
                let writable = (self.0.descriptor(), Interest::Writable);
                assert_ne!(stop.wait(&[writable], Some(PATIENCE)).unwrap(), Wake::TimedOut);
            }
        }
    }

    fn receive(&mut self, count: usize) -> Vec<Vec<u8>> {
        let (mut batch, mut tally, stop) = (receive_batch(0), Tally::default(), Stop::new().unwrap());
        let mut frames = Vec::new();
        while frames.len() < count {
            let wake = stop.wait(&[(self.0.descriptor(), Interest::Readable)], Some(PATIENCE));
            assert_ne!(wake.unwrap(), Wake::TimedOut, "{} of {count} frames came", frames.len());
            batch.clear();
            self.0.recv(&mut batch, &mut tally).unwrap();
            frames.extend(batch.iter().map(<[u8]>::to_vec));
        }
        frames
    }
}

impl Client {
    fn origin(&self) -> Origin {
        Origin::Client(self.id)
    }

    fn send(&mut self, frames: &[Vec<u8>]) {
        self.stream.write_all(&le16(frames)).unwrap();
    }

    fn receive_le16(&mut self) -> Vec<u8> {
        let mut header = [0; 2];
        self.stream.read_exact(&mut header).unwrap();
        let mut frame = vec![0; usize::from(u16::from_le_bytes(header))];
        self.stream.read_exact(&mut frame).unwrap();
        frame
    }

    fn receive(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.receive_le16()).collect()
    }

    fn has_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let result = (&self.stream).read(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
