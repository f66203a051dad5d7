//! Who asks for a socket, as far as /proc shows that to everybody.
//!
//! What needs a right over the other process is left alone, above all `/proc/PID/ns`, which asks for
//! ptrace(2)'s: a service that has only the rights of its job has none over other users' programs. Where
//! `/proc` is mounted with `hidepid=` even the rest is hidden but from root's group or `gid=`.

use std::fs;
use std::io;
use std::ptr;

/// Which network namespace a thread is in, as a number to compare while both are there: each namespace
/// has files of its own in `/proc/PID/net`.
///
/// # Errors
/// When `/proc` does not show that thread, or it is gone.
pub(super) fn network_space(thread: &str) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(format!("/proc/{thread}/net/dev"))?.ino())
}

/// A group of the thread that may have ping sockets in our network namespace: icmp(7),
/// `ping_group_range`, which is for IPv6's as well.
///
/// # Errors
/// `EACCES` when none may, as from socket(2); of reading `/proc`.
pub(super) fn ping_group(thread: u32) -> io::Result<libc::gid_t> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range")?;
    let status = fs::read_to_string(format!("/proc/{thread}/status"))?;
    let mut ends = numbers(&range);
    let (low, high) = ends.next().zip(ends.next()).ok_or(io::ErrorKind::InvalidData)?;
    let may = |group: &libc::gid_t| (low..=high).contains(group);
    groups(&status).find(may).ok_or_else(|| io::Error::from_raw_os_error(libc::EACCES))
}

/// The groups in a `/proc/PID/status` that count for a right: of the four in `Gid`, the effective one.
fn groups(status: &str) -> impl Iterator<Item = libc::gid_t> {
    let line = |name| status.lines().find_map(move |line| line.strip_prefix(name)).unwrap_or_default();
    numbers(line("Gid:")).skip(1).take(1).chain(numbers(line("Groups:")))
}

fn numbers(text: &str) -> impl Iterator<Item = libc::gid_t> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok())
}

/// Makes `group` the calling thread's only supplementary one. Other threads keep theirs, as they would
/// not by the C library's setgroups.
///
/// # Errors
/// `EPERM` without `CAP_SETGID`.
pub(super) fn take_on(group: libc::gid_t) -> io::Result<()> {
    // SAFETY: the call reads the one number that the pointer leads to.
    let done = unsafe { libc::syscall(libc::SYS_setgroups, 1, ptr::from_ref(&group)) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_group_and_the_supplementary_ones_count() {
        let status =
            "Name:\tGid:\\n1\nUid:\t7\t7\t7\t7\nGid:\t10\t11\t12\t13\nFDSize:\t64\nGroups:\t4 24 65534 \n";
        assert_eq!(groups(status).collect::<Vec<_>>(), [11, 4, 24, 65534]);
        assert_eq!(groups("Gid:\t1\t2\t3\t4\nGroups:\t \n").collect::<Vec<_>>(), [2]);
        assert_eq!(groups("").count(), 0);
    }

    #[test]
    fn a_thread_is_in_the_network_space_of_its_process() {
        let ours = network_space("self").expect("shown");
        assert_eq!(network_space("thread-self").expect("shown"), ours);
        assert_ne!(ours, 0);
    }
}
