//! The machine's resolver, which is to ask the node for its names.

use std::time::Duration;

use hypertap_platform::resolver::{NodeNames, ask_node, ask_node_no_more, wait_for_resolver};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// After what time one that would not hear of it is told again, at first and at last; it doubles each time.
const AGAIN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(300)];

/// A resolver that is told, or being told, or told when it comes or no longer refuses.
pub(super) struct Resolver {
    names: NodeNames,
    state: watch::Receiver<State>,
    telling: JoinSet<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is being told.
    Telling,
    Told,
    /// There is none.
    Absent,
    /// It would not hear of it.
    Refused,
}

impl Resolver {
    /// Tells it; nobody waits for that. One that is started later is told then, one that refuses again.
    pub(super) fn tell(names: NodeNames) -> Self {
        let (tells, state) = watch::channel(State::Telling);
        let mut telling = JoinSet::new();
        telling.spawn(follow(names.clone(), tells));
        Self { names, state, telling }
    }

    /// Leaves it as it was.
    pub(super) async fn end(&mut self) {
        let state = self.state.wait_for(|state| *state != State::Telling).await.map(|state| *state);
        self.telling.abort_all();
        if matches!(state, Ok(State::Told))
            && let Err(error) = ask_node_no_more(&self.names).await
        {
            tracing::debug!(%error, "the resolver forgets this node when the interface goes");
        }
    }
}

async fn follow(names: NodeNames, tells: watch::Sender<State>) {
    let mut last = State::Telling;
    let [mut again, longest] = AGAIN;
    loop {
        last = tell(&names, last).await;
        tells.send_replace(last);
        match last {
            State::Absent => {
                wait_for_resolver().await;
                [again, _] = AGAIN;
                tells.send_replace(State::Telling);
            }
            State::Refused => {
                tokio::time::sleep(again).await;
                again = longest.min(again * 2);
                // The node's end does not wait for this: what comes of it goes with the interface.
                tracing::debug!("systemd-resolved is told again");
            }
            State::Told | State::Telling => return,
        }
    }
}

/// Tells it once, and the log what is new since `last` time.
async fn tell(names: &NodeNames, last: State) -> State {
    let zone = names.zones.first().map_or("", String::as_str);
    let how = format!("`hypertap dns -i {}` prints what to configure", names.interface);
    match ask_node(names).await {
        Ok(true) => {
            tracing::info!(zone, server = %names.server, "systemd-resolved asks this node for names");
            State::Told
        }
        Ok(false) => {
            if last != State::Absent {
                tracing::info!(zone, server = %names.server, "names are served, and no systemd-resolved runs here: {how}");
            }
            State::Absent
        }
        Err(error) => {
            if last == State::Refused {
                tracing::debug!(%error, "systemd-resolved still does not know");
            } else {
                tracing::warn!(zone, server = %names.server, %error, "names are served, but systemd-resolved does not know: {how}");
            }
            State::Refused
        }
    }
}
