//! Becoming an ordinary user, and what groups a user is in.

use std::ffi::{CStr, CString};
use std::io;

use nix::unistd::{self, Gid, Uid};

use super::capabilities::{drop_capabilities, has_capabilities, lower_bound, threads};
use crate::user::{NotDropped, User};

/// Every group of a user, `primary` among them (getgrouplist(3)).
pub(crate) fn groups_of(name: &CStr, primary: Gid) -> nix::Result<Vec<Gid>> {
    unistd::getgrouplist(name, primary)
}

/// Makes this process `user`'s for good: its groups, its ids, no capability in any set, none in the
/// bounding set either, and no set-uid program gives any back (`no_new_privs`). The way back is tried
/// and must be closed. Must run before the process starts threads.
///
/// The process stays undumpable (prctl(2)): it has held more rights than its user, and may hold
/// descriptors that its user could otherwise take out of it with ptrace.
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
    lower_bound().map_err(step("lower the bound of capabilities"))?;
    unistd::initgroups(&name, gid).map_err(|errno| step("take on the groups")(errno.into()))?;
    unistd::setresgid(gid, gid, gid).map_err(|errno| step("take on the group")(errno.into()))?;
    unistd::setresuid(uid, uid, uid).map_err(|errno| step("take on the uid")(errno.into()))?;
    drop_capabilities().map_err(step("drop the capabilities"))?;
    no_way_back(user)
}

fn no_way_back(user: &User) -> Result<(), NotDropped> {
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    if unistd::setresuid(root.0, root.0, root.0).is_ok() || unistd::seteuid(root.0).is_ok() {
        return Err(NotDropped::StillThere("it became root again"));
    }
    if unistd::setgroups(&[root.1]).is_ok() || (user.gid != 0 && unistd::setegid(root.1).is_ok()) {
        return Err(NotDropped::StillThere("it took root's group again"));
    }
    let ids = unistd::getresuid().map_err(|_| NotDropped::StillThere("its uids are not known"))?;
    if [ids.real, ids.effective, ids.saved].iter().any(|uid| uid.as_raw() != user.uid) {
        return Err(NotDropped::StillThere("one of its uids is another"));
    }
    if has_capabilities().unwrap_or(true) {
        return Err(NotDropped::StillThere("it has a capability"));
    }
    Ok(())
}
