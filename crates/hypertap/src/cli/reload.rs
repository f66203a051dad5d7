//! `hypertap reload`: has a running node read its configuration anew.

use clap::Args;
use serde_json::Value;

use super::node::NodePlace;
use super::services::cut;
use crate::exit::Failure;
use crate::node::Request;
use crate::output::Output;

/// Have a running node read its configuration anew
///
/// All of it applies, or nothing does and this says why: a bad configuration is refused, and so is a change of
/// what only a restart can change (the private key, listenAddresses, bootstrapPeers, domain,
/// filterPrivateAddresses, localServiceNetwork, limits). Connections go on, except those to services and
/// peers that are gone or no longer permitted. SIGHUP does the same.
#[derive(Args, Clone, Debug)]
pub struct ReloadArgs {
    #[command(flatten)]
    place: NodePlace,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks the node.
///
/// # Errors
/// No node answers, or why it changed nothing.
pub fn run(args: &ReloadArgs) -> Result<(), Failure> {
    let done = args.place.ask(&Request::Reload)?;
    let mut out = Output::standard();
    if args.json {
        out.json(&done)?;
    } else {
        let number = |name: &str| done.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (added, removed, changed) = (number("added"), number("removed"), number("changed"));
        if (added, removed, changed) == (0, 0, 0) {
            out.line("reloaded: no service or peer differs");
        } else {
            let cut = cut(number("cut"));
            out.line(format_args!("reloaded: {added} added, {removed} removed, {changed} changed{cut}"));
        }
    }
    out.finish()
}
