//! Killing a process with all that descends from it, and nobody else.
//!
//! No group of processes does for that: ours would be killed too, and another one would not get the
//! terminal's Ctrl-C. So the tree is looked up, and then its processes may end, and others get their numbers.
//! A number together with a start time is one process's for good; a `pidfd_open(2)` between two looks
//! that find the same is that process's, and what is sent through it reaches that process or none.

use std::collections::HashSet;
use std::fs;
use std::process::Child;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process, as `proc_pid_stat(5)` tells it from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    id: i32,
    /// In clock ticks since the machine started.
    started: u64,
}

/// What is known of a process at one moment.
struct Entry {
    process: Process,
    /// Its parent's number, which changes when that ends.
    parent: i32,
    /// Whether it is stopped or has ended, and so makes no children.
    is_still: bool,
}

impl Process {
    /// That of a child which has not been waited for. `None` where there is no such file system.
    pub(crate) fn of(child: &Child) -> Option<Self> {
        Self::read(child.id().try_into().ok()?).map(|entry| entry.process)
    }

    /// The process that has the number now.
    fn read(id: i32) -> Option<Entry> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in brackets, may hold anything. After it come the state, the parent and, as the
        // file's 22nd field, the start.
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        let is_still = matches!(fields.next()?, "T" | "t" | "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Entry { process: Self { id, started }, parent, is_still })
    }

    /// Whether it is there, if only as a zombie.
    fn is_there(&self) -> bool {
        Self::read(self.id).is_some_and(|entry| entry.process == *self)
    }

    /// Kills it and all that descend from it, unless it has been waited for.
    pub(crate) fn kill_tree(self) {
        let mut tree = HashSet::new();
        let mut were_still = false;
        // A signal takes a moment: what is about to stop may have a child yet. So all were seen to be still
        // before the look that finds nobody new.
        while let Some(found) = self.descent() {
            let now: HashSet<_> = found.iter().map(|entry| entry.process).collect();
            if were_still && now.is_subset(&tree) {
                break;
            }
            were_still = found.iter().all(|entry| entry.is_still);
            for process in now.difference(&tree) {
                process.signal(Signal::STOP);
            }
            tree.extend(now);
        }
        for process in tree {
            process.signal(Signal::KILL);
        }
    }

    /// It and all that descend from it; `None` once another has its number.
    fn descent(self) -> Option<Vec<Entry>> {
        let mut all = all();
        let mut ids = HashSet::from([self.id]);
        // A process's number says nothing about its parent's.
        while all.iter().filter(|one| ids.contains(&one.parent) && ids.insert(one.process.id)).count() > 0 {}
        all.retain(|one| ids.contains(&one.process.id));
        self.is_there().then_some(all)
    }

    /// Sends it a signal, unless it has ended by itself.
    fn signal(self, signal: Signal) {
        let Some(id) = Pid::from_raw(self.id) else { return };
        if let Ok(handle) = pidfd_open(id, PidfdFlags::empty())
            && self.is_there()
        {
            let _ = pidfd_send_signal(handle, signal);
        }
    }
}

/// Every process there is.
fn all() -> Vec<Entry> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn sleeping() -> Child {
        Command::new("sleep").arg("1000").spawn().expect("it starts")
    }

    #[test]
    fn a_process_that_has_the_number_of_an_earlier_one_is_not_killed() {
        let mut child = sleeping();
        let now = Process::of(&child).expect("proc is there");
        let earlier = Process { started: now.started - 1, ..now };
        earlier.kill_tree();
        earlier.signal(Signal::KILL);
        assert_eq!(child.try_wait().expect("it is ours"), None, "it was killed");
        now.kill_tree();
        assert!(!child.wait().expect("it is ours").success());
    }

    #[test]
    fn what_makes_children_all_the_time_is_killed_with_all_of_them() {
        for _ in 0..20 {
            let mut child = Command::new("sh")
                .args(["-c", "while :; do sleep 1000 & done"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("it starts");
            thread::sleep(Duration::from_millis(5));
            Process::of(&child).expect("proc is there").kill_tree();
            child.wait().expect("it is ours");
            // It ends when nobody has the other end any more.
            let mut pipe = child.stdout.take().expect("it was asked for");
            let (tell, told) = mpsc::sync_channel(1);
            thread::spawn(move || tell.send(pipe.read(&mut [0]).expect("a pipe")));
            assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(0), "some child lives");
        }
    }

    #[test]
    fn a_process_that_was_waited_for_is_gone() {
        let mut child = sleeping();
        let process = Process::of(&child).expect("proc is there");
        child.kill().expect("it is ours");
        assert!(process.is_there());
        child.wait().expect("it is ours");
        assert!(!process.is_there());
        process.kill_tree();
    }
}
