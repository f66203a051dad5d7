//! `hypertap recover`: what killed tunnels left, off the machine now instead of at the next start.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use hypertap_platform::Recovered;
use hypertap_platform::rights::rights;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::tunnel::startup;

/// Remove what tunnels that were killed left on this machine
///
/// Every `hypertap tunnel` does this before it listens. Only what the journal lists is removed, and
/// only where the process that made it is dead; running tunnels are not disturbed. The systemd
/// service runs it after each end.
#[derive(Args, Clone, Debug)]
pub struct RecoverArgs {
    /// Where the journal is kept [default: /run/hypertap as root]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Recovers, and prints what was undone.
///
/// # Errors
/// [`Exit::Right`] without the right to change the network, or what could not be removed.
pub fn run(args: &RecoverArgs) -> Result<(), Failure> {
    if !rights().net_admin {
        let text = anyhow!("this process may not configure the network; run `sudo hypertap recover`");
        return Err(Failure::new(Exit::Right, text));
    }
    let state_dir = args.state_dir.clone().unwrap_or_else(hypertap_platform::default_state_dir);
    let recovered = if state_dir.exists() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
        runtime.block_on(startup::recover(&state_dir))?
    } else {
        Vec::new()
    };
    let mut out = Output::standard();
    if args.json {
        let list: Vec<Value> = recovered.iter().map(to_json).collect();
        out.json(&list)?;
    } else if recovered.is_empty() {
        out.line(format_args!("nothing was left in {}", state_dir.display()));
    } else {
        for undone in &recovered {
            out.line(format_args!("removed {undone}"));
        }
    }
    out.finish()
}

fn to_json(recovered: &Recovered) -> Value {
    let Recovered { pid, link, deleted_link, rules, routes } = recovered;
    json!({"pid": pid, "interface": link, "deleted": deleted_link, "rules": rules, "routes": routes})
}
