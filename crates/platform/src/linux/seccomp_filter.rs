//! Starting a program under a seccomp filter that asks about some of its system calls.
//!
//! The filter is classic BPF over `seccomp_data`. It is put on between fork and exec, and its listener,
//! from which the questions come, is sent back over a socket.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr;

use libc::{BPF_ABS, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::descriptor;

/// `AUDIT_ARCH_*` of linux/audit.h: the machine's ELF number, 64 bits, little endian.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00f3;

/// Numbers from here on are x32's, which share the architecture of x86-64 (asm/unistd.h); other
/// architectures have none.
pub(super) const X32: u32 = 0x4000_0000;

/// Starts `command` under `filter` and returns it with the filter's listener. Until that is served, the
/// program waits in the first call that the filter asks about.
///
/// The program gets `no_new_privs` where we lack `CAP_SYS_ADMIN`, so that set-uid programs below it
/// gain nothing; seccomp(2) asks for one of the two. `command` is for one start only.
///
/// # Errors
/// What starting the program said; `EBUSY` when this process is under such a filter already (one
/// program may have a single listener), `EINVAL` when the kernel knows none.
pub(super) fn spawn(command: &mut Command, filter: Vec<sock_filter>) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the closure only makes system calls, on memory that was allocated before the fork.
    unsafe {
        command.pre_exec(move || {
            let listener = install(&filter)?;
            let sent = send(theirs.as_raw_fd(), listener);
            libc::close(listener);
            sent
        });
    }
    let mut child = command.spawn()?;
    match receive(&ours) {
        Ok(listener) => Ok((child, listener)),
        Err(error) => {
            // Without its listener its calls would fail; it has not run long.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Loads 32 bits of the call's data.
pub(super) fn load(offset: usize) -> sock_filter {
    let offset = u32::try_from(offset).expect("seccomp_data has 64 bytes");
    sock_filter { code: code(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: offset }
}

/// Where the low half of an argument lies, which is all of an `int`.
pub(super) fn low_half(argument: usize) -> usize {
    let big = if cfg!(target_endian = "big") { 4 } else { 0 };
    mem::offset_of!(libc::seccomp_data, args) + size_of::<u64>() * argument + big
}

/// Compares what is loaded; a jump counts the instructions that it leaves out.
pub(super) fn jump(test: u32, value: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code(BPF_JMP | test | BPF_K), jt, jf, k: value }
}

/// Ends with what becomes of the call.
pub(super) fn answer(value: u32) -> sock_filter {
    sock_filter { code: code(BPF_RET | BPF_K), jt: 0, jf: 0, k: value }
}

/// An instruction's code, as wide as its field.
pub(super) fn code(bits: u32) -> u16 {
    u16::try_from(bits).expect("an instruction's code has 16 bits")
}

/// A system call's number as the filter sees it.
pub(super) fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).expect("a system call's number is small")
}

/// Puts the calling thread, which is the only one after a fork, under `filter`; returns its listener.
/// Async-signal-safe.
fn install(filter: &[sock_filter]) -> io::Result<RawFd> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("a short filter"),
        filter: filter.as_ptr().cast_mut(),
    };
    // A signal must not turn a call that is being answered into a restart (Go sends itself many);
    // older kernels than 5.19 do not know that flag.
    let killable = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let mut flags = killable;
    loop {
        // SAFETY: `program` and the instructions it points to live across the call, which only reads.
        let listener = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, ptr::from_ref(&program))
        };
        if listener >= 0 {
            return Ok(RawFd::try_from(listener).expect("a descriptor is an int"));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINVAL) if flags == killable => flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            // SAFETY: takes numbers only.
            Some(libc::EACCES)
                if unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } == 0
                    // SAFETY: as above.
                    && unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0 => {}
            _ => return Err(error),
        }
    }
}

/// Bytes of a descriptor.
const DESCRIPTOR: u32 = RawFd::BITS / 8;

/// Room for one descriptor's control message, aligned as `cmsghdr` is.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    // SAFETY: takes a number only.
    bytes: [u8; unsafe { libc::CMSG_SPACE(DESCRIPTOR) } as usize],
}

/// Sends one descriptor. By hand, since between fork and exec nothing may allocate.
fn send(socket: RawFd, descriptor: RawFd) -> io::Result<()> {
    let mut byte = 0_u8;
    let mut data = libc::iovec { iov_base: ptr::from_mut(&mut byte).cast(), iov_len: 1 };
    // SAFETY: both structures are plain numbers and pointers, for which zero is a value.
    let (mut control, mut message) = unsafe { (mem::zeroed::<Control>(), mem::zeroed::<libc::msghdr>()) };
    message.msg_iov = ptr::from_mut(&mut data);
    message.msg_iovlen = 1;
    message.msg_control = ptr::from_mut(&mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    // SAFETY: `control` is as long as CMSG_SPACE says for one descriptor and aligned for cmsghdr, so
    // that the first header and its data lie within; all that `message` points to is on this stack.
    let sent = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(DESCRIPTOR) as _;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast::<RawFd>(), descriptor);
        libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receives the descriptor that the child sent before it became the program.
fn receive(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let (_, descriptors) = descriptor::receive(socket.as_fd(), &mut [0])?;
    descriptors.into_iter().next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}
