//! The D-Bus side of [`crate::session`]: org.freedesktop.login1(5), as systemd-logind and elogind
//! speak it.
//!
//! Whichever signal logind sends, the user's sessions and seats are looked at anew, and the
//! difference to the last look is the event: the order in which logind tells the parts of one change
//! does not matter then, nor does what was told while nobody listened.

use std::collections::HashMap;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use zbus::export::futures_core::Stream;
use zbus::wire::{DynamicDeserialize, DynamicType};
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, fdo, message};

use crate::session::SessionEvent;

/// How long logind and its bus may take for one look.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many signals are kept while nobody listens; more of them say nothing more.
const QUEUE: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
const SERVICE: &str = "org.freedesktop.login1";
const OBJECT: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Watches the login sessions of one user.
#[derive(Debug)]
pub struct SessionWatch {
    bus: Connection,
    signals: MessageStream,
    uid: u32,
    seen: Seen,
    /// Whether logind has said something since the last look.
    stale: bool,
}

/// What a look shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Whether the user has a login session that is not ending.
    logged_in: bool,
    /// Whether the seat that the user is logged in at shows somebody else's session.
    displaced: bool,
}

/// Properties of a session.
struct Session {
    /// Whether it is a person's login that goes on, not a login screen, a cron job or a manager.
    counts: bool,
    uid: u32,
    /// The object of its seat; "/" without one.
    seat: OwnedObjectPath,
}

impl SessionWatch {
    /// Watches a user's sessions from now on. `None` where there is no system bus, or no logind on it.
    pub async fn new(uid: u32) -> Option<Self> {
        match tokio::time::timeout(PATIENCE, Self::connect(uid)).await {
            Ok(Ok(watch)) => watch,
            Ok(Err(error)) => {
                tracing::debug!(%error, "login sessions are not watched");
                None
            }
            Err(_) => {
                tracing::debug!("login sessions are not watched: logind did not answer in 5 s");
                None
            }
        }
    }

    async fn connect(uid: u32) -> zbus::Result<Option<Self>> {
        let bus = Connection::system().await?;
        let service = SERVICE.try_into().expect("a well-known name");
        if !fdo::DBusProxy::new(&bus).await?.name_has_owner(service).await? {
            return Ok(None);
        }
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender(SERVICE)
            .path_namespace(OBJECT)
            .build()?;
        // Listening begins before the first look, so nothing falls between.
        let signals = MessageStream::for_match_rule(rule, &bus, Some(QUEUE)).await?;
        let seen = look(&bus, uid).await?;
        Ok(Some(Self { bus, signals, uid, seen, stale: false }))
    }

    /// Waits for the next event; for ever once the bus is gone. Cancel-safe.
    pub async fn next(&mut self) -> SessionEvent {
        loop {
            if !self.stale {
                self.signal().await;
                self.stale = true;
            }
            let looked = tokio::time::timeout(PATIENCE, look(&self.bus, self.uid)).await;
            self.stale = false;
            match looked {
                Ok(Ok(now)) => {
                    let before = std::mem::replace(&mut self.seen, now);
                    if let Some(event) = now.event_since(before) {
                        return event;
                    }
                }
                // It is being restarted, say. It tells more when it is back.
                Ok(Err(error)) => tracing::debug!(%error, "cannot look at the login sessions"),
                Err(_) => tracing::debug!("cannot look at the login sessions: no answer in 5 s"),
            }
        }
    }

    /// Waits for a signal, and takes those that have come with it.
    async fn signal(&mut self) {
        let mut any = false;
        poll_fn(|context| {
            loop {
                match Pin::new(&mut self.signals).poll_next(context) {
                    Poll::Ready(Some(_)) => any = true,
                    Poll::Pending if any => return Poll::Ready(()),
                    // Nothing wakes us after the end of the bus.
                    Poll::Pending | Poll::Ready(None) => return Poll::Pending,
                }
            }
        })
        .await;
    }
}

impl Seen {
    fn event_since(self, before: Self) -> Option<SessionEvent> {
        if before.logged_in && !self.logged_in {
            Some(SessionEvent::LoggedOut)
        } else if !before.displaced && self.displaced {
            Some(SessionEvent::OtherUser)
        } else {
            None
        }
    }
}

/// How things are with a user's sessions and their seats.
async fn look(bus: &Connection, uid: u32) -> zbus::Result<Seen> {
    let user: OwnedObjectPath = match call(bus, OBJECT, MANAGER, "GetUser", &(uid)).await {
        Err(error) if is_named(&error, "org.freedesktop.login1.NoSuchUser") => return Ok(Seen::default()),
        other => other?,
    };
    let sessions: Vec<(String, OwnedObjectPath)> =
        match property(bus, &user, "org.freedesktop.login1.User", "Sessions").await? {
            Some(sessions) => sessions,
            None => return Ok(Seen::default()),
        };
    let mut seen = Seen::default();
    let mut seats = Vec::new();
    for (_, path) in sessions {
        let Some(session) = Session::read(bus, &path).await?.filter(|session| session.counts) else {
            continue;
        };
        seen.logged_in = true;
        if session.seat.as_str() != "/" && !seats.contains(&session.seat) {
            seats.push(session.seat);
        }
    }
    let mut owners = Vec::new();
    for seat in seats {
        let active = property(bus, &seat, "org.freedesktop.login1.Seat", "ActiveSession").await?;
        // Without a name: the seat shows no session at all.
        let Some((name, path)) = active.filter(|(name, _): &(String, OwnedObjectPath)| !name.is_empty())
        else {
            continue;
        };
        match Session::read(bus, &path).await? {
            Some(session) => owners.push(session.uid),
            None => tracing::debug!(session = name, "it ended while we looked"),
        }
    }
    seen.displaced = !owners.is_empty() && !owners.contains(&uid);
    Ok(seen)
}

impl Session {
    /// `None` when it is gone.
    async fn read(bus: &Connection, path: &OwnedObjectPath) -> zbus::Result<Option<Self>> {
        let body = &("org.freedesktop.login1.Session");
        let mut all: HashMap<String, OwnedVariant> =
            match call(bus, path.as_str(), PROPERTIES, "GetAll", body).await {
                Err(error) if is_gone(&error) => return Ok(None),
                other => other?,
            };
        let mut take =
            |name: &str| all.remove(name).ok_or(zbus::Error::MissingParameter("a session's property"));
        let class = String::try_from(take("Class")?)?;
        let state = String::try_from(take("State")?)?;
        let (uid, _): (u32, OwnedObjectPath) = take("User")?.try_into()?;
        let (_, seat): (String, OwnedObjectPath) = take("Seat")?.try_into()?;
        // "user", and since systemd 256 variants of it ("user-early", "user-light").
        Ok(Some(Self { counts: class.starts_with("user") && state != "closing", uid, seat }))
    }
}

/// A property of an object; `None` when the object is gone.
async fn property<T>(
    bus: &Connection,
    path: &OwnedObjectPath,
    interface: &str,
    name: &str,
) -> zbus::Result<Option<T>>
where
    T: TryFrom<OwnedVariant>,
    zbus::Error: From<T::Error>,
{
    match call::<_, OwnedVariant>(bus, path.as_str(), PROPERTIES, "Get", &(interface, name)).await {
        Ok(value) => Ok(Some(T::try_from(value)?)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn call<B, T>(bus: &Connection, path: &str, interface: &str, method: &str, body: &B) -> zbus::Result<T>
where
    B: Serialize + DynamicType + Sync,
    T: for<'d> DynamicDeserialize<'d>,
{
    let reply = bus.call_method(Some(SERVICE), path, Some(interface), method, body).await?;
    reply.body().deserialize()
}

fn is_gone(error: &zbus::Error) -> bool {
    ["UnknownObject", "UnknownInterface", "UnknownMethod"]
        .iter()
        .any(|name| is_named(error, &format!("org.freedesktop.DBus.Error.{name}")))
}

fn is_named(error: &zbus::Error, wanted: &str) -> bool {
    matches!(error, zbus::Error::MethodError(name, ..) if name.as_str() == wanted)
}
