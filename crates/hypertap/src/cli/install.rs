//! `hypertap install` and `hypertap uninstall`: the service on a machine, and off it again.

mod files;
mod manifest;
mod parts;
mod plan;
mod removal;
mod state;
mod system;

use std::path::PathBuf;

use clap::Args;

pub use self::files::Root;
use self::parts::parts;
use self::plan::Plan;
pub use self::removal::{Removal, Remover};
use crate::exit::Failure;
use crate::output::Output;

/// Put the program, its service and its permission on this machine
///
/// Installs the binary, its man pages and shell completions, a systemd service and socket for tunnels and a
/// service for nodes, a group whose members may connect, and a polkit action for the helper, and lists
/// each in a manifest (/var/lib/hypertap/manifest.json). A file that is there already and is not ours is not touched: the installation is refused before it
/// changes anything.
///
/// On a machine that has an installation already this replaces it. A unit file or a polkit action
/// that was edited meanwhile is kept as it is, and said to be. A service that is running goes on as
/// the earlier version until it is restarted, which is said too. An installation that was interrupted
/// is taken up again, or removed by `hypertap uninstall`.
#[derive(Args, Clone, Debug)]
pub struct InstallArgs {
    /// Install below this directory, made if it is not there, instead of / (nothing is started, no group is made)
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,

    /// Do not start the service's socket
    #[arg(long)]
    pub no_start: bool,
}

/// Remove what `hypertap install` put on this machine, and nothing else
///
/// Stops the service and removes each thing that the manifest lists, also what was edited since:
/// that is said. Drop-in files and whatever else somebody put beside them stay. /run/hypertap goes
/// too where no other tunnel has anything there.
#[derive(Args, Clone, Debug)]
pub struct UninstallArgs {
    /// Uninstall below this directory instead of /
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// What an upgrade leaves running as it was, how a shell is told of it, and why.
const RESTARTED: [(&str, &str, &str); 2] = [
    ("hypertap.service", "hypertap.service", "takes a tunnel that is up down"),
    ("hypertap-node@*.service", "'hypertap-node@*.service'", "cuts connections to services"),
];

/// Installs.
///
/// # Errors
/// [`crate::exit::Exit::Right`] when not root, [`crate::exit::Exit::Taken`] when a file is in the way.
pub fn install(args: &InstallArgs) -> Result<(), Failure> {
    let root = Root::made(&args.root)?;
    let plan = Plan::new(&root, parts()?, root.is_machine())?;
    if let Err(failure) = plan.steps.iter().try_for_each(|step| step.run(&root)) {
        if !plan.is_upgrade {
            undo(&root);
        }
        return Err(failure);
    }
    let mut out = Output::standard();
    for path in plan.steps.iter().filter_map(|step| step.written(&root)) {
        out.line(format_args!("installed {}", path.display()));
    }
    for kept in &plan.kept {
        out.line(format_args!("kept {kept}"));
    }
    if root.is_machine() && system::has_systemd() {
        system::systemctl(&["daemon-reload"]);
        if !args.no_start {
            system::systemctl(&["enable", "--now", "hypertap.socket"]);
        }
        for (unit, word, what) in RESTARTED {
            if plan.is_upgrade && plan.has_changes && system::is_active(unit) {
                out.line(format_args!(
                    "the running service is still the version that was installed before; this one runs after \
                     `sudo systemctl restart {word}`, which {what}",
                ));
            }
        }
    }
    let group = system::GROUP;
    out.line(format_args!("members of the group {group} may connect: `sudo usermod -aG {group} USER`"));
    out.finish()
}

/// Takes a first installation that failed back; a later one is finished by the next `install`.
fn undo(root: &Root) {
    let undone = Removal::plan(root.clone()).and_then(|removal| removal.carry_out(Remover::CommandLine));
    if let Err(failure) = undone {
        tracing::warn!("{:#}; `hypertap uninstall` removes what was installed so far", failure.error);
    }
}

/// Uninstalls.
///
/// # Errors
/// When something that is listed cannot be removed; the manifest then still lists it.
pub fn uninstall(args: &UninstallArgs) -> Result<(), Failure> {
    let root = Root::existing(&args.root)?;
    let removed = Removal::plan(root)?.carry_out(Remover::CommandLine)?;
    let mut out = Output::standard();
    if removed.is_empty() {
        out.line(format_args!("nothing is installed below {}", args.root.display()));
    }
    for thing in removed {
        out.line(format_args!("removed {thing}"));
    }
    out.finish()
}
