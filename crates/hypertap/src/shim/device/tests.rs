use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use super::*;
use crate::shim::link::END_TIME;

/// A program whose memory is one `ifreq` at 0.
struct Program {
    user: u32,
    socket: Option<u64>,
    memory: RefCell<Ifreq>,
}

impl Caller for Program {
    fn user(&self) -> io::Result<u32> {
        Ok(self.user)
    }

    fn socket(&self) -> Option<u64> {
        self.socket
    }

    fn read(&self, _address: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(&self.memory.borrow().0[..bytes.len()]);
        Ok(())
    }

    fn write(&self, _address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.borrow_mut().0[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl Program {
    fn asks(&self, device: &mut VirtualDevice, request: u32) -> Told {
        self.told(device.ioctl(self, request, 0))
    }

    fn writes_nothing(&self, device: &mut VirtualDevice) -> Told {
        self.told(device.write_nothing(self))
    }

    fn told(&self, reply: io::Result<Reply>) -> Told {
        let value = reply.and_then(|reply| match reply {
            Reply::Continue => Ok(None),
            Reply::Value(value) => Ok(Some(value)),
            Reply::Later(work) => work(self).map(Some),
        });
        value.map_err(|error| error.raw_os_error())
    }

    /// Opens the device, and is about that from then on.
    fn opens(&mut self, device: &mut VirtualDevice) -> OwnedFd {
        let end = device.open(self, false).expect("it may").expect("a descriptor");
        self.socket =
            Some(std::fs::File::from(end.try_clone().expect("a copy")).metadata().expect("it is open").ino());
        end
    }
}

fn device(folder: &std::path::Path) -> (VirtualDevice, UnixListener) {
    let path = folder.join("tap");
    let server = UnixListener::bind(&path).expect("the folder is ours");
    let tap = TapServer { place: crate::cli::tap::Place::Unix(path), is_named: true };
    let tunnel = TunnelSettings {
        daemon: Some(hypertap_client::Address::Unix(folder.join("nobody"))),
        ipv4: None,
        routes: Vec::new(),
    };
    (VirtualDevice::new(Settings { tap, tunnel, reconnect: false, mac: None, mtu: 1500 }), server)
}

fn asked(name: &str, flags: u16) -> RefCell<Ifreq> {
    let mut asked = Ifreq([0; Ifreq::LEN]);
    asked.set_name(name);
    asked.set_flags(flags);
    RefCell::new(asked)
}

/// What a call returns, or nothing where it goes on in the kernel; or its error.
type Told = Result<Option<i32>, Option<i32>>;

const OK: Told = Ok(Some(0));
const CONTINUES: Told = Ok(None);

fn refused(errno: Errno) -> Told {
    Err(Some(errno as i32))
}

#[test]
fn who_gave_up_our_rights_does_not_get_them_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, _server) = device(folder.path());
    let mut program =
        Program { user: effective_uid(), socket: None, memory: asked("mine", request::IFF_TAP) };
    let _end = program.opens(&mut device);
    program.user += 1;
    assert!(device.open(&program, false).expect("the kernel is asked").is_none());
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), refused(Errno::EPERM));
    program.user -= 1;
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), OK);
    program.user += 1;
    assert_eq!(program.asks(&mut device, request::SIOCSIFHWADDR), refused(Errno::EPERM));
    program.socket = Some(1);
    assert_eq!(program.asks(&mut device, request::SIOCSIFFLAGS), refused(Errno::EPERM));
    assert_eq!(program.asks(&mut device, request::SIOCGIFFLAGS), OK);
}

#[test]
fn what_the_kernel_would_refuse_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, _server) = device(folder.path());
    let mut program = Program { user: effective_uid(), socket: None, memory: asked("lo", request::IFF_TAP) };
    let _end = program.opens(&mut device);
    let device_socket = program.socket;
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), refused(Errno::EINVAL));
    program.memory = asked("mine", request::IFF_TUN);
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), OK);
    program.memory = asked("other", request::IFF_TAP);
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), refused(Errno::EEXIST));
    program.memory = asked("mine", 0);
    program.socket = Some(1);
    assert_eq!(program.asks(&mut device, request::SIOCGIFMTU), OK);
    // The kernel says what a descriptor is that is none.
    program.socket = None;
    assert_eq!(program.asks(&mut device, request::SIOCGIFMTU), CONTINUES);
    // Nobody runs a tunnel there, and so it is each time. On another socket, as the device's own knows no such.
    program.socket = device_socket;
    assert_eq!(program.asks(&mut device, request::SIOCSIFADDR), refused(Errno::EINVAL));
    program.socket = Some(1);
    for _ in 0..2 {
        program.memory.borrow_mut().set_ipv4([10, 7, 0, 1].into());
        assert_eq!(program.asks(&mut device, request::SIOCSIFADDR), refused(Errno::ENODEV));
        assert_eq!(program.asks(&mut device, request::SIOCGIFADDR), refused(Errno::EADDRNOTAVAIL));
    }
}

#[test]
fn a_write_of_nothing_tells_whether_there_is_an_interface() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, _server) = device(folder.path());
    let mut program =
        Program { user: effective_uid(), socket: Some(1), memory: asked("mine", request::IFF_TAP) };
    assert_eq!(program.writes_nothing(&mut device), CONTINUES);
    let _end = program.opens(&mut device);
    assert_eq!(program.writes_nothing(&mut device), Err(Some(request::EBADFD)));
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), OK);
    assert_eq!(program.writes_nothing(&mut device), refused(Errno::EINVAL));
    program.socket = Some(1);
    assert_eq!(program.writes_nothing(&mut device), CONTINUES);
}

#[test]
fn an_interface_that_is_being_connected_has_its_name_and_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, _server) = device(folder.path());
    let mut program =
        Program { user: effective_uid(), socket: None, memory: asked("mine", request::IFF_TAP) };
    let _other = program.opens(&mut device);
    let other = program.socket;
    let _end = program.opens(&mut device);
    let Ok(Reply::Later(work)) = device.ioctl(&program, request::TUNSETIFF, 0) else {
        panic!("it takes time")
    };
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), refused(Errno::EEXIST));
    assert_eq!(program.asks(&mut device, request::TUNGETIFF), Err(Some(request::EBADFD)));
    let ours = std::mem::replace(&mut program.socket, other);
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), refused(Errno::EBUSY));
    program.socket = ours;
    assert_eq!(work(&program).map_err(|error| error.raw_os_error()), Ok(0));
    assert_eq!(program.asks(&mut device, request::TUNGETIFF), OK);
}

#[test]
fn an_interface_that_could_not_be_connected_may_be_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, server) = device(folder.path());
    drop(server);
    let mut program =
        Program { user: effective_uid(), socket: None, memory: asked("mine", request::IFF_TAP) };
    let end = program.opens(&mut device);
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), refused(Errno::ENODEV));
    std::fs::remove_file(folder.path().join("tap")).expect("it is there");
    let server = UnixListener::bind(folder.path().join("tap")).expect("the folder is ours");
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), OK);
    let (mut connection, _) = server.accept().expect("it connected");
    for number in 0..100 {
        nix::unistd::write(&end, &[number; 4 + 14]).expect("there is room");
        let mut frame = [0; 2 + 14];
        std::io::Read::read_exact(&mut connection, &mut frame).expect("it comes");
        assert_eq!((frame[0], frame[2]), (14, number));
    }
}

#[test]
fn one_that_was_closed_has_given_its_place_up_before_the_next_is_connected() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, server) = device(folder.path());
    let mut program =
        Program { user: effective_uid(), socket: None, memory: asked("mine", request::IFF_TAP) };
    // A server for one at a time.
    let serving = std::thread::spawn(move || {
        let (mut next, mut seen) = (None, Instant::now());
        for _ in 0..20 {
            let mut connection = next.take().unwrap_or_else(|| server.accept().expect("it connected").0);
            server.set_nonblocking(true).expect("it may be");
            let mut sent = Vec::new();
            std::io::Read::read_to_end(&mut connection, &mut sent).expect("it ends");
            let now = Instant::now();
            next = server.accept().ok().map(|(next, _)| next);
            // One is waited for no longer than that.
            assert!(next.is_none() || seen.elapsed() > END_TIME, "another came before this had gone");
            seen = now;
            server.set_nonblocking(false).expect("it may be");
        }
    });
    for _ in 0..20 {
        let end = program.opens(&mut device);
        program.memory = asked("mine", request::IFF_TAP);
        assert_eq!(program.asks(&mut device, request::TUNSETIFF), OK);
        drop(end);
    }
    serving.join().expect("one at a time");
}

#[test]
fn what_is_set_on_the_descriptor_is_what_is_asked_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, _server) = device(folder.path());
    let mut program =
        Program { user: effective_uid(), socket: None, memory: asked("mine", request::IFF_TAP) };
    let _end = program.opens(&mut device);
    // Before there is an interface, none of it can be.
    assert_eq!(program.asks(&mut device, request::SIOCGIFHWADDR), Err(Some(request::EBADFD)));
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), OK);
    let number =
        |program: &Program| i32::from_ne_bytes(program.memory.borrow().0[..4].try_into().expect("four"));
    let set = |program: &Program, value: i32| {
        program.memory.borrow_mut().0[..4].copy_from_slice(&value.to_ne_bytes());
    };
    for (get, put, before, after) in [
        (request::TUNGETSNDBUF, request::TUNSETSNDBUF, i32::MAX, 1000),
        (request::TUNGETVNETLE, request::TUNSETVNETLE, 0, 1),
    ] {
        assert_eq!((program.asks(&mut device, get), number(&program)), (OK, before));
        set(&program, after);
        assert_eq!(program.asks(&mut device, put), OK);
        set(&program, 77);
        assert_eq!((program.asks(&mut device, get), number(&program)), (OK, after));
    }
    set(&program, 0);
    assert_eq!(program.asks(&mut device, request::TUNSETSNDBUF), refused(Errno::EINVAL));
    assert_eq!(program.asks(&mut device, request::TUNGETVNETBE), refused(Errno::EINVAL));
    // Whatever the name: the kernel looks at the descriptor only.
    let mac = [2, 9, 9, 9, 9, 9];
    program.memory = asked("", 0);
    program.memory.borrow_mut().set_hardware(1, mac);
    assert_eq!(program.asks(&mut device, request::SIOCSIFHWADDR), OK);
    program.memory = asked("other", 0);
    assert_eq!(program.asks(&mut device, request::SIOCGIFHWADDR), OK);
    assert_eq!(program.memory.borrow().hardware(), mac);
}
