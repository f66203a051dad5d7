//! `hypertap helper`: the privileged half in a process of its own.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use hypertap_platform::helper::{Work, keep, serve};
use hypertap_platform::rights::rights;
use hypertap_platform::{Privileged, in_process_without_journal};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure};
use crate::socket_file::Seen;
use crate::tunnel::startup::{in_process, recover_as_far_as_possible, replacing};

/// Do the jobs that need rights for another hypertap process
///
/// Serves the socket that it has as standard input, and nothing else: it makes and removes the
/// interface, its addresses, routes, rules and DNS capture. `hypertap tunnel --user` starts it, and
/// so does pkexec for the `loadConfig` command of an ordinary user's daemon. When its other end goes
/// away, or on SIGTERM, it undoes what it did and ends. The work is done by a child process; when that
/// is lost, another undoes what it left, and takes its place.
#[derive(Args, Clone, Debug)]
pub struct HelperArgs {
    /// Where the journal is kept [default: /run/hypertap]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Keep no journal, and make TAP interfaces only
    #[arg(long, hide = true, conflicts_with_all = ["state_dir", "replace"])]
    pub no_journal: bool,

    /// A file or empty directory to remove at the end, for a daemon that has dropped its rights
    #[arg(long, value_name = "PATH", hide = true)]
    pub remove: Vec<PathBuf>,

    /// A socket's file to remove likewise: its device's and its own number, as in 8:1234, and its path
    #[arg(long, value_names = ["NUMBER", "PATH"], num_args = 2, hide = true)]
    pub remove_socket: Vec<OsString>,

    /// Take interfaces over from other instances
    #[arg(long, hide = true)]
    pub replace: bool,

    /// With --replace, the control socket of the daemon itself
    #[arg(long, value_name = "PATH", hide = true)]
    pub own: Option<PathBuf>,
}

/// Ends of the working process after which another would do no better: who sends nonsense goes on with it,
/// and rights do not come back.
const FINALS: &[u8] = &[Exit::Protocol as u8, Exit::Right as u8];

/// Serves until the other end goes away.
///
/// # Errors
/// [`Exit::Usage`] without a socket, [`Exit::Right`] without rights, [`Exit::Protocol`] when the
/// other end sends nonsense.
pub fn run(args: &HelperArgs) -> Result<(), Failure> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("standard input")?;
    if !hypertap_platform::process::is_socket(&socket) {
        let text = anyhow!(
            "standard input is no socket: `hypertap tunnel --user` and `loadConfig` start this by themselves"
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let takes_paths =
        args.state_dir.is_some() || !args.remove.is_empty() || !args.remove_socket.is_empty() || args.replace;
    if takes_paths && std::env::var_os("PKEXEC_UID").is_some() {
        let text = anyhow!("through pkexec the helper takes no paths from its user, and no --replace");
        return Err(Failure::new(Exit::Usage, text));
    }
    let state_dir = match &args.state_dir {
        _ if args.no_journal => None,
        Some(directory) => Some(directory.clone()),
        None => Some(hypertap_platform::default_state_dir()),
    };
    let state_dir = state_dir.as_deref();
    // What none can do without is tried once before there is any, since each would fail at it.
    drop(half(args, state_dir)?);
    // What is there now is our daemon's; what is there at its end may be its successor's.
    let found: Vec<_> = args.remove.iter().map(|path| Seen::at(path, None)).collect();
    let told = args.remove_socket.chunks_exact(2);
    let told: Vec<_> = told.filter_map(|told| Seen::at(told[1].as_ref(), Some(&told[0]))).collect();
    let code = keep(socket, FINALS, |work| match work_until_told(work, args, state_dir) {
        Ok(()) => 0,
        Err(failure) => {
            failure.report();
            failure.exit as u8
        }
    });
    // The daemon has removed what it could.
    for socket in told {
        let _ = socket.remove();
    }
    for (path, socket) in args.remove.iter().zip(found) {
        let _ = match socket {
            Some(socket) => socket.remove(),
            None => std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path)),
        };
    }
    match code.context("cannot keep a helper")? {
        0 => Ok(()),
        // The process that failed has said why.
        code => std::process::exit(code.into()),
    }
}

/// What does the jobs.
fn half(args: &HelperArgs, state_dir: Option<&Path>) -> Result<Box<dyn Privileged>, Failure> {
    match state_dir {
        Some(state_dir) => {
            Ok(replacing(in_process(state_dir)?, args.replace, state_dir, args.own.as_deref()))
        }
        None => Ok(in_process_without_journal().context("cannot ask the kernel for interfaces")?),
    }
}

/// A helper's whole life: undoes what an earlier one left, then does what it is asked to, then undoes that.
fn work_until_told(work: Work, args: &HelperArgs, state_dir: Option<&Path>) -> Result<(), Failure> {
    if !rights().net_admin {
        let text = anyhow!("this process may not configure the network: run hypertap as root");
        return Err(Failure::new(Exit::Right, text));
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        // A terminal's Ctrl-C goes to the daemon too, whose end ends this.
        let _interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
        let _hang_up = signal(SignalKind::hangup()).context("SIGHUP")?;
        let Some(socket) = work.socket else {
            if let Some(state_dir) = state_dir {
                hypertap_platform::recover(state_dir).await?;
            }
            return Ok(());
        };
        if let Some(state_dir) = state_dir {
            recover_as_far_as_possible(state_dir).await;
        }
        let half = half(args, state_dir)?;
        let shutdown = async move {
            terminate.recv().await;
        };
        serve(socket, work.peer, half, shutdown).await.map_err(|error| {
            let exit =
                if error.kind() == std::io::ErrorKind::InvalidData { Exit::Protocol } else { Exit::Other };
            Failure::new(exit, error)
        })
    })
}
