//! What the threads of a daemon have read and written (`proc_pid_io(5)`).

use std::fs;
use std::path::PathBuf;

use crate::daemon::Daemon;
use crate::wait::eventually;

/// What a thread has read and written with read(2), write(2) and their like; sockets' own calls do not count.
#[derive(Clone, Copy, Debug)]
pub struct Io {
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Calls that write.
    pub writes: u64,
}

impl Daemon {
    /// What its thread of this name has read and written so far. A thread names itself, a moment after it began.
    #[track_caller]
    pub fn io_of(&self, thread: &str) -> Io {
        let folder = format!("/proc/{}/task", self.pid());
        let is_named = |task: &PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == thread)
        };
        let mut found = None;
        eventually(&format!("it has a thread {thread}"), || {
            let tasks = fs::read_dir(&folder).expect("it runs").flatten();
            found = tasks.map(|entry| entry.path()).find(is_named);
            found.is_some()
        });
        let task = found.expect("it was waited for");
        let text = fs::read_to_string(task.join("io")).expect("its user may look");
        let number = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("proc_pid_io(5)");
            line.trim().parse().expect("a number")
        };
        Io { bytes_read: number("rchar:"), writes: number("syscw:") }
    }
}
