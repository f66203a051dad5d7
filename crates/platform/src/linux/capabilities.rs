//! Giving every capability up: capabilities(7).

use std::fs;
use std::io;
use std::ptr;

use nix::sys::prctl;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h: two words a set.
const VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// How many threads this process has.
pub(crate) fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// Empties the ambient and the bounding set, and lets no program give rights back. Wants
/// `CAP_SETPCAP`; without it the bounding set stays, and `no_new_privs` alone
/// keeps programs from gaining any of it.
pub(crate) fn lower_bound() -> io::Result<()> {
    // SAFETY: each takes numbers only.
    unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        // Ends at the first number that the kernel does not know.
        for capability in 0..64 {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINVAL) if capability > 0 => break,
                    Some(libc::EPERM) => break,
                    _ => return Err(error),
                }
            }
        }
    }
    prctl::set_keepcaps(false)?;
    prctl::set_no_new_privs()?;
    Ok(())
}

/// Empties the effective, permitted and inheritable sets, and leaves the process undumpable.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    let (header, none) = (Header { version: VERSION, pid: 0 }, [Sets::default(); 2]);
    // SAFETY: the header says how many sets there are, and both live across the call.
    if unsafe { libc::syscall(libc::SYS_capset, ptr::from_ref(&header), none.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Whether any of the three sets has a capability.
pub(crate) fn has_capabilities() -> io::Result<bool> {
    let (mut header, mut sets) = (Header { version: VERSION, pid: 0 }, [Sets::default(); 2]);
    // SAFETY: the header says how many sets the kernel may write, and that is how many there are.
    if unsafe { libc::syscall(libc::SYS_capget, ptr::from_mut(&mut header), sets.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(sets != [Sets::default(); 2])
}
