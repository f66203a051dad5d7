//! Taking an interface over from another instance (`--replace`).

use std::path::Path;

use hypertap_platform::link;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Duration, timeout};

use super::startup::Settings;
use crate::cli::status::sockets;

/// How long the other instance may take to let go.
const TIME: Duration = Duration::from_secs(5);

/// Asks every other instance that listens in the state directory to let go of an interface. Whether
/// one did shows when the interface is made.
pub async fn take_over(settings: &Settings, name: &str) {
    if !link::exists(name) {
        return;
    }
    for path in sockets(Some(&settings.state_dir)) {
        if settings.control.as_ref() == Some(&path) {
            continue;
        }
        match timeout(TIME, ask(&path, name)).await {
            Ok(Ok(true)) => return tracing::info!(name, from = %path.display(), "took the interface over"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::debug!(%error, path = %path.display(), "no instance there"),
            Err(_) => tracing::warn!(path = %path.display(), "the instance there does not answer"),
        }
    }
}

/// Asks one instance, and says whether it let go.
async fn ask(path: &Path, name: &str) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(path).await?;
    let line = json!({"cmd": "supersede", "name": name}).to_string() + "\n";
    stream.write_all(line.as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        let value: Value = serde_json::from_str(&line)?;
        if let Some(ok) = value.get("ok") {
            return Ok(ok == true);
        }
    }
    Ok(false)
}
