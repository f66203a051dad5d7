//! What happens to a tunnel without a client's doing: to its link, its rules and routes, its data
//! plane, its privileged half, its user's login.

use hypertap_platform::Gone;
use hypertap_platform::helper::{Helper, HelperStart};
use hypertap_platform::link;
use hypertap_platform::monitor::LinkEvent;
use hypertap_platform::session::SessionEvent;
use hypertap_wire::event::{Event, Status, StopReason};
use tokio::time::{Duration, Instant};

use super::controller::Controller;
use super::live::Followed;
use crate::plane::PlaneEnd;

/// What removes one of our rules or routes often removes more of them: this long it is let finish
/// before they are put back.
const SETTLES: Duration = Duration::from_millis(50);
/// At most so often are they put back, should somebody go on removing them.
const REASSERT_EVERY: Duration = Duration::from_secs(1);

impl Controller {
    pub(super) async fn on_link(&mut self, event: LinkEvent) {
        let Some(live) = &self.live else { return };
        match event {
            LinkEvent::Down { index } if index == live.index => {
                // A link that is deleted or moved away is announced as down first.
                let remains = link::remains(index);
                self.stop(if remains { StopReason::VpnDisabled } else { StopReason::VpnRemoved }).await;
            }
            LinkEvent::Deleted { index } if index == live.index => self.stop(StopReason::VpnRemoved).await,
            LinkEvent::Renamed { index, name } if index == live.index && name != live.name => {
                tracing::info!(from = live.name, to = name, "the interface was renamed");
                self.live.iter_mut().for_each(|live| live.name.clone_from(&name));
            }
            LinkEvent::DefaultRoute(route) => match (live.follows, route.map(|route| route.index)) {
                (Some(Followed::Device(_)), None) => self.stop(StopReason::NoConnectivity).await,
                (Some(Followed::Device(before)), Some(now)) if before != now => {
                    self.stop(StopReason::ConnectivityChanged).await;
                }
                (Some(Followed::None), Some(now)) => {
                    self.live.iter_mut().for_each(|live| live.follows = Some(Followed::Device(now)));
                    self.plan_reassertion();
                }
                // Whoever changed the machine's way out may have gone over our rules and routes as well.
                _ => self.plan_reassertion(),
            },
            LinkEvent::Policy => self.plan_reassertion(),
            _ => {}
        }
    }

    /// Has rules and routes looked after in a moment.
    fn plan_reassertion(&mut self) {
        let Some(live) = &mut self.live else { return };
        let settled = Instant::now() + SETTLES;
        let due = live.reasserted.map_or(settled, |last| settled.max(last + REASSERT_EVERY));
        live.reassert_due.get_or_insert(due);
    }

    /// Has the half put back what somebody removed of the tunnel's addresses, rules and routes.
    pub(super) async fn reassert(&mut self) {
        let (Some(half), Some(live)) = (&mut self.half, &mut self.live) else { return };
        let name = live.name.as_str();
        match self.front.wait_for(Status::Reasserting, half.reassert()).await {
            Ok(Ok(true)) => {
                tracing::warn!(name, "somebody removed addresses, rules or routes of the tunnel; put back");
            }
            Ok(Ok(false)) => tracing::debug!(name, "addresses, rules and routes are as they should be"),
            Ok(Err(error)) => tracing::warn!(name, %error, "not all that was removed can be put back"),
            Err(why) => {
                tracing::warn!(name, ?why, "putting rules and routes back is not waited for; going on")
            }
        }
        live.reassert_due = None;
        live.reasserted = Some(Instant::now());
    }

    pub(super) async fn on_plane_end(&mut self, end: PlaneEnd) {
        let Some(live) = &self.live else { return };
        let index = live.index;
        tracing::warn!(?end, "the data plane ended");
        let reason = match end {
            PlaneEnd::ProgramGone | PlaneEnd::Program(_) => StopReason::ConnectionFailed,
            // A device that fails because its link was deleted is not the cause but the consequence.
            PlaneEnd::Device(_) if !link::remains(index) => StopReason::VpnRemoved,
            PlaneEnd::Device(_) => StopReason::TunnelFailed,
        };
        self.stop(reason).await;
    }

    pub(super) async fn on_session(&mut self, event: SessionEvent) {
        tracing::info!(?event, "the login sessions changed");
        self.stop(match event {
            SessionEvent::LoggedOut => StopReason::LoggedOut,
            SessionEvent::OtherUser => StopReason::CurrentUserChanged,
        })
        .await;
    }

    /// The helper ended, whoever ended it, and what it had made is undone. One that was started anew
    /// is there for the next `start`.
    pub(super) async fn on_half_gone(&mut self, gone: Gone) {
        tracing::warn!(?gone, "the privileged helper has ended");
        if gone == Gone::ForGood {
            self.half = None;
            self.has_helper = false;
        }
        if self.live.is_some() {
            self.stop(StopReason::ProviderDisabled).await;
        }
        self.front.tell(Event::VpnRemoved);
    }

    pub(super) fn on_approval(&mut self, outcome: Result<Helper, HelperStart>) {
        self.asking = None;
        match outcome {
            Ok(helper) => {
                self.half = Some(self.settings.replacing(Box::new(helper)));
                self.has_helper = true;
                self.front.tell(Event::VpnApproved);
            }
            Err(error) => {
                tracing::info!(%error, "the right was not given");
                if matches!(error, HelperStart::Dismissed) {
                    self.front.tell(Event::TunnelStopped(StopReason::AuthenticationCancelled));
                }
                self.front.tell(Event::VpnDenied);
            }
        }
    }
}
