//! Taking an interface over from another instance (`--replace`).

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Duration, timeout};

/// How long the other instance may take to let go.
const TIME: Duration = Duration::from_secs(5);

/// Asks every instance that listens in the state directory to let go of an interface. Whether one
/// did shows when the interface is made.
pub async fn take_over(state_dir: &Path, name: &str) {
    if !fs::exists(format!("/sys/class/net/{name}")).unwrap_or(true) {
        return;
    }
    let entries = fs::read_dir(state_dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "sock"))
    {
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
