//! Taking an interface over from another instance (`--replace`): both ends of it.

use std::path::{Path, PathBuf};

use hypertap_platform::link;
use hypertap_platform::process::effective_uid;
use hypertap_wire::command::Request;
use hypertap_wire::event::{Refusal, StopReason};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

use super::clients::{Answer, ClientId, Fields, Transport};
use super::controller::Controller;
use crate::cli::status::sockets;
use crate::exit::Exit;

/// How long the other instances may take, all together: little of what a `start` has.
const TIME: Duration = Duration::from_secs(3);

/// Asks every instance that listens in the state directory, but at our `own` socket, to let go of an
/// interface, all at once. Whether one did shows when the interface is made.
pub async fn take_over(state_dir: &Path, own: Option<&Path>, name: &str) {
    if !link::exists(name) {
        return;
    }
    let mut others = sockets(Some(state_dir));
    others.retain(|path| own != Some(path));
    ask_all(others, name).await;
}

/// Asks until one instance has let go, all have answered, or the time is over.
async fn ask_all(paths: Vec<PathBuf>, name: &str) {
    let line = json!({"cmd": "supersede", "name": name}).to_string() + "\n";
    // One that is not asked to the end, as it goes with this set, may let go all the same.
    let mut asking = JoinSet::new();
    for path in paths {
        let line = line.clone();
        asking.spawn(async move {
            let outcome = ask(&path, &line).await;
            (path, outcome)
        });
    }
    let one_lets_go = async {
        while let Some(answered) = asking.join_next().await {
            match answered {
                Ok((path, Ok(true))) => {
                    return tracing::info!(name, from = %path.display(), "took the interface over");
                }
                Ok((_, Ok(false))) => {}
                Ok((path, Err(error))) => {
                    tracing::debug!(%error, path = %path.display(), "no instance there");
                }
                Err(error) => tracing::warn!(%error, "an instance could not be asked"),
            }
        }
    };
    if timeout(TIME, one_lets_go).await.is_err() {
        tracing::warn!(name, instances = asking.len(), "not every instance answers, and none let go");
    }
}

/// How much an instance may say before it answers, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// Asks one instance, and says whether it let go.
async fn ask(path: &Path, question: &str) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(question.as_bytes()).await?;
    let mut lines = BufReader::new(stream.take(MAX_ANSWER)).lines();
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

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn who_talks_without_answering_is_not_listened_to_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("talker");
        let talker = UnixListener::bind(&path).expect("ours");
        let talk = async {
            let (mut stream, _) = talker.accept().await.expect("it asks");
            let mut said = 0;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {
                said += 4096;
            }
            said
        };
        let (answer, said) = tokio::join!(ask(&path, "question\n"), talk);
        assert!(answer.is_err(), "{answer:?}");
        // What was read, and what the sockets hold.
        assert!(said < 4 << 20, "{said} bytes");
    }

    #[tokio::test]
    async fn instances_that_do_not_answer_keep_nobody_from_one_that_does_nor_from_going_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        // Whoever connects waits for ever: nobody accepts.
        let silent: Vec<_> = ["a", "b", "c"].map(|name| UnixListener::bind(path(name)).expect("ours")).into();
        let paths = || ["a", "b", "c"].map(path).to_vec();
        let begin = Instant::now();
        ask_all(paths(), "shared").await;
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());

        let willing = UnixListener::bind(path("d")).expect("ours");
        let begin = Instant::now();
        let answer = async {
            let (stream, _) = willing.accept().await.expect("it asks");
            let (read, mut write) = stream.into_split();
            let line = BufReader::new(read).lines().next_line().await.expect("it asks").expect("a line");
            write.write_all(b"{\"ok\":true}\n").await.expect("it listens");
            line
        };
        let ((), line) = tokio::join!(ask_all([paths(), vec![path("d")]].concat(), "shared"), answer);
        assert!(line.contains("supersede") && line.contains("shared"), "{line}");
        assert!(begin.elapsed() < TIME, "{:?}", begin.elapsed());
        drop(silent);
    }
}
