use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use super::*;

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
    fn asks(&self, device: &mut VirtualDevice, request: u32) -> Result<Reply, Option<i32>> {
        device.ioctl(self, request, 0).map_err(|error| error.raw_os_error())
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

const OK: Result<Reply, Option<i32>> = Ok(Reply::Value(0));

fn refused(errno: Errno) -> Result<Reply, Option<i32>> {
    Err(Some(errno as i32))
}

#[test]
fn who_gave_up_our_rights_does_not_get_them_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, _server) = device(folder.path());
    let mut program =
        Program { user: effective_uid(), socket: None, memory: asked("mine", request::IFF_TAP) };
    let end = device.open(&program, false).expect("it may").expect("a descriptor");
    program.socket = Some(File::from(end.try_clone().expect("a copy")).metadata().expect("it is open").ino());
    program.user += 1;
    assert!(device.open(&program, false).expect("the kernel is asked").is_none());
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), refused(Errno::EPERM));
    program.user -= 1;
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), OK);
    program.user += 1;
    assert_eq!(program.asks(&mut device, request::SIOCSIFFLAGS), refused(Errno::EPERM));
    assert_eq!(program.asks(&mut device, request::SIOCGIFFLAGS), OK);
}

#[test]
fn what_the_kernel_would_refuse_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut device, _server) = device(folder.path());
    let mut program = Program { user: effective_uid(), socket: None, memory: asked("lo", request::IFF_TAP) };
    let end = device.open(&program, false).expect("it may").expect("a descriptor");
    let inode = File::from(end.try_clone().expect("a copy")).metadata().expect("it is open").ino();
    program.socket = Some(inode);
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), refused(Errno::EINVAL));
    program.memory = asked("mine", request::IFF_TUN);
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), OK);
    program.memory = asked("other", request::IFF_TAP);
    assert_eq!(program.asks(&mut device, request::TUNSETIFF), refused(Errno::EEXIST));
    program.memory = asked("mine", 0);
    assert_eq!(program.asks(&mut device, request::SIOCGIFMTU), OK);
    // The kernel says what a descriptor is that is none.
    program.socket = None;
    assert_eq!(program.asks(&mut device, request::SIOCGIFMTU), Ok(Reply::Continue));
    // Nobody runs a tunnel there, and so it is each time.
    program.socket = Some(inode);
    for _ in 0..2 {
        program.memory.borrow_mut().set_ipv4([10, 7, 0, 1].into());
        assert_eq!(program.asks(&mut device, request::SIOCSIFADDR), refused(Errno::ENODEV));
        assert_eq!(program.asks(&mut device, request::SIOCGIFADDR), refused(Errno::EADDRNOTAVAIL));
    }
}
