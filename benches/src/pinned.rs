//! One core for all parts of a path, so that a round trip tells of them and not of where the scheduler put each:
//! spread over cores that sleep between packets, the same path takes several times as long.

use std::fs;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Threads that have one core together as long as this lives.
pub(crate) struct Pinned {
    threads: Vec<Pid>,
    before: CpuSet,
}

impl Pinned {
    /// Gives these processes' threads, the calling one, and what it starts meanwhile one core.
    pub(crate) fn on_one_core(processes: impl IntoIterator<Item = Pid>) -> Result<Self> {
        let itself = Pid::from_raw(0);
        let before = sched_getaffinity(itself).context("ask for the cores")?;
        let first = (0..CpuSet::count()).find(|core| before.is_set(*core).unwrap_or(false));
        let mut one = CpuSet::new();
        one.set(first.context("there is no core")?)?;
        let mut pinned = Self { threads: Vec::new(), before };
        for process in processes {
            for thread in fs::read_dir(format!("/proc/{process}/task")).context("list its threads")? {
                pinned.pin(Pid::from_raw(thread?.file_name().to_string_lossy().parse()?), &one)?;
            }
        }
        pinned.pin(itself, &one)?;
        Ok(pinned)
    }

    fn pin(&mut self, thread: Pid, core: &CpuSet) -> Result<()> {
        sched_setaffinity(thread, core).context("choose a thread's core")?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        for thread in &self.threads {
            // It may have ended.
            let _ = sched_setaffinity(*thread, &self.before);
        }
    }
}
