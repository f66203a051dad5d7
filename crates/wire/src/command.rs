//! Commands of the command plane: one line to a [`Request`], its fields to typed values.
//!
//! Reading goes in two steps, because the protocol judges a command's fields only when it is
//! that command's turn: [`Request::parse`] finds the verb, [`StartFields::parse`] and
//! [`parse_routes`] its arguments.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::event::Refusal;
use crate::route::{RouteKind, parse_route};

/// The smallest MTU a tunnel can have, in bytes (RFC 791).
pub const MIN_MTU: u32 = 68;
/// The largest, in bytes: what a UDP datagram over IPv4 holds.
pub const MAX_MTU: u32 = 65_507;
/// The smallest MTU that carries IPv6, in bytes (RFC 8200).
pub const MIN_MTU_IPV6: u32 = 1280;

/// The class of a refusal for bad values, as the program's exit code for usage.
pub const CODE_USAGE: u8 = 2;

macro_rules! verbs {
    ($($(#[doc = $doc:literal])* $verb:ident = $name:literal,)*) => {
        /// What a command does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Verb { $($(#[doc = $doc])* $verb,)* }

        impl Verb {
            /// Every verb.
            pub const ALL: &[Self] = &[$(Self::$verb,)*];

            /// Its spelling on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$verb => $name,)* }
            }

            /// What it does, in a few words.
            pub fn about(self) -> &'static str {
                match self { $(Self::$verb => concat!($($doc,)*).trim_ascii(),)* }
            }
        }
    };
}

verbs! {
    /// Create the TUN interface and start the data plane
    Start = "start",
    /// Take the interface down and keep the process
    Stop = "stop",
    /// Take the interface down and end the process
    Shutdown = "shutdown",
    /// Ask for the right to create interfaces
    LoadConfig = "loadConfig",
    /// Make the TUN driver available
    LoadExtension = "loadExtension",
    /// Bring the system's network settings to the front
    OpenExtensionSettings = "openExtensionSettings",
    /// Send routes into the tunnel
    AddIncludedRoutes = "addIncludedRoutes",
    /// No longer send routes into the tunnel
    RemoveIncludedRoutes = "removeIncludedRoutes",
    /// Keep routes out of the tunnel
    AddExcludedRoutes = "addExcludedRoutes",
    /// No longer keep routes out of the tunnel
    RemoveExcludedRoutes = "removeExcludedRoutes",
    /// Capture every DNS query of the machine
    TurnOnDns = "turnOnDNS",
    /// Stop capturing DNS queries
    TurnOffDns = "turnOffDNS",
    /// Say what the tunnel is doing
    Status = "status",
    /// Say the interface's name
    GetName = "getName",
    /// Say the program's version
    ShowVersion = "showVersion",
    /// Remove what `hypertap install` put on the machine and end the process
    Uninstall = "uninstall",
    /// Count packets, bytes and drops by cause
    Stats = "stats",
    /// List the routes; with `address`, say where that one goes
    Routes = "routes",
    /// List the latest events with their times
    Events = "events",
    /// List the commands
    Help = "help",
    /// Hand the interface over to another instance (Unix socket only)
    Supersede = "supersede",
    /// Mark the sockets of a program so that they pass the tunnel by (Unix socket only)
    Bypass = "bypass",
}

impl Verb {
    /// The verb of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|verb| verb.name() == name)
    }

    /// Whether it is refused while the tunnel is not connected.
    pub fn needs_tunnel(self) -> bool {
        match self {
            Self::AddIncludedRoutes
            | Self::RemoveIncludedRoutes
            | Self::AddExcludedRoutes
            | Self::RemoveExcludedRoutes
            | Self::TurnOnDns
            | Self::TurnOffDns
            | Self::GetName => true,
            Self::Start
            | Self::Stop
            | Self::Shutdown
            | Self::LoadConfig
            | Self::LoadExtension
            | Self::OpenExtensionSettings
            | Self::Status
            | Self::ShowVersion
            | Self::Uninstall
            | Self::Stats
            | Self::Routes
            | Self::Events
            | Self::Help
            | Self::Supersede
            | Self::Bypass => false,
        }
    }

    /// Whether only the owner may send it: it changes the tunnel, the machine or the process.
    pub fn is_changing(self) -> bool {
        match self {
            Self::Status
            | Self::GetName
            | Self::ShowVersion
            | Self::Stats
            | Self::Routes
            | Self::Events
            | Self::Help
            // These two come from other instances and programs, and have checks of their own.
            | Self::Supersede
            | Self::Bypass => false,
            _ => true,
        }
    }

    /// For the four route commands: of which kind, and whether they add.
    pub fn route_change(self) -> Option<(RouteKind, bool)> {
        match self {
            Self::AddIncludedRoutes => Some((RouteKind::Included, true)),
            Self::RemoveIncludedRoutes => Some((RouteKind::Included, false)),
            Self::AddExcludedRoutes => Some((RouteKind::Excluded, true)),
            Self::RemoveExcludedRoutes => Some((RouteKind::Excluded, false)),
            _ => None,
        }
    }
}

/// One command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is asked for.
    pub verb: Verb,
    /// To be echoed in the reply.
    pub id: Option<Value>,
    /// The whole object.
    pub fields: Map<String, Value>,
}

impl Request {
    /// Reads one line.
    ///
    /// # Errors
    /// The refusal to answer with, and the `id` to echo where the line had one.
    pub fn parse(line: &[u8]) -> Result<Self, (Refusal, Option<Value>)> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(line) else {
            return Err((Refusal::fixed("invalid json"), None));
        };
        let id = fields.get("id").cloned();
        let name = fields.get("cmd").or_else(|| fields.get("op"));
        let Some(name) = name.and_then(Value::as_str) else {
            return Err((Refusal::fixed("missing cmd"), id));
        };
        match Verb::from_name(name) {
            Some(verb) => Ok(Self { verb, id, fields }),
            None => Err((Refusal::fixed("unknown cmd"), id)),
        }
    }
}

/// How packets travel between the program and the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataPlane {
    /// One packet a UDP datagram on loopback.
    #[default]
    Udp,
    /// One packet a message of a Unix `SOCK_SEQPACKET` socket.
    Unix,
    /// A Unix stream, each packet after its length (u16, big-endian).
    Stream,
    /// The TUN's own descriptor, handed over the Unix command socket.
    Fd,
}

impl DataPlane {
    const NAMES: [(&str, Self); 4] =
        [("udp", Self::Udp), ("unix", Self::Unix), ("stream", Self::Stream), ("fd", Self::Fd)];

    /// The data plane of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, plane)| *plane)
    }
}

/// The arguments of `start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFields {
    /// The interface's address.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// Its exact name.
    pub name: Option<String>,
    /// How packets travel.
    pub data_plane: DataPlane,
    /// Where packets go over UDP, instead of the daemon's setting.
    pub receive_port: Option<u16>,
    /// For [`DataPlane::Fd`]: leave the virtio-net header on.
    pub offload: bool,
    /// Stop the tunnel when the machine's default route goes away or moves.
    pub follow_default_route: bool,
}

fn bad(field: &str, value: &Value, wanted: &str) -> Refusal {
    Refusal::with_code(format!("{field} is {value}, wanted {wanted}"), CODE_USAGE)
}

fn optional<T>(
    fields: &Map<String, Value>,
    name: &str,
    wanted: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| bad(name, value, wanted)),
    }
}

fn read_ipv4(value: &Value) -> Option<Ipv4Addr> {
    let text = value.as_str()?;
    let address: Ipv4Addr = text.strip_suffix("/32").unwrap_or(text).parse().ok()?;
    (!address.is_unspecified() && !address.is_broadcast() && !address.is_multicast()).then_some(address)
}

fn read_ipv6(value: &Value) -> Option<Ipv6Addr> {
    let text = value.as_str()?;
    let address: Ipv6Addr = text.strip_suffix("/128").unwrap_or(text).parse().ok()?;
    (!address.is_unspecified() && !address.is_multicast() && !address.is_loopback()).then_some(address)
}

fn read_name(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    is_interface_name(name).then(|| name.to_owned())
}

/// Whether the kernel would take `name` for an interface, as it stands: 1 to 15 bytes without
/// `/`, `:`, white space or control characters, not `.` or `..`, and no `%`, which it would expand.
pub fn is_interface_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
    (1..=15).contains(&name.len()) && name != "." && name != ".." && name.chars().all(plain)
}

impl StartFields {
    /// Reads the arguments of a `start` command; unknown ones are ignored.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn parse(fields: &Map<String, Value>) -> Result<Self, Refusal> {
        let wanted = "an address \"a.b.c.d\" or \"a.b.c.d/32\" that a host can have";
        let ipv4 = match optional(fields, "myIPv4Address", wanted, read_ipv4) {
            Ok(Some(address)) => address,
            Err(refusal) if fields.get("myIPv4Address") != Some(&Value::from("")) => return Err(refusal),
            _ => return Err(Refusal::fixed("No value provided for myIPv4Address")),
        };
        let wanted = "an address like \"fd00::1\" or \"fd00::1/128\" that a host can have";
        let ipv6 = optional(fields, "myIPv6Address", wanted, read_ipv6)?;
        let least = if ipv6.is_some() { MIN_MTU_IPV6 } else { MIN_MTU };
        let mtu = optional(fields, "mtu", &format!("a number from {least} to {MAX_MTU}"), |value| {
            u32::try_from(value.as_u64()?).ok().filter(|mtu| (least..=MAX_MTU).contains(mtu))
        })?;
        let wanted = "an interface name: 1 to 15 characters without '/', ':', '%' or blanks";
        Ok(Self {
            ipv4,
            ipv6,
            mtu,
            name: optional(fields, "name", wanted, read_name)?,
            data_plane: optional(fields, "dataPlane", "\"udp\", \"unix\", \"stream\" or \"fd\"", |value| {
                DataPlane::from_name(value.as_str()?)
            })?
            .unwrap_or_default(),
            receive_port: optional(fields, "receivePort", "a port from 1 to 65535", |value| {
                u16::try_from(value.as_u64()?).ok().filter(|port| *port != 0)
            })?,
            offload: optional(fields, "offload", "true or false", Value::as_bool)?.unwrap_or(false),
            follow_default_route: optional(fields, "followDefaultRoute", "true or false", Value::as_bool)?
                .unwrap_or(false),
        })
    }
}

/// Reads the `routes` of a route command; all of them, or none.
///
/// # Errors
/// The protocol's fixed texts.
pub fn parse_routes(fields: &Map<String, Value>, kind: RouteKind) -> Result<Vec<IpNet>, Refusal> {
    let none = || {
        Refusal::fixed(match kind {
            RouteKind::Included => "No included routes were provided",
            RouteKind::Excluded => "No excluded routes were provided",
        })
    };
    let routes = fields.get("routes").and_then(Value::as_array).ok_or_else(none)?;
    let texts: Option<Vec<&str>> = routes.iter().map(Value::as_str).collect();
    texts
        .ok_or_else(none)?
        .into_iter()
        .map(|text| match parse_route(text) {
            Some(net) => Ok(net),
            None => Err(Refusal::fixed(format!("An invalid route was provided - {text}"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).expect("an object")
    }

    fn start(text: &str) -> Result<StartFields, String> {
        StartFields::parse(&fields(text)).map_err(|refusal| refusal.text)
    }

    #[test]
    fn cmd_and_its_alias_name_the_verb() {
        for line in [r#"{"cmd":"status"}"#, r#"{"op":"status"}"#, r#"{"cmd":"status","op":"stop"}"#] {
            assert_eq!(Request::parse(line.as_bytes()).map(|r| r.verb), Ok(Verb::Status), "{line}");
        }
    }

    #[test]
    fn bad_lines_get_the_fixed_texts() {
        let cases = [
            ("nonsense", "invalid json"),
            ("[1]", "invalid json"),
            ("{\"cmd\":\"status\"} x", "invalid json"),
            ("\u{fffd}", "invalid json"),
            ("{}", "missing cmd"),
            (r#"{"cmd":5}"#, "missing cmd"),
            (r#"{"cmd":"Status"}"#, "unknown cmd"),
        ];
        for (line, text) in cases {
            let (refusal, id) = Request::parse(line.as_bytes()).expect_err(line);
            assert_eq!((refusal, id), (Refusal::fixed(text), None), "{line}");
        }
        assert_eq!(Request::parse(b"{\"cmd\":\"\xff\"}").expect_err("not UTF-8").0.text, "invalid json");
    }

    #[test]
    fn a_refused_line_still_yields_its_id() {
        let (_, id) = Request::parse(br#"{"cmd":"nope","id":[1]}"#).expect_err("unknown");
        assert_eq!(id, Some(serde_json::json!([1])));
    }

    #[test]
    fn a_deep_nest_is_invalid_json_not_a_crash() {
        let deep = "[".repeat(100_000);
        assert_eq!(Request::parse(deep.as_bytes()).expect_err("deep").0.text, "invalid json");
    }

    #[test]
    fn start_needs_an_address_a_host_can_have() {
        let missing = "No value provided for myIPv4Address";
        for text in ["{}", r#"{"myIPv4Address":null}"#, r#"{"myIPv4Address":""}"#] {
            assert_eq!(start(text), Err(missing.to_owned()), "{text}");
        }
        for good in ["5.5.5.5", "5.5.5.5/32"] {
            let got = start(&format!(r#"{{"myIPv4Address":"{good}"}}"#)).expect(good);
            assert_eq!((got.ipv4, got.data_plane), (Ipv4Addr::new(5, 5, 5, 5), DataPlane::Udp));
        }
        for bad in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "5.5.5.5/24", "5.5.5", "::1", " 5.5.5.5"] {
            let error = start(&format!(r#"{{"myIPv4Address":"{bad}"}}"#)).expect_err(bad);
            assert!(error.contains(bad) && error.contains("myIPv4Address"), "{error}");
        }
    }

    #[test]
    fn start_checks_each_addition() {
        let cases = [
            (r#""mtu":67"#, "mtu"),
            (r#""mtu":65508"#, "mtu"),
            (r#""mtu":1500.5"#, "mtu"),
            (r#""mtu":1279,"myIPv6Address":"fd00::1""#, "1280"),
            (r#""name":"a/b""#, "name"),
            (r#""name":"h%d""#, "name"),
            (r#""name":"sixteen-bytes-xx""#, "name"),
            (r#""dataPlane":"tcp""#, "dataPlane"),
            (r#""receivePort":0"#, "receivePort"),
            (r#""receivePort":65536"#, "receivePort"),
            (r#""myIPv6Address":"::""#, "myIPv6Address"),
            (r#""offload":1"#, "offload"),
        ];
        for (addition, named) in cases {
            let error = start(&format!(r#"{{"myIPv4Address":"5.5.5.5",{addition}}}"#)).expect_err(addition);
            assert!(error.contains(named), "{addition}: {error}");
        }
        let all = r#"{"myIPv4Address":"5.5.5.5","myIPv6Address":"fd00::1/128","mtu":65507,"name":"t0",
            "dataPlane":"fd","receivePort":9,"offload":true,"followDefaultRoute":true,"other":1}"#;
        let got = start(all).expect("all good");
        assert_eq!(got.mtu, Some(65507));
        assert_eq!((got.data_plane, got.receive_port, got.offload), (DataPlane::Fd, Some(9), true));
    }

    #[test]
    fn routes_are_read_whole_or_not_at_all() {
        let parse = |text: &str| parse_routes(&fields(text), RouteKind::Included).map_err(|r| r.text);
        let none = Err("No included routes were provided".to_owned());
        for text in
            ["{}", r#"{"routes":""}"#, r#"{"routes":"5.5.5.6"}"#, r#"{"routes":[5]}"#, r#"{"routes":{}}"#]
        {
            assert_eq!(parse(text), none, "{text}");
        }
        assert_eq!(parse(r#"{"routes":[]}"#), Ok(vec![]));
        assert_eq!(
            parse(r#"{"routes":["10.0.0.0/8","x"]}"#),
            Err("An invalid route was provided - x".to_owned())
        );
        assert_eq!(parse(r#"{"routes":["10.1.2.3/8","::1"]}"#).map(|nets| nets.len()), Ok(2));
        let excluded = parse_routes(&fields("{}"), RouteKind::Excluded).expect_err("none");
        assert_eq!(excluded.text, "No excluded routes were provided");
    }

    #[test]
    fn every_verb_is_found_by_its_name_and_described() {
        for verb in Verb::ALL {
            assert_eq!(Verb::from_name(verb.name()), Some(*verb));
            assert!(!verb.about().is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line: Vec<u8>) {
            if let Ok(request) = Request::parse(&line) {
                let _ = StartFields::parse(&request.fields);
                let _ = parse_routes(&request.fields, RouteKind::Included);
            }
        }

        #[test]
        fn accepted_names_are_names_the_kernel_takes(name: String) {
            if is_interface_name(&name) {
                prop_assert!(name.len() <= 15 && !name.contains(['/', ':', '%']) && !name.contains(char::is_whitespace));
            }
        }
    }
}
