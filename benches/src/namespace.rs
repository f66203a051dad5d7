//! Network namespaces of our own, gone when dropped.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use crate::process;

const PREFIX: &str = "hypertap-bench-";
const RUN: &str = "/run/netns";

/// A namespace with its loopback up; dropping it deletes it.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn create() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on this namespace.
    pub(crate) fn ip(&self, words: &[&str]) -> Result<String> {
        ip(&[&["-n", &self.name], words].concat())
    }

    /// Runs `job` on a thread in this namespace. A socket that it returns stays there.
    pub(crate) fn inside<T: Send>(&self, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = Path::new(RUN).join(&self.name);
        let enter = || {
            let file = File::open(&file).with_context(|| format!("open {}", file.display()))?;
            setns(file, CloneFlags::CLONE_NEWNET).context("enter the namespace")?;
            job()
        };
        thread::scope(|scope| scope.spawn(enter).join())
            .map_err(|_| anyhow!("the thread in {} panicked", self.name))?
    }

    /// Moves the device `name`, which may appear a moment later, to `to`, gives it its address and a route.
    pub(crate) fn give_link(&self, name: &str, to: &Namespace, address: &str, peer: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(5);
        while self.ip(&["link", "show", "dev", name]).is_err() {
            process::check()?;
            if Instant::now() > end {
                bail!("no device {name} within 5 s");
            }
            thread::sleep(Duration::from_millis(5));
        }
        if self.name != to.name {
            self.ip(&["link", "set", name, "netns", &to.name])?;
        }
        to.ip(&["address", "add", &format!("{address}/32"), "dev", name])?;
        to.ip(&["link", "set", name, "mtu", "1500", "up"])?;
        to.ip(&["route", "add", peer, "dev", name])?;
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!("bench: {error:#}");
        }
    }
}

/// Deletes namespaces that an earlier run left when it was killed.
pub(crate) fn sweep() {
    let Ok(entries) = fs::read_dir(RUN) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).map(str::to_owned);
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}

fn ip(words: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(words).output().context("run ip: is iproute2 installed?")?;
    if !output.status.success() {
        bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
