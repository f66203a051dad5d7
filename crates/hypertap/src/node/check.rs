//! Checks of targets: whether what stands behind a service takes connections.
//!
//! Each checked service has a task that connects to its target at once and then every so often, and closes
//! again. While that fails, connections to the service are refused before its target is asked. A check
//! belongs to a target: a service that is changed has a new one, of which nothing is known yet.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypertap_engine::services::registry::Service;
use hypertap_wire::label::Label;
use hypertap_wire::service_stream::Refusal;
use hypertap_wire::target::Target;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::state::Node;
use super::target;

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing yet.
    Unknown,
    /// The target takes connections.
    Good,
    /// It does not, for this reason.
    Failing(Refusal),
}

/// A check as it is now.
#[derive(Clone, Debug)]
pub struct CheckStatus {
    /// The service.
    pub service: Label,
    /// What was found the last time.
    pub finding: Finding,
    /// Since when that has been so.
    pub since: Instant,
}

/// The checks of this node's services.
#[derive(Debug, Default)]
pub struct Checks(Mutex<BTreeMap<Label, Arc<Check>>>);

#[derive(Debug)]
struct Check {
    target: Target,
    interval: Duration,
    found: Mutex<(Finding, Instant)>,
}

impl Checks {
    /// All checks, in the order of the services' names.
    pub fn all(&self) -> Vec<CheckStatus> {
        let status = |(service, check): (&Label, &Arc<Check>)| {
            let (finding, since) = *check.found();
            CheckStatus { service: service.clone(), finding, since }
        };
        self.by_name().iter().map(status).collect()
    }

    /// Whether a service's target is known to fail.
    pub fn is_failing(&self, service: &Service) -> bool {
        let by_name = self.by_name();
        let check = by_name.get(&service.name).filter(|check| check.is_of(service));
        check.is_some_and(|check| matches!(check.found().0, Finding::Failing(_)))
    }

    fn by_name(&self) -> MutexGuard<'_, BTreeMap<Label, Arc<Check>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    fn new(target: Target, interval: Duration) -> Arc<Self> {
        Arc::new(Self { target, interval, found: Mutex::new((Finding::Unknown, Instant::now())) })
    }

    /// Whether it is the check that a service has now.
    fn is_of(&self, service: &Service) -> bool {
        service.check_interval == Some(self.interval) && service.target == self.target
    }

    fn found(&self) -> MutexGuard<'_, (Finding, Instant)> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was found; says whether it is something else than before.
    fn note(&self, finding: Finding) -> bool {
        let mut found = self.found();
        let is_new = found.0 != finding;
        if is_new {
            *found = (finding, Instant::now());
        }
        is_new
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not tried yet",
            Self::Good => "good",
            Self::Failing(Refusal::TargetRefused) => "failing: the target refuses connections",
            Self::Failing(Refusal::TimedOut) => "failing: the target does not answer in time",
            Self::Failing(_) => "failing: there is no way to the target",
        })
    }
}

/// Checks the targets of the services that want it, whichever they are.
pub async fn run(node: Arc<Node>) {
    let mut changes = node.changes();
    let mut tasks = JoinSet::new();
    let mut running = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        settle(&node, &mut running, &mut tasks);
        loop {
            tokio::select! {
                followed = changes.changed() => match followed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
    }
}

/// Ends the checks of services that are gone or changed, and begins those that are new.
fn settle(node: &Node, running: &mut BTreeMap<Label, AbortHandle>, tasks: &mut JoinSet<()>) {
    let tables = node.tables();
    let mut by_name = node.checks.by_name();
    by_name.retain(|name, check| {
        let is_kept = tables.registry.by_name(name).is_some_and(|service| check.is_of(service));
        if !is_kept && let Some(task) = running.remove(name) {
            task.abort();
        }
        is_kept
    });
    for service in tables.registry.services() {
        let Some(interval) = service.check_interval.filter(|_| !by_name.contains_key(&service.name)) else {
            continue;
        };
        let check = Check::new(service.target.clone(), interval);
        by_name.insert(service.name.clone(), Arc::clone(&check));
        running.insert(service.name.clone(), tasks.spawn(watch(service.name.clone(), check)));
    }
}

async fn watch(service: Label, check: Arc<Check>) {
    loop {
        let finding = match target::dial(&check.target, NonZeroU16::MAX).await {
            Ok(_) => Some(Finding::Good),
            // It is this node that cannot: of the target nothing is known.
            Err(Refusal::Busy) => None,
            Err(refusal) => Some(Finding::Failing(refusal)),
        };
        if let Some(finding) = finding
            && check.note(finding)
        {
            match finding {
                Finding::Failing(_) => {
                    tracing::warn!(%service, target = %check.target, "the check of a service says: {finding}; new connections are refused");
                }
                _ => {
                    tracing::info!(%service, target = %check.target, "the check of a service says: {finding}")
                }
            }
        }
        sleep(check.interval).await;
    }
}
