//! Events and replies of the command plane: what the daemon writes, one JSON object a line.

use serde_json::{Map, Value, json};

/// Why a tunnel stopped. All sixteen spell as the protocol's first page spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// `stop`, `shutdown`, the client's end, or a signal.
    StoppedByUser,
    /// The device or the data plane failed.
    TunnelFailed,
    /// The machine's last default route went away.
    NoConnectivity,
    /// The machine's default route moved to another device.
    ConnectivityChanged,
    /// The privileged half ended.
    ProviderDisabled,
    /// The person dismissed the question for the right.
    AuthenticationCancelled,
    /// The device could not be set up as asked.
    InvalidVpn,
    /// `start` did not finish in time.
    TimedOut,
    /// Somebody set the link down.
    VpnDisabled,
    /// Somebody removed the link.
    VpnRemoved,
    /// Another instance took the interface over.
    Superseded,
    /// The owning user's last session ended.
    LoggedOut,
    /// The seat's active session is another user's.
    CurrentUserChanged,
    /// The program's end of the data plane went away.
    ConnectionFailed,
    /// A cause with no name.
    NoReason,
    /// A cause that is not known.
    Unknown,
}

impl StopReason {
    /// All of them, in the order of the protocol's page.
    pub const ALL: [Self; 16] = [
        Self::StoppedByUser,
        Self::TunnelFailed,
        Self::NoConnectivity,
        Self::ConnectivityChanged,
        Self::ProviderDisabled,
        Self::AuthenticationCancelled,
        Self::InvalidVpn,
        Self::TimedOut,
        Self::VpnDisabled,
        Self::VpnRemoved,
        Self::Superseded,
        Self::LoggedOut,
        Self::CurrentUserChanged,
        Self::ConnectionFailed,
        Self::NoReason,
        Self::Unknown,
    ];

    /// Its spelling on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::StoppedByUser => "stoppedByUser",
            Self::TunnelFailed => "tunnelFailed",
            Self::NoConnectivity => "noConnectivity",
            Self::ConnectivityChanged => "connectivityChanged",
            Self::ProviderDisabled => "providerDisabled",
            Self::AuthenticationCancelled => "authenticationCancelled",
            Self::InvalidVpn => "invalidVPN",
            Self::TimedOut => "timedOut",
            Self::VpnDisabled => "vpnDisabled",
            Self::VpnRemoved => "vpnRemoved",
            Self::Superseded => "superseded",
            Self::LoggedOut => "loggedOut",
            Self::CurrentUserChanged => "currentUserchanged",
            Self::ConnectionFailed => "connectionFailed",
            Self::NoReason => "noReason",
            Self::Unknown => "unknown",
        }
    }
}

/// Something that happened, told to every client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The right to configure networking is not there yet.
    VpnPending,
    /// The right to configure networking is there.
    VpnApproved,
    /// The right was asked for and refused.
    VpnDenied,
    /// The interface, or the right, was taken away.
    VpnRemoved,
    /// The TUN driver can be used.
    ExtensionApproved,
    /// The TUN driver cannot be used.
    ExtensionNotApproved,
    /// The tunnel carries packets.
    TunnelStarted,
    /// The tunnel is gone.
    TunnelStopped(StopReason),
}

impl Event {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::VpnPending => "vpnPending",
            Self::VpnApproved => "vpnApproved",
            Self::VpnDenied => "vpnDenied",
            Self::VpnRemoved => "vpnRemoved",
            Self::ExtensionApproved => "extensionApproved",
            Self::ExtensionNotApproved => "extensionNotApproved",
            Self::TunnelStarted => "tunnelStarted",
            Self::TunnelStopped(_) => "tunnelStopped",
        }
    }

    /// Why, where the event says it.
    pub fn reason(self) -> Option<StopReason> {
        match self {
            Self::TunnelStopped(reason) => Some(reason),
            _ => None,
        }
    }

    /// Its line, without the end.
    pub fn to_line(self) -> String {
        match self.reason() {
            None => json!({"cmd": "event", "event": self.name()}),
            Some(reason) => json!({"cmd": "event", "event": self.name(), "reason": reason.name()}),
        }
        .to_string()
    }
}

/// What the tunnel is doing, as the `status` command says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The tunnel carries packets.
    Connected,
    /// There is no tunnel.
    Disconnected,
    /// The tunnel is being made.
    Connecting,
    /// The tunnel is being removed.
    Disconnecting,
    /// The right or the driver is missing.
    Invalid,
    /// Routes are applied again after the machine's network changed.
    Reasserting,
}

impl Status {
    /// Its spelling on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Disconnecting => "disconnecting",
            Self::Invalid => "invalid",
            Self::Reasserting => "reasserting",
        }
    }
}

/// A command that did not succeed: the text, and for texts that are not fixed by the protocol
/// a code that sorts them (the same numbers as the program's exit codes).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// What went wrong, to which thing, and what to do.
    pub text: String,
    /// Its class, where the protocol fixes no text.
    pub code: Option<u8>,
}

impl Refusal {
    /// One of the protocol's fixed texts.
    pub fn fixed(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: None }
    }

    /// A text of ours, with its class.
    pub fn with_code(text: impl Into<String>, code: u8) -> Self {
        Self { text: text.into(), code: Some(code) }
    }
}

/// The longest text of a refusal on the wire, in bytes. What a peer sent is told back in it, and may
/// have been as long as a line.
const MAX_TEXT: usize = 4096;

/// The line of a reply, without the end: `{"ok":true,…}` or `{"ok":false,"error":…}`, and last
/// the request's `id` where it had one.
pub fn reply_line(outcome: Result<Map<String, Value>, Refusal>, id: Option<Value>) -> String {
    let mut object = Map::new();
    match outcome {
        Ok(fields) => {
            object.insert("ok".into(), true.into());
            object.extend(fields);
        }
        Err(refusal) => {
            object.insert("ok".into(), false.into());
            object.insert("error".into(), shortened(refusal.text).into());
            object.extend(refusal.code.map(|code| ("code".into(), code.into())));
        }
    }
    object.extend(id.map(|id| ("id".into(), id)));
    Value::Object(object).to_string()
}

/// A text of at most [`MAX_TEXT`] bytes; an ellipsis stands for what was cut off.
fn shortened(mut text: String) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() > MAX_TEXT {
        let boundary = (0..=MAX_TEXT - ELLIPSIS.len()).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(boundary.unwrap_or(0));
        text.push_str(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_as_the_protocol_says() {
        assert_eq!(Event::VpnApproved.to_line(), r#"{"cmd":"event","event":"vpnApproved"}"#);
        assert_eq!(
            Event::TunnelStopped(StopReason::CurrentUserChanged).to_line(),
            r#"{"cmd":"event","event":"tunnelStopped","reason":"currentUserchanged"}"#
        );
    }

    #[test]
    fn an_id_comes_back_as_it_was_sent() {
        for id in ["523.5e+40", "123456789012345678901234567890", "-0.0", "1e+400", "[1,{\"a\":0.10}]"] {
            let parsed: Value = serde_json::from_str(id).expect("JSON");
            assert_eq!(reply_line(Ok(Map::new()), Some(parsed)), format!(r#"{{"ok":true,"id":{id}}}"#));
        }
    }

    #[test]
    fn replies_start_with_ok_and_end_with_the_id() {
        assert_eq!(reply_line(Ok(Map::new()), None), r#"{"ok":true}"#);
        let fields = Map::from_iter([("name".to_owned(), json!("hypertap0"))]);
        assert_eq!(reply_line(Ok(fields), Some(json!(7))), r#"{"ok":true,"name":"hypertap0","id":7}"#);
        assert_eq!(
            reply_line(Err(Refusal::fixed("unknown cmd")), None),
            r#"{"ok":false,"error":"unknown cmd"}"#
        );
        assert_eq!(
            reply_line(Err(Refusal::with_code("no", 3)), Some(json!("a"))),
            r#"{"ok":false,"error":"no","code":3,"id":"a"}"#
        );
    }

    #[test]
    fn a_text_that_tells_back_too_much_is_cut_between_two_characters() {
        let told = |length: usize| {
            let text = format!("An invalid route was provided - {}", "é".repeat(length));
            let reply: Value =
                serde_json::from_str(&reply_line(Err(Refusal::fixed(&text)), None)).expect("JSON");
            let told = reply["error"].as_str().expect("a text").to_owned();
            (told == text, told)
        };
        assert!(told(2032).0, "4096 bytes are told whole");
        for length in [2033, 2034, 500_000] {
            let (whole, text) = told(length);
            assert!(!whole && text.len() > MAX_TEXT - 4 && text.len() <= MAX_TEXT, "{length}");
            assert!(
                text.starts_with("An invalid route was provided - éé") && text.ends_with("é…"),
                "{length}"
            );
        }
    }
}
