//! From checked settings to a server that may serve: rights, sockets, and whose they are, in that order.
//!
//! Whatever needs root happens here, before `--user` gives it up for good.

use std::os::fd::OwnedFd;

use anyhow::{Context, anyhow};
use hypertap_platform::helper::{self, Via};
use hypertap_platform::inherited::Inherited;
use hypertap_platform::link::ipv6_is_off;
use hypertap_platform::rights::{Driver, rights};
use hypertap_platform::user::{User, drop_to};
use hypertap_platform::{Privileged, TapName, TapSpec, in_process_without_journal};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::command::Program;
use super::host::{Host, failure, name_taken, no_right};
use super::listen::{Doors, Newcomer};
use super::open_files;
use super::settings::{Protocol, Settings};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::tunnel::signals::Signals;

/// Everything a server starts with.
pub struct Prepared {
    /// What it is run with.
    pub settings: Settings,
    /// Where clients come in.
    pub doors: Doors,
    /// The interface, where there is to be one.
    pub host: Option<Host>,
    /// The helper, where there is one that makes no interface but removes files.
    pub helper: Option<Box<dyn Privileged>>,
    /// A program that is a client.
    pub program: Option<Program>,
    /// What ends it.
    pub signals: Signals,
    /// What asks for a report.
    pub report: Signal,
}

/// Prepares a server on the sockets that were inherited, each with its number, and on its own.
///
/// # Errors
/// Each start-up problem, as one sentence with its exit code.
pub async fn prepare(settings: Settings, inherited: Vec<(i32, Inherited)>) -> Result<Prepared, Failure> {
    let half = match &settings.host {
        Some(spec) => Some(half(spec).await?),
        None => None,
    };
    // Before there is a file, which a signal would leave behind.
    let signals = Signals::new().context("cannot catch signals")?;
    let report = signal(SignalKind::user_defined1()).context("cannot catch SIGUSR1")?;
    let mut doors = Doors::open(&settings, inherited)?;
    let half = match &settings.user {
        None => half,
        Some(user) => {
            drop(half);
            split(&doors, user).await?
        }
    };
    let of_datagrams = settings.protocol == Protocol::Datagram;
    let program =
        Program::start(&settings.command, of_datagrams)?.map(|(program, stream): (Program, OwnedFd)| {
            let by = program.name().to_owned();
            doors.connected.push(Newcomer { stream, protocol: settings.protocol, by, is_program: true });
            program
        });
    // What was started until now has the limit that it is to have.
    open_files::make_room(settings.max_clients, settings.listens.len());
    let (host, helper) = match (&settings.host, half) {
        (Some(spec), Some(half)) => (Some(Host::new(spec.clone(), half, settings.print_name)), None),
        (_, helper) => (None, helper),
    };
    Ok(Prepared { settings, doors, host, helper, program, signals, report })
}

/// The half that makes the interface, in this process; what would fail later is found out now.
async fn half(spec: &TapSpec) -> Result<Box<dyn Privileged>, Failure> {
    let rights = rights();
    if !rights.net_admin {
        return Err(no_right("this process may not change the machine's network"));
    }
    if let TapName::Exact(name) = &spec.name
        && nix::net::if_::if_nametoindex(name.as_str()).is_ok()
    {
        return Err(name_taken(name));
    }
    for (option, wants_ipv6) in
        [("--ip6-address", spec.ipv6.is_some()), ("--enable-router-advertisements", spec.accept_ra)]
    {
        if wants_ipv6 && let Some(reason) = ipv6_is_off() {
            return Err(anyhow!("{option}: {reason}").into());
        }
    }
    let mut half = in_process_without_journal().context("cannot ask the kernel for interfaces")?;
    if rights.driver != Driver::Ready {
        half.load_driver().await.map_err(failure)?;
    }
    Ok(half)
}

/// Starts the helper, which makes the interface and removes the sockets' files, then drops this process's
/// rights for good.
async fn split(doors: &Doors, user: &User) -> Result<Option<Box<dyn Privileged>>, Failure> {
    let started = if rights().net_admin {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut words = log::arguments().to_vec();
        for file in &doors.files {
            words.extend(["--remove-socket".into(), file.number().into(), file.path().into()]);
        }
        Some(helper::spawn(&program, Via::Direct, None, &[], &words)?)
    } else {
        None
    };
    drop_to(user).map_err(|error| Failure::new(Exit::Right, error))?;
    match started {
        None => Ok(None),
        Some(started) => Ok(Some(Box::new(started.connect().await?))),
    }
}
