use std::fs;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::unistd::{Uid, chown};

use super::*;
use crate::guest_socket::{NoAnswer, Refusal};
use crate::soon::soon;

/// A listening socket in a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
    ours: GuestSocket,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("ours")).unwrap();
        Self { ours: GuestSocket::new(socket.into(), 100).unwrap(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn guest(&self, name: &str) -> UnixDatagram {
        let guest = UnixDatagram::bind(self.path(name)).unwrap();
        guest.set_nonblocking(true).unwrap();
        guest
    }

    fn name(&self, name: &str) -> GuestName {
        GuestName::new(self.path(name).to_str().unwrap().as_bytes()).unwrap()
    }

    fn received(&mut self) -> Vec<(Vec<u8>, Sender)> {
        self.ours.recv().unwrap();
        let (batch, senders) = self.ours.received();
        assert_eq!(batch.len(), senders.len());
        batch.iter().map(<[u8]>::to_vec).zip(senders.iter().copied()).collect()
    }
}

fn own_uid() -> u32 {
    Uid::effective().as_raw()
}

#[test]
fn each_frame_comes_with_its_senders_name_and_user() {
    let mut bench = Bench::new();
    let (one, other) = (bench.guest("one"), bench.guest("other"));
    let ours = bench.path("ours");
    one.send_to(b"abc", &ours).unwrap();
    other.send_to(b"de", &ours).unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"f", &ours).unwrap();
    let uid = Some(own_uid());
    let sender = |name| Sender { name: Some(bench.name(name)), uid };
    let expected = [
        (b"abc".to_vec(), sender("one")),
        (b"de".to_vec(), sender("other")),
        (b"f".to_vec(), Sender { name: None, uid }),
    ];
    assert_eq!(bench.received(), expected);
    assert!(bench.ours.recv().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
}

#[test]
fn an_abstract_name_is_told_too() {
    let mut bench = Bench::new();
    let name = format!("hypertap-test-{}\0x", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let guest = UnixDatagram::bind_addr(&address).unwrap();
    guest.send_to(b"a", bench.path("ours")).unwrap();
    let (_, sender) = bench.received().remove(0);
    let sender_name = sender.name.unwrap();
    assert_eq!(sender_name.abstract_name(), Some(name.as_bytes()));
    let answer = Answer::open(&sender_name, sender.uid).unwrap();
    assert_eq!(answer.send(bench.ours.as_fd(), [b"b".as_slice()]).frames, 1);
    assert_eq!(guest.recv(&mut [0; 9]).unwrap(), 1);
    assert!(matches!(Answer::open(&sender_name, Some(own_uid() + 1)), Err(NoAnswer::Abstract)));
}

#[test]
fn empty_datagrams_are_ignored_and_long_ones_counted() {
    let mut bench = Bench::new();
    let guest = bench.guest("guest");
    for len in [0, 100, 101, 5000, 1] {
        guest.send_to(&vec![7; len], bench.path("ours")).unwrap();
    }
    let lengths: Vec<_> = bench.received().iter().map(|(frame, _)| frame.len()).collect();
    assert_eq!((lengths, bench.ours.cut()), (vec![100, 1], 2));
}

/// Sends a byte with a descriptor, which from then on is nobody's but the receiver's. Returns its other end.
fn pass(guest: &UnixDatagram, to: Option<&UnixAddr>) -> UnixStream {
    let (near, far) = UnixStream::pair().unwrap();
    let byte = [io::IoSlice::new(b"a")];
    let descriptors = [far.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg(guest.as_raw_fd(), &byte, &rights, MsgFlags::empty(), to).unwrap();
    near
}

/// Whether nobody has the other end any more. A program that another test is just starting may for a moment.
fn is_closed(mut passed: UnixStream) -> bool {
    passed.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    passed.read(&mut [0]).is_ok_and(|count| count == 0)
}

#[test]
fn a_passed_descriptor_is_not_taken() {
    let mut bench = Bench::new();
    let guest = bench.guest("guest");
    let passed = pass(&guest, Some(&UnixAddr::new(&bench.path("ours")).unwrap()));
    let received = bench.received();
    assert_eq!(received[0].1.uid, Some(own_uid()), "the credentials came all the same");
    assert!(is_closed(passed));
}

#[test]
fn a_descriptor_that_the_one_guest_of_a_connected_socket_passes_is_not_taken() {
    let (guest, ours) = UnixDatagram::pair().unwrap();
    let mut ours = GuestSocket::connected(ours.into(), 100).unwrap();
    let passed = pass(&guest, None);
    ours.recv().unwrap();
    assert_eq!(ours.received().0.iter().collect::<Vec<_>>(), [b"a"]);
    assert!(is_closed(passed));
}

#[test]
fn a_guest_is_answered_at_its_path() {
    let bench = Bench::new();
    let guest = bench.guest("guest");
    let answer = Answer::open(&bench.name("guest"), Some(own_uid())).unwrap();
    assert!(answer.descriptor().is_some());
    let frames: Vec<Vec<u8>> = (1..=5).map(|len| vec![7; len]).collect();
    let sent = answer.send(bench.ours.as_fd(), frames.iter().map(Vec::as_slice));
    assert!(sent.frames == 5 && sent.refusal.is_none(), "{sent:?}");
    for len in 1..=5 {
        assert_eq!(guest.recv(&mut [0; 9]).unwrap(), len);
    }
}

#[test]
fn a_guest_that_has_connected_to_us_is_answered_from_our_socket() {
    let mut bench = Bench::new();
    let (guest, other) = (bench.guest("guest"), bench.guest("other"));
    guest.connect(bench.path("ours")).unwrap();
    guest.send(b"VFKT").unwrap();
    let (_, sender) = bench.received().remove(0);
    let answer = Answer::open(&sender.name.unwrap(), sender.uid).unwrap();
    assert!(answer.descriptor().is_none());
    assert_eq!(answer.send(bench.ours.as_fd(), [b"abc".as_slice()]).frames, 1);
    assert_eq!(guest.recv(&mut [0; 9]).unwrap(), 3);

    let answer = Answer::open(&bench.name("other"), Some(own_uid())).unwrap();
    other.connect(bench.path("ours")).unwrap();
    let sent = answer.send(bench.ours.as_fd(), [b"abc".as_slice()]);
    assert!(matches!(sent.refusal, Some(Refusal::Connected)), "{sent:?}");
}

#[test]
fn a_guest_that_does_not_read_refuses_and_one_that_left_is_gone() {
    let bench = Bench::new();
    let guest = bench.guest("guest");
    let answer = Answer::open(&bench.name("guest"), Some(own_uid())).unwrap();
    let frames = vec![[7_u8; 60]; 100_000];
    let sent = answer.send(bench.ours.as_fd(), frames.iter().map(<[u8; 60]>::as_slice));
    assert!(sent.frames > 0 && matches!(sent.refusal, Some(Refusal::Full)), "{sent:?}");
    drop(guest);
    let refusal = || answer.send(bench.ours.as_fd(), [b"a".as_slice()]).refusal;
    assert!(soon(|| matches!(refusal(), Some(Refusal::Gone))), "{:?}", refusal());
    assert!(matches!(Answer::open(&bench.name("guest"), Some(own_uid())), Err(NoAnswer::Gone)));
    fs::remove_file(bench.path("guest")).unwrap();
    assert!(matches!(Answer::open(&bench.name("guest"), Some(own_uid())), Err(NoAnswer::Gone)));
}

#[test]
fn a_path_that_leads_to_another_socket_later_is_not_followed() {
    let bench = Bench::new();
    let (guest, victim) = (bench.guest("guest"), bench.guest("victim"));
    let answer = Answer::open(&bench.name("guest"), Some(own_uid())).unwrap();
    assert!(answer.is_current(&bench.name("guest")));
    fs::remove_file(bench.path("guest")).unwrap();
    symlink(bench.path("victim"), bench.path("guest")).unwrap();
    assert!(!answer.is_current(&bench.name("guest")));
    answer.send(bench.ours.as_fd(), [b"abc".as_slice()]);
    assert_eq!(guest.recv(&mut [0; 9]).unwrap(), 3);
    assert!(matches!(
        Answer::open(&bench.name("guest"), Some(own_uid())),
        Err(NoAnswer::Io(_) | NoAnswer::NotASocket)
    ));
    assert!(victim.recv(&mut [0; 9]).is_err());
}

#[test]
fn what_is_not_the_senders_own_datagram_socket_is_not_answered() {
    let bench = Bench::new();
    let _guest = bench.guest("guest");
    let _stream = UnixListener::bind(bench.path("stream")).unwrap();
    fs::write(bench.path("file"), "").unwrap();
    let open = |name: &str, uid| Answer::open(&bench.name(name), uid).map(|_| ());
    assert!(matches!(open("guest", Some(own_uid() + 1)), Err(NoAnswer::NotTheSenders { .. })));
    assert!(matches!(open("guest", None), Err(NoAnswer::UnknownSender)));
    assert!(matches!(open("stream", Some(own_uid())), Err(NoAnswer::NotASocket)));
    assert!(matches!(open("file", Some(own_uid())), Err(NoAnswer::NotASocket)));
    let relative = GuestName::new(b"guest").unwrap();
    assert!(matches!(Answer::open(&relative, Some(own_uid())), Err(NoAnswer::Relative)));
    if own_uid() == 0 {
        chown(&bench.path("guest"), Some(Uid::from_raw(1234)), None).unwrap();
        assert!(open("guest", Some(1234)).is_ok());
        assert!(open("guest", Some(0)).is_ok(), "root may send there itself");
    }
}
