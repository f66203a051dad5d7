use super::*;
use std::ffi::CStr;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::ptr::{null, null_mut};
use tempfile::TempDir;

/// A server's end, the interface that is connected to it, and the folder of its socket.
fn connected() -> (UnixStream, *mut Tap, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("tap");
    let listener = UnixListener::bind(&path).expect("a path of ours");
    let place = CString::new(path.to_str().expect("ours")).expect("no NUL");
    let mut tap = null_mut();
    // SAFETY: all pointers are to what lives here.
    let code = unsafe { hypertap_tap_connect(&raw mut tap, place.as_ptr(), null(), null_mut(), 0) };
    assert_eq!(code, 0);
    let (socket, _) = listener.accept().expect("it connected");
    (socket, tap, folder)
}

fn refused(place: &CStr, options: *const Options) -> (c_int, String) {
    let mut tap = std::ptr::dangling_mut();
    let mut text = [1; 512];
    // SAFETY: all pointers are to what lives here, or null.
    let code =
        unsafe { hypertap_tap_connect(&raw mut tap, place.as_ptr(), options, text.as_mut_ptr(), text.len()) };
    assert!(tap.is_null());
    // SAFETY: the call has written a string.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    (code, text.to_str().expect("ours").to_owned())
}

fn last_error(tap: *mut Tap) -> String {
    let mut text = [1; 512];
    // SAFETY: the interface is open, and the buffer has that room.
    unsafe { hypertap_tap_error(tap, text.as_mut_ptr(), text.len()) };
    // SAFETY: the call has written a string.
    unsafe { CStr::from_ptr(text.as_ptr()) }.to_str().expect("ours").to_owned()
}

#[test]
fn frames_come_and_go_and_nothing_in_time_is_zero() {
    let (mut server, tap, _folder) = connected();
    let mut frame = [0_u8; 100];
    // SAFETY: the interface is open, and the buffer has its length.
    let recv = |frame: &mut [u8], timeout| unsafe {
        hypertap_tap_recv(tap, frame.as_mut_ptr().cast(), frame.len(), timeout)
    };
    assert_eq!(recv(&mut frame, 0), 0);
    server.write_all(&[20, 0]).and_then(|()| server.write_all(&[7; 20])).expect("it reads");
    assert_eq!((recv(&mut frame, 1000), frame[..20] == [7; 20]), (20, true));
    // SAFETY: as above.
    let sent = unsafe { hypertap_tap_send(tap, [9_u8; 14].as_ptr().cast(), 14, -1) };
    let mut bytes = [0; 16];
    server.read_exact(&mut bytes).expect("it came");
    assert_eq!((sent, bytes[..3] == [14, 0, 9]), (1, true));
    // SAFETY: the interface is open; null are allowed.
    unsafe {
        assert!(hypertap_tap_fd(tap) > 2);
        assert!(hypertap_tap_name(tap).is_null());
        assert_eq!(hypertap_tap_max_frame(tap), 1522);
    }
    drop(server);
    assert_eq!((recv(&mut frame, -1), last_error(tap).as_str()), (-6, "the server closed the connection"));
    // SAFETY: it is not used any more.
    unsafe { hypertap_tap_close(tap) };
}

#[test]
fn what_c_gets_wrong_is_an_error_with_a_reason() {
    let (_server, tap, _folder) = connected();
    // SAFETY: the interface is open; the pointers are null, or long enough for what is read of them.
    let codes = unsafe {
        [
            hypertap_tap_recv(null_mut(), null_mut(), 0, 0),
            hypertap_tap_recv(tap, null_mut(), 10, 0),
            hypertap_tap_recv(tap, [0_u8; 9].as_mut_ptr().cast(), 9, -2),
            hypertap_tap_send(null_mut(), null(), 0, 0),
            hypertap_tap_send(tap, null(), 20, 0),
            hypertap_tap_fd(null()),
        ]
    };
    assert_eq!(codes, [-1; 6]);
    assert_eq!(last_error(tap), "frame is NULL");
    // SAFETY: what is longer than a frame is not read.
    let code = unsafe { hypertap_tap_send(tap, [0_u8; 1].as_ptr().cast(), usize::MAX, 0) };
    assert_eq!(code, -7);
    assert!(last_error(tap).contains("14 to 1522 bytes"), "{}", last_error(tap));
    // SAFETY: null is allowed, and the other is not used any more.
    unsafe {
        hypertap_tap_close(tap);
        hypertap_tap_close(null_mut());
        hypertap_tap_error(null(), null_mut(), 0);
        assert_eq!(hypertap_tap_max_frame(null()), 0);
        assert_eq!(hypertap_tap_open(null_mut(), null(), null_mut(), 0), -1);
    }
}

#[test]
fn an_absent_server_is_told_with_the_remedy() {
    let (code, text) = refused(c"/nowhere/tap", null());
    assert_eq!(code, -2);
    assert!(text.contains("sudo hypertap tap --listen=/nowhere/tap"), "{text}");
    let (code, text) = refused(c"nowhere", null());
    assert_eq!(code, -1);
    assert!(text.contains("absolute path"), "{text}");
}

#[test]
fn options_without_their_size_are_refused() {
    for size in [0, 8] {
        let options = [size, 0, 0, 0, 0, 0, 0, 0, 0, 0_usize];
        let (code, text) = refused(c"/nowhere/tap", options.as_ptr().cast());
        assert_eq!(code, -1);
        assert!(text.contains("sizeof"), "{text}");
    }
}

#[test]
fn what_later_versions_add_to_the_options_is_left_unread() {
    let options = [10 * size_of::<usize>(), 0, 0, 0, 0, 0, 0, 0, 0, 7_usize];
    assert_eq!(refused(c"/nowhere/tap", options.as_ptr().cast()).0, -2);
}

#[test]
fn a_text_is_cut_between_characters_to_what_there_is_room_for() {
    for (size, wanted) in [(1, ""), (2, "a"), (3, "a"), (4, "aß"), (9, "aßc")] {
        let mut room = [0x55; 9];
        // SAFETY: there is room for 9 bytes.
        unsafe { write("aßc", room.as_mut_ptr(), size) };
        // SAFETY: the call has written a string.
        assert_eq!(unsafe { CStr::from_ptr(room.as_ptr()) }.to_str(), Ok(wanted));
        assert!(room[size..].iter().all(|&byte| byte == 0x55));
    }
    // SAFETY: without room nothing is written.
    unsafe { write("a", null_mut(), 9) };
}

#[test]
fn a_panic_is_an_error() {
    let failure = guarded::<()>(|| panic!("a defect")).expect_err("it panicked");
    assert_eq!(failure.code, Code::Internal);
}
