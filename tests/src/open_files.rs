//! How many files a running process may have open.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::Pid;

use crate::machine::output;

/// Lets a process open so many files more; `None` lets it have plenty. What it closes meanwhile, it can open in
/// its place.
#[track_caller]
pub fn allow_more_files(process: Pid, more: Option<usize>) {
    let open: Vec<usize> = fs::read_dir(format!("/proc/{process}/fd"))
        .expect("it runs")
        .map(|entry| entry.expect("a descriptor").file_name().to_string_lossy().parse().expect("a number"))
        .collect();
    // A new one gets the lowest number that is free, which must be below the limit.
    let limit = more.map_or(1024, |more| {
        (0..).filter(|number| !open.contains(number)).nth(more).expect("there are numbers without end")
    });
    limit_files(process, limit);
}

/// Lets a process have descriptors below this number only; those that it has stay.
#[track_caller]
pub fn limit_files(process: Pid, limit: usize) {
    // One's own processes may always be limited; others' only with a right that root may lack here.
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &process.to_string(), &format!("--nofile={limit}:")]);
    let done = output(prlimit.uid(id(process, "Uid:")).gid(id(process, "Gid:")));
    assert!(done.status.success(), "{prlimit:?}: {done:?}");
}

/// As whom a process runs (`status` of proc(5)).
fn id(process: Pid, name: &str) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is somebody's");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}
