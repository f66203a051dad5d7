//! What each command does.

use std::os::fd::OwnedFd;

use hypertap_platform::helper::{self, HelperStart, Via};
use hypertap_platform::process::effective_uid;
use hypertap_platform::rights;
use hypertap_wire::command::{DataPlane, Request, StartFields, Verb, parse_routes};
use hypertap_wire::event::{Event, Refusal, Status, StopReason};
use hypertap_wire::route::{RouteKind, format_route};
use serde_json::json;
use std::sync::Arc;
use tokio::time::timeout;

use super::clients::{Answer, ClientId, Fields, Transport};
use super::controller::{Controller, START_TIME};
use super::live::{Followed, Live, PlaneContext, refusal, spec};
use super::{desktop, supersede};
use crate::exit::Exit;
use crate::plane::stats::Stats;

/// The fields of a `status` reply.
pub fn status_fields(status: Status) -> Fields {
    one("status", status.name())
}

fn one(name: &str, value: impl Into<serde_json::Value>) -> Fields {
    Fields::from_iter([(name.to_owned(), value.into())])
}

/// Where the program connects for packets, if it is a path.
fn data_path(live: &Live) -> Fields {
    live.data_path().map(|path| one("dataPath", path.display().to_string())).unwrap_or_default()
}

fn no_tunnel() -> Refusal {
    Refusal::with_code("the tunnel is not started; send start first", Exit::Other as u8)
}

fn no_right() -> Refusal {
    Refusal::with_code(
        "not permitted to create interfaces; send loadConfig to ask for the right, or run hypertap as root",
        Exit::Right as u8,
    )
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
                self.stop_and_answer(answer, Ok(Fields::new())).await;
                self.ending = request.verb == Verb::Shutdown;
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
                answer.send(outcome);
            }
            Verb::TurnOnDns | Verb::TurnOffDns => {
                let outcome = self.capture_dns(request.verb == Verb::TurnOnDns).await;
                answer.send(outcome);
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
            let included = self.live.as_ref().is_some_and(|live| live.routes.is_included(parsed));
            fields.insert("inTunnel".into(), included.into());
        }
        Ok(fields)
    }

    async fn start(&mut self, client: ClientId, fields: &Fields, answer: Answer) {
        if let Some(live) = &self.live {
            answer.send(Ok(data_path(live)));
            return self.front.tell(Event::TunnelStarted);
        }
        match self.open(client, fields).await {
            Ok((reply, descriptor)) => {
                answer.send_with(Ok(reply), descriptor);
                self.front.tell(Event::TunnelStarted);
            }
            Err((refusal, reason)) => {
                answer.send(Err(refusal));
                if let Some(reason) = reason {
                    self.front.tell(Event::TunnelStopped(reason));
                }
                // What takes its time over the making may take it over the removal; nobody waits for that.
                if reason == Some(StopReason::TimedOut) {
                    self.close_half().await;
                }
            }
        }
    }

    /// Makes interface and data plane. What comes with the reply, or the refusal and, where
    /// something had been begun, the reason to tell.
    async fn open(
        &mut self,
        client: ClientId,
        fields: &Fields,
    ) -> Result<(Fields, Option<OwnedFd>), (Refusal, Option<StopReason>)> {
        let fields = StartFields::parse(fields).map_err(|refusal| (refusal, None))?;
        let tcp = self.front.clients.transport(client) == Some(Transport::Tcp);
        if fields.data_plane == DataPlane::Fd && tcp {
            let text = "the fd data plane hands a descriptor over: send start over the Unix socket";
            return Err((Refusal::with_code(text, Exit::Usage as u8), None));
        }
        if self.half.is_none() {
            return Err((no_right(), None));
        }
        let spec = spec(&self.settings, &fields);
        let tun = self.open_tun(&spec).await?;
        self.monitor.watch(Some((tun.index, tun.footprint)));
        self.stats = Arc::new(Stats::default());
        let context = PlaneContext {
            settings: &self.settings,
            data: &self.data,
            guard: self.guard.clone(),
            stats: self.stats.clone(),
            ended: self.plane_ended.clone(),
        };
        let (mut live, descriptor) = match Live::new(tun, &spec, &fields, context) {
            Ok(made) => made,
            Err(refusal) => {
                self.close_half().await;
                return Err((refusal, Some(StopReason::TunnelFailed)));
            }
        };
        if fields.follow_default_route {
            live.follows = Some(Followed::new(self.monitor.default_route()));
        }
        let reply = data_path(&live);
        self.live = Some(live);
        Ok((reply, descriptor))
    }

    /// Has the half make the interface in the time that `start` has, taking it over first where
    /// another instance has it and the settings say so.
    async fn open_tun(
        &mut self,
        spec: &hypertap_platform::TunSpec,
    ) -> Result<hypertap_platform::Tun, (Refusal, Option<StopReason>)> {
        let Some(half) = &mut self.half else { return Err((no_right(), None)) };
        let (settings, mut spec) = (&self.settings, spec.clone());
        let open = async {
            if settings.replace {
                let name = spec.name.get_or_insert_with(|| "hypertap0".to_owned()).clone();
                supersede::take_over(settings, &name).await;
            }
            half.open_tun(&spec).await
        };
        match self.front.while_serving(Status::Connecting, timeout(START_TIME, open)).await {
            Ok(Ok(tun)) => Ok(tun),
            Ok(Err(error)) => Err((refusal(&error), Some(StopReason::InvalidVpn))),
            Err(_) => {
                let text = "the interface was not there within 10 s; see the log, then try again";
                Err((Refusal::with_code(text, Exit::Other as u8), Some(StopReason::TimedOut)))
            }
        }
    }

    async fn change_routes(&mut self, request: &Request) -> Result<Fields, Refusal> {
        let (Some((kind, adds)), Some(half), Some(live)) =
            (request.verb.route_change(), &mut self.half, &mut self.live)
        else {
            return Err(no_tunnel());
        };
        let nets = parse_routes(&request.fields, kind)?;
        let change =
            if adds { live.routes.plan_add(kind, &nets) } else { live.routes.plan_remove(kind, &nets) };
        if !change.is_empty() {
            half.change_routes(&change).await.map_err(|error| refusal(&error))?;
            live.routes.apply(&change);
        }
        Ok(Fields::new())
    }

    async fn capture_dns(&mut self, on: bool) -> Result<Fields, Refusal> {
        let (Some(half), Some(live)) = (&mut self.half, &mut self.live) else { return Err(no_tunnel()) };
        if live.captures_dns != on {
            half.capture_dns(on).await.map_err(|error| refusal(&error))?;
            live.captures_dns = on;
        }
        Ok(Fields::new())
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
                    self.half = Some(half);
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
            let started = match std::env::current_exe() {
                Ok(program) => match helper::spawn(&program, Via::Pkexec, &state_dir, &[]) {
                    Ok(starting) => starting.connect().await,
                    Err(error) => Err(error),
                },
                Err(source) => Err(HelperStart::Start { program: "hypertap".to_owned(), source }),
            };
            // The controller has gone: then nobody wants to know.
            let _ = outcome.send(started).await;
        };
        #[expect(clippy::disallowed_methods, reason = "the handle is kept, and aborted at the end")]
        let asking = tokio::spawn(ask);
        self.asking = Some(asking);
    }

    async fn load_extension(&mut self, answer: Answer) {
        if self.driver_event() != Event::ExtensionApproved
            && let Some(half) = &mut self.half
            && let Err(error) = half.load_driver().await
        {
            tracing::warn!(%error, "the TUN driver cannot be loaded");
        }
        answer.send(Ok(Fields::new()));
        let event = self.driver_event();
        self.front.tell(event);
    }

    /// Takes the tunnel down; the reply goes before the event.
    async fn stop_and_answer(&mut self, answer: Answer, outcome: Result<Fields, Refusal>) {
        let stopped = self.take_down().await.is_some();
        answer.send(outcome);
        if stopped {
            self.front.tell(Event::TunnelStopped(StopReason::StoppedByUser));
        }
    }

    async fn uninstall(&mut self, answer: Answer) {
        let outcome = crate::cli::install::remove_installed().map(|_| Fields::new()).map_err(|failure| {
            let text = format!("cannot uninstall: {:#}", failure.error);
            Refusal::with_code(text, failure.exit as u8)
        });
        if outcome.is_err() {
            return answer.send(outcome);
        }
        self.stop_and_answer(answer, outcome).await;
        self.ending = true;
    }

    /// Another instance asks for the interface.
    async fn supersede(&mut self, client: ClientId, request: &Request, answer: Answer) {
        let by_unix = self.front.clients.transport(client) == Some(Transport::Unix);
        let uid = self.front.clients.uid(client).filter(|_| by_unix);
        if !uid.is_some_and(|uid| uid == 0 || uid == effective_uid()) {
            let text =
                "only an instance of root or of the same user may take an interface over, by the Unix socket";
            return answer.send(Err(Refusal::with_code(text, Exit::Right as u8)));
        }
        let wanted = request.fields.get("name").and_then(serde_json::Value::as_str);
        if self.live.as_ref().is_some_and(|live| Some(live.name.as_str()) == wanted) {
            self.stop(StopReason::Superseded).await;
            answer.send(Ok(Fields::new()));
        } else {
            let text = format!("this instance has no interface named {}", wanted.unwrap_or_default());
            answer.send(Err(Refusal::with_code(text, Exit::Other as u8)));
        }
    }

    /// Serves the sockets of a program that `hypertap bypass` started.
    async fn bypass(&mut self, client: ClientId, listener: Option<OwnedFd>) -> Result<Fields, Refusal> {
        let Some(listener) = listener else {
            let text =
                "bypass comes with a seccomp listener over the Unix socket; use `hypertap bypass -- CMD`";
            return Err(Refusal::with_code(text, Exit::Usage as u8));
        };
        let uid = self.front.clients.uid(client).ok_or_else(no_right)?;
        let half = self.half.as_mut().ok_or_else(no_right)?;
        half.serve_bypass(listener, self.settings.bypass_mark, uid).await.map_err(|error| refusal(&error))?;
        Ok(Fields::new())
    }
}
