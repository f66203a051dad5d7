//! A system bus in a `/run` of the test's own, on which everybody may do everything. The system tests use
//! this file too.

use std::os::unix::net::UnixStream;
use std::process::Command;

/// Where it listens.
const SOCKET: &str = "/run/dbus/system_bus_socket";

const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>"#;

/// Whether it runs yet.
pub fn listens() -> bool {
    UnixStream::connect(SOCKET).is_ok()
}

/// What runs it, in the foreground.
pub fn command() -> Command {
    std::fs::create_dir_all("/run/dbus").expect("/run is ours");
    std::fs::write("/run/bus.conf", BUS).expect("/run is ours");
    let mut command = Command::new("dbus-daemon");
    command.args(["--config-file=/run/bus.conf", "--nofork"]);
    command
}
