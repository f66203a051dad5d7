//! The programs around the tap door's paths: hypertap as a server of one interface or as a switch, and `vde_switch`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;
use crate::path::NEAR;
use crate::process::{self, Process};
use crate::workshop::Workshop;

const PATIENCE: Duration = Duration::from_secs(10);

/// What `hypertap tap` is started for.
#[derive(Clone, Copy)]
pub(crate) struct Tap<'a> {
    /// `le16` or `datagram`.
    pub(crate) framing: &'a str,
    pub(crate) clients: u32,
    /// The host's interface; a switch among clients alone without it.
    pub(crate) interface: Option<&'a str>,
}

impl Tap<'_> {
    /// Starts it and waits for its socket, which is not connected to: that would be a client.
    pub(crate) fn start(self, shop: &Workshop, namespace: &Namespace) -> Result<(Process, PathBuf)> {
        let hypertap = shop.hypertap.as_deref().context("no hypertap to measure")?.display().to_string();
        let socket = shop.dir().join(format!("{}.tap", namespace.name()));
        let mut words = vec![
            hypertap,
            "tap".to_owned(),
            format!("--listen={},framing={}", socket.display(), self.framing),
            "--keep".to_owned(),
            format!("--max-clients={}", self.clients),
            "--mtu=1500".to_owned(),
        ];
        match self.interface {
            Some(name) => words.extend([format!("--ip-address={NEAR}/24"), format!("--name={name}")]),
            None => words.push("--no-host".to_owned()),
        }
        let mut process = Process::start(shop.dir(), namespace.name(), &words)?;
        appears(&socket, &mut process)?;
        Ok((process, socket))
    }
}

/// Starts `vde_switch`; the directory that its clients are told.
pub(crate) fn vde_switch(shop: &Workshop, namespace: &Namespace) -> Result<(Process, PathBuf)> {
    // It ends when its standard input does, which therefore is a pipe that it could write to itself.
    const SCRIPT: &str = r#"mkfifo "$1.in" && exec vde_switch --sock "$1" 0<>"$1.in""#;
    let directory = shop.dir().join(format!("{}.vde", namespace.name()));
    let words = ["sh", "-c", SCRIPT, "vde_switch", &directory.display().to_string()];
    let mut process = Process::start(shop.dir(), namespace.name(), &words)?;
    appears(&directory.join("ctl"), &mut process).context("vde_switch: is vde2 installed?")?;
    Ok((process, directory))
}

fn appears(file: &Path, process: &mut Process) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !file.exists() {
        process.alive()?;
        if Instant::now() > end {
            bail!("no {} after {PATIENCE:?}", file.display());
        }
        process::rest(Duration::from_millis(5))?;
    }
    Ok(())
}
