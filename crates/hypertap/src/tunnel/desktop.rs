//! The desktop's network settings.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use hypertap_platform::peer::starting_user;
use hypertap_platform::process::is_root;
use hypertap_platform::rights::desktop_session;
use hypertap_wire::event::Refusal;

use crate::exit::Exit;

/// Programs that show network settings, the desktop's own first.
const PROGRAMS: &[&[&str]] = &[
    &["gnome-control-center", "network"],
    &["systemsettings", "kcm_networkmanagement"],
    &["systemsettings5", "kcm_networkmanagement"],
    &["cinnamon-settings", "network"],
    &["nm-connection-editor"],
];

/// Brings the system's network settings to the front, as the user who started us.
///
/// # Errors
/// A refusal that says what is missing.
pub fn open_network_settings() -> Result<(), Refusal> {
    let refuse = |text: &str| Err(Refusal::with_code(text, Exit::Other as u8));
    if !desktop_session() {
        return refuse(
            "there is no desktop session to show the network settings in; start hypertap from one",
        );
    }
    for words in PROGRAMS {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if is_root() {
            command.uid(starting_user());
        }
        if let Ok(mut child) = command.spawn() {
            // Nobody waits for a window that a person closes; its end is collected by a thread of its own.
            let name = "settings window".to_owned();
            let _ = std::thread::Builder::new().name(name).spawn(move || child.wait());
            return Ok(());
        }
    }
    refuse(
        "no program that shows network settings is installed (tried gnome-control-center, systemsettings, nm-connection-editor)",
    )
}
