//! Becoming an ordinary user, and what groups a user is in. Never run.

use std::ffi::{CStr, CString};
use std::io;
use std::mem;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};

use crate::user::{NotDropped, User};

/// More groups than a user of a directory service has.
const MAX_GROUPS: usize = 65_536;

/// Every group of a user, `primary` among them (getgrouplist(3)).
pub(crate) fn groups_of(name: &CStr, primary: Gid) -> nix::Result<Vec<Gid>> {
    let mut groups: Vec<libc::c_int> = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).map_err(|_| Errno::EOVERFLOW)?;
        // SAFETY: the name ends in NUL, there is room for `count` groups, and both are written before
        // they are read.
        let found = unsafe {
            libc::getgrouplist(
                name.as_ptr(),
                primary.as_raw().cast_signed(),
                groups.as_mut_ptr(),
                &raw mut count,
            )
        };
        if found >= 0 {
            let count = usize::try_from(count).unwrap_or(0).min(groups.len());
            return Ok(groups[..count].iter().map(|group| Gid::from_raw(group.cast_unsigned())).collect());
        }
        // It does not say how many there are.
        if groups.len() >= MAX_GROUPS {
            return Err(Errno::EOVERFLOW);
        }
        groups.resize(groups.len() * 2, 0);
    }
}

/// Makes this process `user`'s for good: its groups and all its ids. The way back is tried and must be
/// closed. Must run before the process starts threads. macOS has no capabilities to give up; a set-uid
/// program that the process starts gives rights back, as to any user.
///
/// # Errors
/// [`NotDropped`]; end the process then.
pub fn drop_to(user: &User) -> Result<(), NotDropped> {
    let step = |doing| move |source: io::Error| NotDropped::Kernel { doing, source };
    if user.uid == 0 {
        return Err(NotDropped::Root);
    }
    match threads().map_err(step("count the threads"))? {
        1 => {}
        threads => return Err(NotDropped::Threads(threads)),
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let name = CString::new(user.name.as_str()).map_err(|error| step("take on the groups")(error.into()))?;
    // SAFETY: the name ends in NUL.
    if unsafe { libc::initgroups(name.as_ptr(), gid.as_raw().cast_signed()) } != 0 {
        return Err(step("take on the groups")(io::Error::last_os_error()));
    }
    // As root, each sets the real, the effective and the saved id (setuid(2)).
    unistd::setgid(gid).map_err(|errno| step("take on the group")(errno.into()))?;
    unistd::setuid(uid).map_err(|errno| step("take on the uid")(errno.into()))?;
    no_way_back(user)
}

fn no_way_back(user: &User) -> Result<(), NotDropped> {
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    if unistd::setuid(root.0).is_ok() || unistd::seteuid(root.0).is_ok() {
        return Err(NotDropped::StillThere("it became root again"));
    }
    if user.gid != 0 && (unistd::setgid(root.1).is_ok() || unistd::setegid(root.1).is_ok()) {
        return Err(NotDropped::StillThere("it took root's group again"));
    }
    if [unistd::getuid(), unistd::geteuid()].iter().any(|uid| uid.as_raw() != user.uid) {
        return Err(NotDropped::StillThere("one of its uids is another"));
    }
    Ok(())
}

/// How many threads this process has (libproc.h).
fn threads() -> io::Result<usize> {
    // SAFETY: all bytes zero is a valid value of these numbers.
    let mut info: libc::proc_taskinfo = unsafe { mem::zeroed() };
    let size = libc::c_int::try_from(mem::size_of_val(&info)).expect("a small structure");
    let pid = std::process::id().cast_signed();
    // SAFETY: the kernel writes at most `size` bytes of plain numbers to where there is room for them.
    let written = unsafe { libc::proc_pidinfo(pid, libc::PROC_PIDTASKINFO, 0, (&raw mut info).cast(), size) };
    if written != size {
        return Err(io::Error::last_os_error());
    }
    usize::try_from(info.pti_threadnum).map_err(io::Error::other)
}
