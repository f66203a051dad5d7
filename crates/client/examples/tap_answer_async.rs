//! As `tap_answer`, on tokio.

mod station;

use std::process::ExitCode;

use hypertap_client::TapInterface;
use hypertap_client::tap::MAX_FRAME;

use crate::station::{Answer, Options, USAGE, answer};

async fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let tap = match &options.server {
        Some(server) => TapInterface::connect(server).await?,
        None => TapInterface::open(&options.spec).await?,
    };
    println!("ready: {}", tap.name().unwrap_or("connected"));
    let outcome = serve(&tap, options).await;
    // Waits until the interface is gone; dropping it would not.
    tap.close().await;
    outcome
}

async fn serve(tap: &TapInterface, options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut buffer = vec![0; MAX_FRAME];
    let mut answered = 0;
    while options.count != Some(answered) {
        let length = tap.recv_timeout(&mut buffer, options.timeout).await?.ok_or("nothing came in time")?;
        let frame = &mut buffer[..length];
        if let Some(kind) = answer(frame, options.address) {
            tap.send(frame).await?;
            answered += u64::from(matches!(kind, Answer::Ping));
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::read(std::env::args().skip(1)).map_err(|error| format!("{error}\n{USAGE}").into());
    let outcome = match options {
        Ok(options) => run(&options).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tap_answer_async: {error}");
            ExitCode::FAILURE
        }
    }
}
