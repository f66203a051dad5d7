//! systemd-resolved, which asks its own resolvers by its own rules unless it is told.
//!
//! Our rules send every query on port 53 into the tunnel, resolved's own ones too; but resolved
//! answers from its cache, may speak TLS on another port, and splits queries among links. So it is
//! told that the tunnel's link is where every name (`~.`) is asked, in the clear, at a server
//! whose address does not matter: all of port 53 goes into the tunnel. The one named is
//! 192.0.2.53, from the block that RFC 5737 keeps for examples, so that it is nobody's.
//!
//! A node's link is where its own zones are asked, and nothing else: what runs at that address is the node's
//! server, so the address and the port matter there.
//!
//! resolved forgets a link that goes away, so a tunnel that ends needs no call here but one to
//! empty the caches. (org.freedesktop.resolve1(5))

use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use zbus::export::futures_core::Stream as _;
use zbus::message::Flags;
use zbus::zvariant::DynamicType;
use zbus::{Connection, Message, fdo};

use crate::privileged::MachineError;
use crate::resolver::NodeNames;

/// How long resolved and its bus may take for one of the jobs here.
const PATIENCE: Duration = Duration::from_secs(5);
const SERVICE: &str = "org.freedesktop.resolve1";
const OBJECT: &str = "/org/freedesktop/resolve1";
const MANAGER: &str = "org.freedesktop.resolve1.Manager";
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// Where DNS is, unless something else is said.
const PORT: u16 = 53;
/// `AF_INET` as resolved writes it.
const INET: i32 = 2;

/// What resolved is told of a link.
struct Settings<'a> {
    server: SocketAddrV4,
    /// Whether the server is at port 53 too.
    is_at_53: bool,
    /// The zones that are asked there, and nothing that is not below them.
    zones: Vec<&'a str>,
    /// Whether names of no link's zones are asked there.
    is_default: bool,
}

/// Tells resolved to ask the link everything. `false` when no resolved runs on this machine's bus,
/// or there is no bus.
///
/// # Errors
/// [`MachineError::Resolver`]; the link's settings are then as they were.
pub(crate) async fn capture(index: u32, name: &str) -> Result<bool, MachineError> {
    let server = SocketAddrV4::new(SERVER, PORT);
    let settings = Settings { server, is_at_53: true, zones: vec!["."], is_default: true };
    set_up(index, format!("make {name} systemd-resolved's link for all names"), &settings).await
}

/// Has the machine's resolver ask the node for its names. `false` when there is none that can be told.
///
/// # Errors
/// [`MachineError::Resolver`]; it is not told anything then.
pub async fn ask_node(names: &NodeNames) -> Result<bool, MachineError> {
    let NodeNames { index, interface, server, is_at_53, zones } = names;
    let zones = zones.iter().map(String::as_str).collect();
    let settings = Settings { server: *server, is_at_53: *is_at_53, zones, is_default: false };
    set_up(*index, format!("make {interface} systemd-resolved's link for the node's names"), &settings).await
}

/// Undoes [`ask_node`]. A resolver that is not there any more is no error.
///
/// # Errors
/// [`MachineError::Resolver`]; it forgets what it was told when the interface goes.
pub async fn ask_node_no_more(names: &NodeNames) -> Result<(), MachineError> {
    revert(names.index, &names.interface).await
}

/// Waits until a resolver that can be told comes to this machine. For ever where there is no bus that it could come to.
pub async fn wait_for_resolver() {
    if let Err(error) = appears().await {
        tracing::debug!(%error, "nobody says whether systemd-resolved is started");
        pending::<()>().await;
    }
}

async fn appears() -> zbus::Result<()> {
    let bus = Connection::system().await?;
    let daemon = fdo::DBusProxy::new(&bus).await?;
    let mut changes = daemon.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?;
    // It may have come before anybody listened.
    if daemon.name_has_owner(SERVICE.try_into()?).await? {
        return Ok(());
    }
    while let Some(change) = poll_fn(|context| Pin::new(&mut changes).poll_next(context)).await {
        if change.args()?.new_owner().is_some() {
            return Ok(());
        }
    }
    Err(zbus::Error::InputOutput(Arc::new(io::ErrorKind::BrokenPipe.into())))
}

async fn set_up(index: u32, doing: String, settings: &Settings<'_>) -> Result<bool, MachineError> {
    let Some(bus) = within(doing.clone(), async { Ok(bus_with_resolved().await) }).await? else {
        return Ok(false);
    };
    let link = index.cast_signed();
    let told = within(doing, tell(&bus, link, settings)).await;
    if told.is_err() {
        // Not waited for: it may be that nothing is answered. resolved works on its calls in order.
        let call = Message::method_call(OBJECT, "RevertLink").destination(SERVICE).interface(MANAGER);
        if let Ok(revert) = call.with_flags(Flags::NO_REPLY_EXPECTED).build(&(link)) {
            let _ = tokio::time::timeout(PATIENCE, bus.send(&revert)).await;
        }
    }
    told.map(|()| true)
}

/// Gives the link back to resolved as it was. No resolved is no error.
pub(crate) async fn revert(index: u32, name: &str) -> Result<(), MachineError> {
    within(format!("revert systemd-resolved's settings of {name}"), async {
        let Some(bus) = bus_with_resolved().await else { return Ok(()) };
        call(&bus, "RevertLink", &(index.cast_signed())).await?;
        call(&bus, "FlushCaches", &()).await
    })
    .await
}

/// Makes resolved forget the answers that came through a tunnel that is gone. Best effort.
pub(crate) async fn flush() {
    let flushed = within("empty systemd-resolved's caches".to_owned(), async {
        match bus_with_resolved().await {
            Some(bus) => call(&bus, "FlushCaches", &()).await,
            None => Ok(()),
        }
    });
    if let Err(error) = flushed.await {
        tracing::debug!(%error, "answers from the tunnel may stay in the cache");
    }
}

async fn tell(bus: &Connection, link: i32, settings: &Settings<'_>) -> zbus::Result<()> {
    // resolved hears of a new link a moment after us; the caller's patience ends this.
    while let Err(error) = set_server(bus, link, settings).await {
        if !is_named(&error, "org.freedesktop.resolve1.NoSuchLink") {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let zones: Vec<(&str, bool)> = settings.zones.iter().map(|zone| (*zone, true)).collect();
    call(bus, "SetLinkDomains", &(link, zones)).await?;
    call(bus, "SetLinkDNSSEC", &(link, "no")).await?;
    call(bus, "SetLinkLLMNR", &(link, "no")).await?;
    call(bus, "SetLinkMulticastDNS", &(link, "no")).await?;
    // Versions 239 and 240 brought these two.
    optional(call(bus, "SetLinkDNSOverTLS", &(link, "no")).await)?;
    optional(call(bus, "SetLinkDefaultRoute", &(link, settings.is_default)).await)?;
    call(bus, "FlushCaches", &()).await
}

async fn set_server(bus: &Connection, link: i32, settings: &Settings<'_>) -> zbus::Result<()> {
    let (address, port) = (settings.server.ip().octets().to_vec(), settings.server.port());
    if port != PORT {
        let servers = (link, vec![(INET, address.clone(), port, "")]);
        match call(bus, "SetLinkDNSEx", &servers).await {
            // Version 246 brought it.
            Err(error) if is_unknown(&error) && settings.is_at_53 => {}
            other => return other,
        }
    }
    call(bus, "SetLinkDNS", &(link, vec![(INET, address)])).await
}

fn optional(outcome: zbus::Result<()>) -> zbus::Result<()> {
    match outcome {
        Err(error) if is_unknown(&error) => Ok(()),
        other => other,
    }
}

fn is_unknown(error: &zbus::Error) -> bool {
    is_named(error, "org.freedesktop.DBus.Error.UnknownMethod")
}

fn is_named(error: &zbus::Error, wanted: &str) -> bool {
    matches!(error, zbus::Error::MethodError(name, ..) if name.as_str() == wanted)
}

async fn call<B>(bus: &Connection, method: &str, body: &B) -> zbus::Result<()>
where
    B: Serialize + DynamicType + Sync,
{
    bus.call_method(Some(SERVICE), OBJECT, Some(MANAGER), method, body).await.map(drop)
}

/// The system bus, if there is one and resolved is on it. It is not started for being asked.
async fn bus_with_resolved() -> Option<Connection> {
    let bus = match Connection::system().await {
        Ok(bus) => bus,
        Err(error) => {
            tracing::debug!(%error, "no system bus, hence no systemd-resolved");
            return None;
        }
    };
    let daemon = fdo::DBusProxy::new(&bus).await.ok()?;
    let service = SERVICE.try_into().expect("a well-known name");
    match daemon.name_has_owner(service).await {
        Ok(true) => Some(bus),
        Ok(false) => None,
        Err(error) => {
            tracing::debug!(%error, "cannot ask the bus for systemd-resolved");
            None
        }
    }
}

async fn within<T>(
    doing: String,
    job: impl Future<Output = zbus::Result<T>> + Send,
) -> Result<T, MachineError> {
    match tokio::time::timeout(PATIENCE, job).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(MachineError::Resolver { doing, reason: error.to_string() }),
        Err(_) => Err(MachineError::Resolver { doing, reason: "it did not answer in 5 s".to_owned() }),
    }
}
