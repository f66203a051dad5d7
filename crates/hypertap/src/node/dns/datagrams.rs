//! DNS over UDP.

use std::sync::Arc;
use std::time::Duration;

use hypertap_engine::zone::Transport;
use tokio::net::UdpSocket;

use super::{Answers, MAX_QUERY};

/// How long to wait when the kernel has no memory to receive.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers what comes, for ever.
pub(super) async fn serve(socket: UdpSocket, answers: Arc<Answers>) {
    // So that it is known to be, below.
    let _ = socket.writable().await;
    let mut query = vec![0; MAX_QUERY];
    loop {
        let (len, from) = match socket.recv_from(&mut query).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "cannot receive queries");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let answer = query.get(..len).and_then(|query| answers.answer(query, Transport::Udp));
        if let Some(answer) = answer
            // What the socket has no room for is dropped, as on any path: who asked asks again.
            && let Err(error) = socket.try_send_to(&answer, from)
        {
            tracing::trace!(%error, %from, "an answer was dropped");
        }
    }
}
