//! The same on tokio.

use std::time::Duration;

use hypertap_client::{Address, TapError, TapInterface, TapServer, tap};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place: Address = std::env::args().nth(1).unwrap_or("/tmp/lan".to_owned()).parse()?;
    let tap = TapInterface::connect(&TapServer::new(place)).await?;
    tap.send(b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x02\x88\xb5hello").await?;
    let mut buffer = vec![0; tap::MAX_FRAME];
    loop {
        match tap.recv_timeout(&mut buffer, Duration::from_secs(10)).await {
            Ok(Some(length)) => println!("came: {:02x?}", &buffer[..length]),
            Ok(None) => return Err("nothing came in 10 s".into()),
            Err(TapError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
