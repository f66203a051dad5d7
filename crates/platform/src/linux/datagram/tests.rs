use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use hypertap_wire::packet::MAX_PACKET;

use super::send::run_of;
use super::*;

fn sockets() -> (UdpSocket, UdpSocket, SocketAddr) {
    let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    prepare_udp(&one).unwrap();
    prepare_udp(&other).unwrap();
    let to = other.local_addr().unwrap();
    (one, other, to)
}

fn batch_of(lengths: &[usize]) -> Batch {
    let mut batch = Batch::new(2 << 20, 4096);
    for (index, len) in lengths.iter().enumerate() {
        assert!(batch.push(&vec![index.to_le_bytes()[0]; *len]));
    }
    batch
}

fn receive_all(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let (mut receiver, mut packets) = (Receiver::new(), Vec::new());
    while receiver.recv(socket.as_fd()).is_ok() {
        packets.extend(receiver.received().0.iter().map(<[u8]>::to_vec));
    }
    packets
}

#[test]
fn packets_of_any_sizes_arrive_as_they_were_in_order() {
    let (one, other, to) = sockets();
    let lengths: Vec<usize> = (0..300).map(|at| [100, 100, 100, 40, 1500, 1500, 1, 64][at % 8]).collect();
    let batch = batch_of(&lengths);
    let progress = Sender::udp(to).send(one.as_fd(), &batch, 0);
    assert!(progress.error.is_none() && progress.next == 300);
    assert_eq!(receive_all(&other), batch.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
}

#[test]
fn a_row_of_equal_packets_is_one_message_with_its_source() {
    let (one, other, to) = sockets();
    Sender::udp(to).send(one.as_fd(), &batch_of(&[1000, 1000, 1000, 10]), 0);
    let mut receiver = Receiver::new();
    assert!(!receiver.recv(other.as_fd()).unwrap());
    let message = Message { packets: 0..4, source: Some(one.local_addr().unwrap()) };
    assert_eq!(receiver.received().1, [message]);
}

#[test]
fn a_socket_without_uncut_messages_gets_the_packets_one_by_one() {
    let (one, _, _) = sockets();
    let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
    let batch = batch_of(&[1000, 1000, 7]);
    Sender::udp(plain.local_addr().unwrap()).send(one.as_fd(), &batch, 0);
    for packet in batch.iter() {
        let mut buffer = [0; 2000];
        let len = plain.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], packet);
    }
}

#[test]
fn the_largest_packets_and_an_empty_one_arrive() {
    let (one, other, to) = sockets();
    let batch = batch_of(&[MAX_PACKET, MAX_PACKET]);
    let progress = Sender::udp(to).send(one.as_fd(), &batch, 0);
    assert!(progress.error.is_none(), "{progress:?}");
    one.send_to(&[], to).unwrap();
    let lengths: Vec<usize> = receive_all(&other).iter().map(Vec::len).collect();
    assert_eq!(lengths, [MAX_PACKET, MAX_PACKET, 0]);
}

#[test]
fn runs_hold_equal_packets_within_one_datagram() {
    assert_eq!(run_of(&batch_of(&[100, 100, 50, 50]), 0), 0..3);
    assert_eq!(run_of(&batch_of(&[100, 101]), 0), 0..1);
    assert_eq!(run_of(&batch_of(&vec![1500; 50]), 0), 0..43);
    assert_eq!(run_of(&batch_of(&vec![64; 100]), 3), 3..67);
    let mut gap = batch_of(&[10, 10, 10]);
    gap.retain(|index, _| index != 1);
    assert_eq!(run_of(&gap, 0), 0..1);
}

#[test]
fn messages_keep_their_bounds_and_a_full_socket_says_so() {
    use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    let (mut sender, mut receiver) = (Sender::connected(), Receiver::new());
    let batch = batch_of(&[1500; 1000]);
    let progress = sender.send(one.as_fd(), &batch, 0);
    assert_eq!(progress.error.unwrap().kind(), io::ErrorKind::WouldBlock);
    let mut arrived = 0;
    while receiver.recv(other.as_fd()).is_ok() {
        let (batch, messages) = receiver.received();
        assert!(messages.iter().all(|message| message.source.is_none()));
        assert!(batch.lengths().all(|len| len == 1500));
        arrived += batch.len();
    }
    assert_eq!(arrived, progress.next);
    // Not dropped: a program that another test is just starting would hold it open a moment longer.
    shutdown(one.as_raw_fd(), Shutdown::Both).unwrap();
    receiver.recv(other.as_fd()).unwrap();
    let (batch, _) = receiver.received();
    assert!(!batch.is_empty() && batch.lengths().all(|len| len == 0), "the end is empty messages");
}

#[test]
fn a_descriptor_that_comes_with_a_packet_is_not_kept() {
    let (ours, theirs) = crate::linux::socket::message_pair().unwrap();
    let (kept, given) = std::os::unix::net::UnixStream::pair().unwrap();
    crate::descriptor::send(theirs.as_fd(), b"packet", &[given.as_fd()]).unwrap();
    drop(given);
    let mut receiver = Receiver::connected();
    receiver.recv(ours.as_fd()).unwrap();
    assert_eq!(receiver.received().0.get(0), Some(&b"packet"[..]));
    // Its other end reads the end as soon as nobody holds it any more. A program that another test is just
    // starting may do so for a moment.
    kept.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!((&kept).read(&mut [0]).unwrap(), 0);
}
