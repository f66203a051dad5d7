//! What each command does.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use hypertap_platform::helper::{self, Helper, HelperStart, Via};
use hypertap_platform::{MachineError, lookup, rights};
use hypertap_wire::command::{Request, Verb, parse_routes};
use hypertap_wire::event::{Event, Refusal, Status, StopReason};
use hypertap_wire::route::{RouteKind, format_route};
use serde_json::json;
use tokio::task::JoinSet;

use super::clients::{Answer, ClientId, Fields};
use super::controller::{Controller, Ending};
use super::desktop;
use super::front::Unfinished;
use super::live::refusal;
use crate::cli::install::{Removal, Remover, Root};
use crate::exit::Exit;
use crate::log;

/// The fields of a `status` reply.
pub fn status_fields(status: Status) -> Fields {
    one("status", status.name())
}

/// One field of a reply.
pub fn one(name: &str, value: impl Into<serde_json::Value>) -> Fields {
    Fields::from_iter([(name.to_owned(), value.into())])
}

/// Why a command failed, and for what reason the tunnel stops, if it does.
pub type Failed = (Refusal, Option<StopReason>);

fn no_tunnel() -> Refusal {
    Refusal::with_code("the tunnel is not started; send start first", Exit::Other as u8)
}

/// The refusal where no interface can be made.
pub fn no_right() -> Refusal {
    Refusal::with_code(
        "not permitted to create interfaces; send loadConfig to ask for the right, or run hypertap as root",
        Exit::Right as u8,
    )
}

/// What came of a job that changes the tunnel.
fn as_wished(done: Result<Result<(), MachineError>, Unfinished>, doing: &str) -> Result<(), Failed> {
    match done {
        Ok(outcome) => outcome.map_err(|error| (refusal(&error), None)),
        Err(unfinished) => {
            let follows = "the tunnel goes down, as nobody knows what became of it; send start again";
            Err((unfinished.refusal(doing, follows), Some(unfinished.reason())))
        }
    }
}

/// Has pkexec ask the person for a helper.
async fn ask_for_helper(state_dir: PathBuf) -> Result<Helper, HelperStart> {
    let program = std::env::current_exe().map_err(not_started)?;
    helper::spawn(&program, Via::Pkexec, Some(&state_dir), &[], log::arguments())?.connect().await
}

fn not_started(source: io::Error) -> HelperStart {
    HelperStart::Start { program: "hypertap".to_owned(), source }
}

/// The outcome of a job, be it that it panicked: who waits for it is told in any case.
async fn or_panic<T: Send + 'static>(
    job: impl Future<Output = Result<T, HelperStart>> + Send + 'static,
) -> Result<T, HelperStart> {
    // A set, since what is in it goes with whoever waits here.
    let mut jobs = JoinSet::new();
    jobs.spawn(job);
    let ended = jobs.join_next().await.expect("there is one");
    ended.unwrap_or_else(|panic| Err(not_started(io::Error::other(panic))))
}

impl Controller {
    /// Does one request and answers it.
    pub(super) async fn on_request(
        &mut self,
        client: ClientId,
        request: Request,
        descriptor: Option<OwnedFd>,
        answer: Answer,
    ) {
        tracing::debug!(client, verb = request.verb.name(), "request");
        if request.verb.is_changing() && !self.front.clients.may_change(client) {
            let text = "another client owns the tunnel; this one may only read";
            return answer.send(Err(Refusal::with_code(text, Exit::Right as u8)));
        }
        if request.verb.needs_tunnel() && self.live.is_none() {
            return answer.send(Err(no_tunnel()));
        }
        match request.verb {
            Verb::Start => self.start(client, &request.fields, answer).await,
            Verb::Stop | Verb::Shutdown => {
                self.stop_and_answer(answer).await;
                self.ending = (request.verb == Verb::Shutdown).then_some(Ending::Other);
            }
            Verb::Uninstall => self.uninstall(answer).await,
            Verb::LoadConfig => self.load_config(answer),
            Verb::LoadExtension => self.load_extension(answer).await,
            Verb::OpenExtensionSettings => {
                answer.send(desktop::open_network_settings().map(|()| Fields::new()))
            }
            Verb::AddIncludedRoutes
            | Verb::RemoveIncludedRoutes
            | Verb::AddExcludedRoutes
            | Verb::RemoveExcludedRoutes => {
                let outcome = self.change_routes(&request).await;
                self.answer_change(answer, outcome).await;
            }
            Verb::TurnOnDns | Verb::TurnOffDns => {
                let outcome = self.capture_dns(request.verb == Verb::TurnOnDns).await;
                self.answer_change(answer, outcome).await;
            }
            Verb::Supersede => self.supersede(client, &request, answer).await,
            Verb::Bypass => {
                let outcome = self.bypass(client, descriptor).await;
                answer.send(outcome);
            }
            Verb::Status
            | Verb::GetName
            | Verb::ShowVersion
            | Verb::Stats
            | Verb::Routes
            | Verb::Events
            | Verb::Help => answer.send(self.read(&request)),
        }
    }

    /// The commands that only look.
    fn read(&self, request: &Request) -> Result<Fields, Refusal> {
        match request.verb {
            Verb::GetName => Ok(one("name", self.live.as_ref().ok_or_else(no_tunnel)?.name.as_str())),
            Verb::ShowVersion => Ok(one("version", env!("CARGO_PKG_VERSION"))),
            Verb::Stats => Ok(one("stats", serde_json::to_value(self.stats.snapshot()).unwrap_or_default())),
            Verb::Events => Ok(one("events", self.front.history.to_json())),
            Verb::Routes => self.list_routes(request),
            Verb::Help => {
                let list = Verb::ALL.iter().map(|verb| json!({"cmd": verb.name(), "does": verb.about()}));
                Ok(one("commands", list.collect::<Vec<_>>()))
            }
            _ => Ok(status_fields(self.status())),
        }
    }

    fn list_routes(&self, request: &Request) -> Result<Fields, Refusal> {
        let list = |kind| -> Vec<String> {
            self.live
                .iter()
                .flat_map(|live| live.routes.of_kind(kind))
                .map(|net| format_route(&net))
                .collect()
        };
        let mut fields = one("included", list(RouteKind::Included));
        fields.insert("excluded".into(), list(RouteKind::Excluded).into());
        if let Some(address) = request.fields.get("address") {
            let parsed = address.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
                Refusal::with_code(format!("address is {address}, wanted an IP address"), Exit::Usage as u8)
            })?;
            let leads_in = match &self.live {
                Some(live) => lookup::leads_to(parsed, live.index),
                None => Ok(false),
            };
            let leads_in = leads_in.map_err(|error| {
                let text = format!("cannot ask the kernel where {parsed} leads: {error}");
                Refusal::with_code(text, Exit::Other as u8)
            })?;
            fields.insert("inTunnel".into(), leads_in.into());
        }
        Ok(fields)
    }

    async fn change_routes(&mut self, request: &Request) -> Result<(), Failed> {
        let (Some((kind, adds)), Some(half), Some(live)) =
            (request.verb.route_change(), &mut self.half, &mut self.live)
        else {
            return Err((no_tunnel(), None));
        };
        let nets = parse_routes(&request.fields, kind).map_err(|refusal| (refusal, None))?;
        let change =
            if adds { live.routes.plan_add(kind, &nets) } else { live.routes.plan_remove(kind, &nets) };
        if !change.is_empty() {
            let done = self.front.wait_for(Status::Connected, half.change_routes(&change)).await;
            as_wished(done, "changing the routes")?;
            live.routes.apply(&change);
        }
        Ok(())
    }

    async fn capture_dns(&mut self, on: bool) -> Result<(), Failed> {
        let (Some(half), Some(live)) = (&mut self.half, &mut self.live) else {
            return Err((no_tunnel(), None));
        };
        if live.captures_dns != on {
            let done = self.front.wait_for(Status::Connected, half.capture_dns(on)).await;
            as_wished(done, "changing the DNS capture")?;
            live.captures_dns = on;
        }
        Ok(())
    }

    /// Answers a change of the tunnel. One whose outcome nobody knows takes the tunnel down: then it is
    /// known again what is in force.
    async fn answer_change(&mut self, answer: Answer, outcome: Result<(), Failed>) {
        match outcome {
            Ok(()) => answer.send(Ok(Fields::new())),
            Err((refusal, reason)) => {
                answer.send(Err(refusal));
                if let Some(reason) = reason {
                    self.stop(reason).await;
                }
            }
        }
    }

    /// Answers at once; the outcome is an event, later where a person has to be asked.
    fn load_config(&mut self, answer: Answer) {
        answer.send(Ok(Fields::new()));
        if self.has_right() {
            return self.front.tell(Event::VpnApproved);
        }
        if self.half.is_none() && rights::rights().net_admin {
            match super::startup::in_process(&self.settings.state_dir) {
                Ok(half) => {
                    self.half = Some(self.settings.replacing(half));
                    return self.front.tell(Event::VpnApproved);
                }
                Err(failure) => tracing::warn!(error = format!("{:#}", failure.error), "no journal"),
            }
        }
        if self.half.is_some() || self.dropped {
            return self.front.tell(Event::VpnDenied);
        }
        if self.asking.is_some() {
            return; // Somebody is being asked already; the one outcome is everybody's.
        }
        let (state_dir, outcome) = (self.settings.state_dir.clone(), self.approvals.clone());
        let ask = async move {
            let started = or_panic(ask_for_helper(state_dir)).await;
            // The controller has gone: then nobody wants to know.
            let _ = outcome.send(started).await;
        };
        #[expect(clippy::disallowed_methods, reason = "the handle is kept, and aborted at the end")]
        let asking = tokio::spawn(ask);
        self.asking = Some(asking);
    }

    async fn load_extension(&mut self, answer: Answer) {
        let status = self.status();
        if self.driver_event() != Event::ExtensionApproved
            && let Some(half) = &mut self.half
        {
            match self.front.wait_for(status, half.load_driver()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the TUN driver cannot be loaded"),
                Err(why) => tracing::warn!(?why, "loading the TUN driver is not waited for"),
            }
        }
        answer.send(Ok(Fields::new()));
        let event = self.driver_event();
        self.front.tell(event);
    }

    /// Takes the tunnel down; the reply goes before the event.
    async fn stop_and_answer(&mut self, answer: Answer) {
        let stopped = self.take_down().await.is_some();
        answer.send(Ok(Fields::new()));
        if stopped {
            self.front.tell(Event::TunnelStopped(StopReason::StoppedByUser));
        }
    }

    /// Answers first, while it can still refuse; what it removes may be the service that it runs as.
    async fn uninstall(&mut self, answer: Answer) {
        let removal = match Removal::plan(Root::machine()) {
            Ok(removal) => removal,
            Err(failure) => {
                let text = format!("cannot uninstall: {:#}", failure.error);
                return answer.send(Err(Refusal::with_code(text, failure.exit as u8)));
            }
        };
        answer.send(Ok(Fields::new()));
        self.stop(StopReason::StoppedByUser).await;
        // On another thread: this one still has the reply to write.
        let removing = tokio::task::spawn_blocking(|| removal.carry_out(Remover::Daemon));
        match self.front.while_serving(Status::Disconnected, removing).await {
            Ok(Ok(removed)) => {
                self.ending = Some(Ending::Uninstalled);
                tracing::info!(things = removed.len(), "uninstalled");
            }
            Ok(Err(failure)) => tracing::error!(error = format!("{:#}", failure.error), "cannot uninstall"),
            Err(error) => tracing::error!(%error, "cannot uninstall"),
        }
        self.ending.get_or_insert(Ending::Other);
    }

    /// Serves the sockets of a program that `hypertap bypass` started.
    async fn bypass(&mut self, client: ClientId, listener: Option<OwnedFd>) -> Result<Fields, Refusal> {
        let Some(listener) = listener else {
            let text =
                "bypass comes with a seccomp listener over the Unix socket; use `hypertap bypass -- CMD`";
            return Err(Refusal::with_code(text, Exit::Usage as u8));
        };
        let uid = self.front.clients.uid(client).ok_or_else(no_right)?;
        let status = self.status();
        let half = self.half.as_mut().ok_or_else(no_right)?;
        let serve = half.serve_bypass(listener, self.settings.bypass_mark, uid);
        match self.front.wait_for(status, serve).await {
            Ok(outcome) => outcome.map_err(|error| refusal(&error))?,
            Err(unfinished) => return Err(unfinished.refusal("taking the program on", "try again")),
        }
        Ok(Fields::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_job_that_panics_is_told() {
        let outcome = or_panic::<()>(async { panic!("a defect") }).await;
        let error = outcome.expect_err("it panicked").to_string();
        assert!(
            error.contains("cannot start the privileged helper") && error.contains("panicked"),
            "{error}"
        );
        assert!(or_panic(async { Ok(7) }).await.is_ok_and(|seven| seven == 7));
    }
}
