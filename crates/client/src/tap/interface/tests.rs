use super::*;
use crate::tap::{Framing, MAX_FRAME};
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::os::unix::net::UnixStream;
use tokio::net::UnixListener;

/// Two ends whose sockets take long frames in parts.
fn pair() -> (TapInterface, TapInterface) {
    let (left, right) = UnixStream::pair().expect("a pair");
    let interface = |socket: UnixStream| {
        socket.set_nonblocking(true).expect("it is ours");
        set_socket_send_buffer_size(&socket, 4096).expect("it is ours");
        TapInterface::new(Stream::new(socket.into(), Framing::Le16, 9000), None).expect("a runtime")
    };
    (interface(left), interface(right))
}

fn frame(number: usize) -> Vec<u8> {
    vec![u8::try_from(number % 251).expect("small"); 14 + number * 37 % 9000]
}

#[tokio::test]
async fn frames_go_both_ways_and_nothing_there_is_none() {
    let (left, right) = pair();
    let mut buffer = vec![0; MAX_FRAME];
    for number in 0..100 {
        let (from, to) = if number % 2 == 0 { (&left, &right) } else { (&right, &left) };
        from.send(&frame(number)).await.expect("room");
        let length = to.recv(&mut buffer).await.expect("it came");
        assert_eq!(buffer[..length], frame(number));
    }
    let none = left.recv_timeout(&mut buffer, Duration::from_millis(5)).await;
    assert!(matches!(none, Ok(None)), "{none:?}");
}

#[tokio::test]
async fn a_full_socket_makes_the_sender_wait_and_loses_nothing() {
    let (left, right) = pair();
    let sender = async {
        for number in 0..3000 {
            left.send(&frame(number)).await.expect("the other reads");
        }
    };
    let receiver = async {
        let mut buffer = vec![0; MAX_FRAME];
        for number in 0..3000 {
            let length = right.recv(&mut buffer).await.expect("it came");
            assert_eq!(buffer[..length], frame(number), "frame {number}");
        }
    };
    tokio::join!(sender, receiver);
}

/// Sends long frames until one is cancelled, of which a part has left. Returns its number.
async fn cancel(interface: &TapInterface) -> usize {
    for number in 0..1000 {
        let frame = vec![u8::try_from(number % 251).expect("small"); 9000];
        if tokio::time::timeout(Duration::from_millis(5), interface.send(&frame)).await.is_err() {
            assert!(interface.stream.get_ref().has_unsent(), "the socket takes a frame in parts");
            return number;
        }
    }
    panic!("the socket takes everything");
}

async fn expect(interface: &TapInterface, number: usize) {
    let mut buffer = vec![0; MAX_FRAME];
    let length = interface.recv(&mut buffer).await.expect("it came");
    assert_eq!(buffer[..length], vec![u8::try_from(number % 251).expect("small"); 9000], "frame {number}");
}

#[tokio::test]
async fn a_cancelled_send_tears_no_frame() {
    let (left, right) = pair();
    let last = cancel(&left).await;
    let receiving = async {
        for number in 0..=last {
            expect(&right, number).await;
        }
        expect(&right, 7).await;
    };
    let (sent, ()) = tokio::join!(left.send(&[7; 9000]), receiving);
    sent.expect("there is room");
}

#[tokio::test]
async fn who_waits_for_an_answer_sends_the_rest_of_a_cancelled_frame() {
    let (left, right) = pair();
    let last = cancel(&left).await;
    let answering = async {
        for number in 0..=last {
            expect(&right, number).await;
        }
        right.send(&[1; 100]).await.expect("room");
    };
    let mut buffer = vec![0; MAX_FRAME];
    let waiting = left.recv_timeout(&mut buffer, Duration::from_secs(10));
    let both = async { tokio::join!(waiting, answering) };
    let both = tokio::time::timeout(Duration::from_secs(10), both).await;
    let (length, ()) = both.expect("the rest has left");
    assert_eq!(length.expect("it is open"), Some(100));
}

#[tokio::test]
async fn a_cancelled_receive_loses_nothing() {
    let (left, right) = pair();
    let mut buffer = vec![0; MAX_FRAME];
    for number in 0..50 {
        let none = right.recv_timeout(&mut buffer, Duration::ZERO).await;
        assert!(matches!(none, Ok(None)), "{none:?}");
        left.send(&frame(number)).await.expect("room");
        let length = right.recv(&mut buffer).await.expect("it came");
        assert_eq!(buffer[..length], frame(number));
    }
}

#[tokio::test]
async fn the_end_is_an_error_on_both_ways_once_all_was_received() {
    let (left, right) = pair();
    left.send(&frame(3)).await.expect("room");
    left.close().await;
    let mut buffer = vec![0; MAX_FRAME];
    assert_eq!(right.recv(&mut buffer).await.expect("it came before"), frame(3).len());
    assert!(matches!(right.recv(&mut buffer).await, Err(TapError::Closed)));
    assert!(matches!(right.send(&frame(3)).await, Err(TapError::Closed)));
}

#[tokio::test]
async fn a_server_is_reached_by_its_path_and_an_absent_one_names_the_remedy() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tap");
    let server = TapServer::new(path.clone());
    let text = TapInterface::connect(&server).await.expect_err("nobody there").to_string();
    let listen = format!("sudo hypertap tap --listen={}", path.display());
    assert!(text.contains("No such file") && text.contains(&listen), "{text}");

    let listener = UnixListener::bind(&path).expect("a path of ours");
    let tap = TapInterface::connect(&server).await.expect("it listens");
    assert_eq!((tap.name(), tap.max_frame()), (None, 1522));
    let (socket, _) = listener.accept().await.expect("it connected");
    drop(socket);
    assert!(matches!(tap.recv(&mut [0; 100]).await, Err(TapError::Closed)));
}
