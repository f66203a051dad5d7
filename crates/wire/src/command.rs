//! Commands of the command plane: one line to a [`Request`], its fields to typed values.
//!
//! Reading goes in two steps, because the protocol judges a command's fields only when it is
//! that command's turn: [`Request::parse`] finds the verb, [`StartFields::parse`] and
//! [`parse_routes`] its arguments.

mod start;

use ipnet::IpNet;
use serde_json::{Map, Value};

pub use self::start::{
    DataPlane, INTERFACE_NAME, MAX_MTU, MIN_MTU, MIN_MTU_IPV6, StartFields, is_host_address,
    is_interface_name, mtu_range,
};
use crate::event::Refusal;
use crate::route::{RouteKind, parse_route};

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
    }
}
