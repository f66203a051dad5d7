//! Says hello to whoever is on an Ethernet, and prints what comes until the server ends.

use std::time::Duration;

use hypertap_client::blocking::TapInterface;
use hypertap_client::{Address, TapError, TapServer, tap};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place: Address = std::env::args().nth(1).unwrap_or("/tmp/lan".to_owned()).parse()?;
    let tap = TapInterface::connect(&TapServer::new(place))?;
    tap.send(b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x02\x88\xb5hello")?;
    let mut buffer = vec![0; tap::MAX_FRAME];
    loop {
        match tap.recv(&mut buffer, Duration::from_secs(10)) {
            Ok(Some(length)) => println!("came: {:02x?}", &buffer[..length]),
            Ok(None) => return Err("nothing came in 10 s".into()),
            // The server has ended, or was ended.
            Err(TapError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
