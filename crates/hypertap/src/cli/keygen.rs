//! `hypertap keygen`: a new identity for a node.

use std::io::{Read, stdin};

use anyhow::{Context, anyhow};
use clap::Args;
use hypertap_wire::peer_id::PrivateKey;
use serde_json::json;

use crate::config;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// How much of standard input is read; a key is far shorter.
const MAX_INPUT: u64 = 4096;

/// Print a new private key for a services node, and the peer id that belongs to it
///
/// `hypertap init` makes a whole configuration, with such a key in it.
#[derive(Args, Clone, Debug)]
pub struct KeygenArgs {
    /// Read a private key from standard input, and print its peer id
    #[arg(long)]
    public: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Makes and prints a key.
///
/// # Errors
/// What is given is no key, or the system has no random numbers.
pub fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let key = if args.public { given()? } else { config::generate().context("cannot make a key")? };
    let (id, private) = (key.peer_id(), key.to_multibase());
    let mut out = Output::standard();
    match (args.json, args.public) {
        (true, true) => out.json(&json!({ "id": id }))?,
        (true, false) => out.json(&json!({ "privateKey": private, "id": id }))?,
        (false, true) => out.line(id),
        (false, false) => {
            out.line(format_args!("private key  {private}"));
            out.line(format_args!("peer id      {id}"));
        }
    }
    out.finish()
}

/// The key on standard input.
fn given() -> Result<PrivateKey, Failure> {
    let usage = |error: anyhow::Error| Failure::new(Exit::Usage, error.context("standard input"));
    let mut text = String::new();
    stdin().take(MAX_INPUT).read_to_string(&mut text).map_err(|error| usage(error.into()))?;
    let key: PrivateKey = text.trim().parse().map_err(|error| usage(anyhow!("no private key: {error}")))?;
    if config::belongs_together(&key) {
        Ok(key)
    } else {
        Err(usage(anyhow!("the key's public half does not belong to its secret half")))
    }
}
