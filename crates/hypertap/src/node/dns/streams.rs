//! DNS over TCP (RFC 7766): each message after its length in two bytes, queries one after the other.
//!
//! There is an end to connections: one that does nothing for a while is closed, and where there are too
//! many, the oldest gives way, so that whoever holds many open keeps nobody out.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use hypertap_engine::zone::Transport;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::{Answers, MAX_QUERY};

/// Connections at once.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take for its next query, or for an answer.
const IDLE: Duration = Duration::from_secs(10);
/// How long to wait when there is no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers who connects, for ever.
pub(super) async fn serve(listener: TcpListener, answers: Arc<Answers>) {
    let mut connections = JoinSet::new();
    // Oldest first.
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept connections for DNS");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let answers = Arc::clone(&answers);
        open.push_back(connections.spawn(async move {
            let answer = |query: &[u8]| answers.answer(query, Transport::Tcp);
            if let Err(error) = converse(stream, answer).await {
                tracing::trace!(%error, "a DNS connection has ended");
            }
        }));
    }
}

/// Answers queries until the client has no more.
///
/// # Errors
/// It takes too long, ends within a query, or sends what is none.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> io::Result<()> {
    let mut query = Vec::new();
    loop {
        let len = match within(stream.read_u16()).await {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            len => usize::from(len?),
        };
        if len > MAX_QUERY {
            return Err(io::Error::new(ErrorKind::InvalidData, "a query is too long"));
        }
        query.resize(len, 0);
        within(stream.read_exact(&mut query)).await?;
        let answer = answer(&query).ok_or(io::Error::new(ErrorKind::InvalidData, "no query"))?;
        let Ok(len) = u16::try_from(answer.len()) else { return Err(ErrorKind::FileTooLarge.into()) };
        let whole = [&len.to_be_bytes()[..], &answer].concat();
        within(stream.write_all(&whole)).await?;
    }
}

async fn within<T>(job: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(IDLE, job).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}
