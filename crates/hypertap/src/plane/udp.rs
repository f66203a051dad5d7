//! The plane of datagrams on loopback: a packet each, from any program that may, to one port.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Instant;

use hypertap_platform::datagram::{Receiver, Sender};
use hypertap_platform::stop::{Interest, Stop};
use hypertap_wire::batch::Batch;
use hypertap_wire::packet::{DropCause, Tally};

use super::guard::{Answers, Verdict};
use super::inject::Injector;
use super::stats::Direction;
use super::{PlaneEnd, Rounds, Sink};

/// Sends the machine's packets to the program.
pub(super) struct UdpSink {
    socket: UdpSocket,
    destination: SocketAddr,
    sender: Sender,
    answers: Answers,
}

impl UdpSink {
    pub(super) fn new(socket: UdpSocket, destination: SocketAddr, answers: Answers) -> Self {
        Self { socket, destination, sender: Sender::udp(destination), answers }
    }
}

impl Sink for UdpSink {
    fn deliver(&mut self, batch: &mut Batch, tally: &mut Tally, _: &Stop) {
        match self.answers.verdict(self.destination, Instant::now()) {
            Verdict::Allowed => {}
            Verdict::NotPermitted => return tally.drop(DropCause::NotPermitted, batch.len()),
            Verdict::Absent => return tally.drop(DropCause::NoReceiver, batch.len()),
        }
        let mut next = 0;
        while next < batch.len() {
            let progress = self.sender.send(self.socket.as_fd(), batch, next);
            tally.pass(progress.next - next, batch.lengths().skip(next).take(progress.next - next).sum());
            next = progress.next;
            if progress.is_full() {
                return tally.drop(DropCause::ProgramSlow, batch.len() - next);
            }
            if progress.error.is_some() {
                // Nobody has the port, or a filter refuses it.
                tally.drop(DropCause::NoReceiver, progress.refused);
                next += progress.refused.max(1);
            }
        }
    }
}

/// Takes the program's packets until the stop is set.
///
/// # Errors
/// When the interface is gone, or the socket broken.
pub(super) fn receive(
    socket: &UdpSocket,
    answers: &mut Answers,
    injector: &mut Injector,
    stats: &Direction,
    stop: &Stop,
) -> Result<(), PlaneEnd> {
    let mut receiver = Receiver::new();
    let mut rounds = Rounds::default();
    while rounds.goes_on(stop) {
        let more = match receiver.recv(socket.as_fd()) {
            Ok(more) => {
                let mut tally = Tally::default();
                drop_refused(&mut receiver, answers, &mut tally);
                let injected = injector.inject(receiver.received().0, &mut tally);
                stats.add(&tally);
                injected.map_err(PlaneEnd::Device)?;
                more
            }
            // What a datagram of ours met (ECONNREFUSED), a signal, or no memory: nothing ends this.
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if !more {
            if rounds.are_last() {
                break;
            }
            stop.wait(&[(socket.as_fd(), Interest::Readable)], None).map_err(PlaneEnd::Program)?;
        }
    }
    Ok(())
}

/// Takes out what came from senders who may not.
fn drop_refused(receiver: &mut Receiver, answers: &mut Answers, tally: &mut Tally) {
    let now = Instant::now();
    let (batch, messages) = receiver.received();
    let mut verdict = |source: Option<SocketAddr>| source.map(|source| answers.verdict(source, now));
    let is_allowed = |message: &Option<Verdict>| *message == Some(Verdict::Allowed);
    // Nearly always all come from one program.
    let same = messages.windows(2).all(|pair| pair[0].source == pair[1].source);
    let Some(first) = messages.first() else { return };
    if same {
        if !is_allowed(&verdict(first.source)) {
            tally.drop(DropCause::NotPermitted, batch.len());
            batch.clear();
        }
        return;
    }
    let mut refused = messages.iter().filter(|message| !is_allowed(&verdict(message.source)));
    let mut current = refused.next();
    batch.retain(|index, _| {
        while current.is_some_and(|message| index >= message.packets.end) {
            current = refused.next();
        }
        let keep = current.is_none_or(|message| !message.packets.contains(&index));
        tally.drop(DropCause::NotPermitted, usize::from(!keep));
        keep
    });
}
