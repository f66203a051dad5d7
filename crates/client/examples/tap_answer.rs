//! Plays a machine beside this one on an Ethernet interface: answers ARP for an address, and the pings to it.
//!
//! ```sh
//! sudo hypertap tap --listen=/tmp/lan --use-framed-protocol &
//! cargo run --example tap_answer -- --connect /tmp/lan
//! ping 172.30.0.2
//! ```

mod station;

use std::process::ExitCode;

use hypertap_client::blocking::TapInterface;
use hypertap_client::tap::MAX_FRAME;

use crate::station::{Answer, Options, USAGE, answer};

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let tap = match &options.server {
        Some(server) => TapInterface::connect(server)?,
        None => TapInterface::open(&options.spec)?,
    };
    println!("ready: {}", tap.name().unwrap_or("connected"));

    let mut buffer = vec![0; MAX_FRAME];
    let mut answered = 0;
    while options.count != Some(answered) {
        let length = tap.recv(&mut buffer, options.timeout)?.ok_or("nothing came in time")?;
        let frame = &mut buffer[..length];
        if let Some(kind) = answer(frame, options.address) {
            tap.send(frame)?;
            answered += u64::from(matches!(kind, Answer::Ping));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let outcome = Options::read(std::env::args().skip(1)).map_err(|error| format!("{error}\n{USAGE}").into());
    match outcome.and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tap_answer: {error}");
            ExitCode::FAILURE
        }
    }
}
