//! `start`: from a client's arguments to a tunnel that is up.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use hypertap_platform::{MachineError, Tun, TunSpec};
use hypertap_wire::command::{DataPlane, MIN_MTU_IPV6, StartFields};
use hypertap_wire::event::{Event, Refusal, Status, StopReason};

use super::clients::{Answer, ClientId, Fields, Transport};
use super::commands::{Failed, no_right, one};
use super::controller::Controller;
use super::live::{Followed, Live, PlaneContext, refusal, spec};
use crate::exit::Exit;
use crate::plane::stats::Stats;

/// What goes with the reply to a `start`: its fields, the device's descriptor.
type Started = (Fields, Option<OwnedFd>);

/// The reply for a tunnel that is up: where the program connects for packets, be it a path or the device
/// itself.
fn started(live: &Live) -> Result<Started, Refusal> {
    let path = live.data_path().map(|path| one("dataPath", path.display().to_string()));
    Ok((path.unwrap_or_default(), live.device_copy()?))
}

/// The refusal where `--replace` did not help.
fn not_let_go(name: &str) -> Refusal {
    let text = format!(
        "an interface named {name} exists already, and no hypertap that can be asked lets go of it: it is \
         another program's, or that of a hypertap with --no-control, with another --state-dir, or of another \
         user; end that one, or choose another name"
    );
    Refusal::with_code(text, Exit::NameTaken as u8)
}

impl Controller {
    pub(super) async fn start(&mut self, client: ClientId, fields: &Fields, answer: Answer) {
        let outcome = match &self.live {
            Some(live) => started(live).map_err(|refusal| (refusal, None)),
            None => self.open(client, fields).await,
        };
        match outcome {
            Ok((reply, descriptor)) => {
                answer.send_with(Ok(reply), descriptor);
                self.front.tell(Event::TunnelStarted);
            }
            Err((refusal, reason)) => {
                // Who did not make it in time may not remove it in time: the reply does not wait for that,
                // the event does.
                let is_slow = matches!(reason, Some(StopReason::TimedOut | StopReason::StoppedByUser));
                if reason.is_some() && !is_slow {
                    self.close_half().await;
                }
                answer.send(Err(refusal));
                if is_slow {
                    self.close_half().await;
                }
                if let Some(reason) = reason {
                    self.front.tell(Event::TunnelStopped(reason));
                }
            }
        }
    }

    /// Makes interface and data plane. Where that fails after the half was asked, there is a reason to
    /// tell, and what the half has made is still there.
    async fn open(&mut self, client: ClientId, fields: &Fields) -> Result<Started, Failed> {
        let fields = StartFields::parse(fields).map_err(|refusal| (refusal, None))?;
        self.check(client, &fields).map_err(|refusal| (refusal, None))?;
        let spec = spec(&self.settings, &fields);
        let tun = self.open_tun(&spec).await?;
        // What an earlier plane said of its end.
        while self.plane_ends.try_recv().is_ok() {}
        self.stats = Arc::new(Stats::default());
        let context = PlaneContext {
            settings: &self.settings,
            data: &self.data,
            guard: self.guard.clone(),
            stats: self.stats.clone(),
            ended: self.plane_ended.clone(),
        };
        let failed = |refusal| (refusal, Some(StopReason::TunnelFailed));
        let mut live = Live::new(tun, &spec, &fields, context).map_err(failed)?;
        let reply = started(&live).map_err(failed)?;
        if fields.follow_default_route {
            live.follows = Some(Followed::new(self.monitor.default_route()));
        }
        self.monitor.watch(Some((live.index, live.footprint)));
        self.live = Some(live);
        Ok(reply)
    }

    /// Refuses what would not work, as far as that can be told before anything is made.
    fn check(&self, client: ClientId, fields: &StartFields) -> Result<(), Refusal> {
        let usage = |text: String| Err(Refusal::with_code(text, Exit::Usage as u8));
        if fields.data_plane == DataPlane::Fd && self.front.clients.transport(client) == Some(Transport::Tcp)
        {
            let text = "the fd data plane hands a descriptor over: send start over the Unix socket";
            return usage(text.to_owned());
        }
        let mtu = fields.mtu.unwrap_or(self.settings.mtu);
        if fields.ipv6.is_some() && mtu < MIN_MTU_IPV6 {
            return usage(format!(
                "myIPv6Address needs an MTU of at least {MIN_MTU_IPV6}, and that of --mtu is {mtu}; \
                 add \"mtu\":{MIN_MTU_IPV6} or leave myIPv6Address out"
            ));
        }
        let port = fields.receive_port.unwrap_or(self.settings.receive_port);
        let is_ours = self.data.local_addr().is_ok_and(|data| data.port() == port);
        if fields.data_plane == DataPlane::Udp && is_ours {
            return usage(format!(
                "receivePort is {port}, where the program sends its packets to; choose another with \
                 receivePort or --receive-port"
            ));
        }
        if self.half.is_none() {
            return Err(no_right());
        }
        self.missing_driver().map_or(Ok(()), |errno| Err(refusal(&MachineError::NoDriver(errno))))
    }

    /// Has the half make the interface.
    async fn open_tun(&mut self, spec: &TunSpec) -> Result<Tun, Failed> {
        let Some(half) = &mut self.half else { return Err((no_right(), None)) };
        match self.front.wait_for(Status::Connecting, half.open_tun(spec)).await {
            Ok(Ok(tun)) => Ok(tun),
            Ok(Err(MachineError::NameTaken(name))) if self.settings.replace => {
                Err((not_let_go(&name), Some(StopReason::InvalidVpn)))
            }
            Ok(Err(error)) => Err((refusal(&error), Some(StopReason::InvalidVpn))),
            Err(unfinished) => {
                let refusal = unfinished.refusal("making the interface", "see the log, then try again");
                Err((refusal, Some(unfinished.reason())))
            }
        }
    }
}
