//! Taking an interface over from another instance (`--replace`): both ends of it.

use std::path::Path;

use hypertap_platform::link;
use hypertap_platform::process::effective_uid;
use hypertap_wire::command::Request;
use hypertap_wire::event::{Refusal, StopReason};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Duration, timeout};

use super::clients::{Answer, ClientId, Fields, Transport};
use super::controller::Controller;
use super::startup::Settings;
use crate::cli::status::sockets;
use crate::exit::Exit;

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

impl Controller {
    /// Another instance asks for the interface: lets go of it where that instance may ask.
    pub(super) async fn supersede(&mut self, client: ClientId, request: &Request, answer: Answer) {
        let asked = self.may_supersede(client, request);
        if asked.is_ok() {
            self.stop(StopReason::Superseded).await;
        }
        answer.send(asked.map(|()| Fields::new()));
    }

    fn may_supersede(&self, client: ClientId, request: &Request) -> Result<(), Refusal> {
        let by_unix = self.front.clients.transport(client) == Some(Transport::Unix);
        let uid = self.front.clients.uid(client).filter(|_| by_unix);
        if !uid.is_some_and(|uid| uid == 0 || uid == effective_uid()) {
            let text =
                "only an instance of root or of the same user may take an interface over, by the Unix socket";
            return Err(Refusal::with_code(text, Exit::Right as u8));
        }
        let usage = |text: String| Refusal::with_code(text, Exit::Usage as u8);
        let wanted = match request.fields.get("name") {
            None => return Err(usage("name is missing: say which interface is to be taken over".to_owned())),
            Some(Value::String(name)) => name,
            Some(other) => return Err(usage(format!("name is {other}, wanted an interface's name"))),
        };
        if self.live.as_ref().is_some_and(|live| live.name == *wanted) {
            return Ok(());
        }
        let text = format!("this instance has no interface named {wanted}");
        Err(Refusal::with_code(text, Exit::Other as u8))
    }
}
