use super::*;
use crate::tap::{Framing, MAX_FRAME};
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

const LONG: Duration = Duration::from_secs(10);

/// Two ends whose sockets take long frames in parts.
fn pair() -> (TapInterface, TapInterface) {
    let (left, right) = UnixStream::pair().expect("a pair");
    let interface = |socket: UnixStream| {
        socket.set_nonblocking(true).expect("it is ours");
        set_socket_send_buffer_size(&socket, 4096).expect("it is ours");
        let stream = Stream::new(socket.into(), Framing::Le16, 9000);
        TapInterface { stream, program: None, name: None }
    };
    (interface(left), interface(right))
}

fn frame(number: usize) -> Vec<u8> {
    vec![u8::try_from(number % 251).expect("small"); 14 + number * 37 % 9000]
}

/// Sends and receives without knowing on what.
fn exchange(from: &impl FrameInterface, to: &impl FrameInterface, frame: &[u8]) {
    let mut buffer = vec![0; MAX_FRAME];
    from.send(frame).expect("room");
    let length = to.recv(&mut buffer, Some(LONG)).expect("it is open").expect("it came");
    assert_eq!(&buffer[..length], frame);
}

#[test]
fn frames_go_both_ways_and_nothing_there_is_none() {
    let (left, right) = pair();
    for number in 0..100 {
        exchange(&left, &right, &frame(number));
        exchange(&right, &left, &frame(number + 1));
    }
    for timeout in [Duration::ZERO, Duration::from_millis(5)] {
        assert!(matches!(left.recv(&mut [0; 9022], timeout), Ok(None)));
    }
}

#[test]
fn one_thread_sends_while_another_receives() {
    let (left, right) = pair();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..3000 {
                assert!(left.send_timeout(&frame(number), LONG).expect("it is open"), "the other reads");
            }
        });
        let mut buffer = vec![0; MAX_FRAME];
        for number in 0..3000 {
            let length = right.recv(&mut buffer, LONG).expect("it is open").expect("it came");
            assert_eq!(buffer[..length], frame(number), "frame {number}");
        }
    });
}

#[test]
fn a_send_that_is_given_up_tears_no_frame() {
    let (left, right) = pair();
    let mut taken = 0;
    while left.send_timeout(&[taken; 9000], Duration::ZERO).expect("it is open") {
        taken += 1;
    }
    assert!(!left.stream.flush().expect("it is open"), "the socket takes a frame in parts");
    let mut buffer = vec![0; MAX_FRAME];
    for number in 0..taken {
        let length = loop {
            match right.recv(&mut buffer, Duration::ZERO).expect("it is open") {
                Some(length) => break length,
                // The rest goes with whatever comes next.
                None => assert!(matches!(left.recv(&mut [0; 9022], Duration::ZERO), Ok(None))),
            }
        };
        assert_eq!(buffer[..length], [number; 9000], "frame {number}");
    }
    exchange(&left, &right, &frame(9));
}

#[test]
fn a_server_is_reached_over_unix_and_tcp() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tap");
    let unix = UnixListener::bind(&path).expect("a path of ours");
    let tap = TapInterface::connect(&TapServer::new(path)).expect("it listens");
    drop(unix.accept().expect("it connected"));
    assert!(matches!(tap.recv(&mut [0; 100], LONG), Err(TapError::Closed)));

    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = tcp.local_addr().expect("it is bound");
    let tap = TapInterface::connect(&TapServer::new(address)).expect("it listens");
    drop(tcp.accept().expect("it connected"));
    assert!(matches!(tap.recv(&mut [0; 100], LONG), Err(TapError::Closed)));
}
