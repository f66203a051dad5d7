//! IPv6 on a link, by `/proc/sys`, which is read-only in many a container.

use std::fs::{self, OpenOptions};
use std::io;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Lets the link carry IPv6 where the machine's default for new links is not to. Best effort:
/// what needs it says so when it fails.
pub(crate) fn allow(name: &str) {
    let _ = write_setting(name, "disable_ipv6", "0");
}

/// Lets the link take addresses and routes from routers, also where the machine itself forwards (2), or
/// keeps it from doing so. To be called before the link is set up, and before an MTU that takes IPv6 from it.
/// It may still take them where `/proc/sys` is read-only, and once an MTU that took IPv6 from it is raised.
///
/// # Errors
/// Where it is to and cannot, as when `/proc/sys` is read-only and says otherwise.
pub(crate) fn set_router_advertisements(name: &str, on: bool) -> io::Result<()> {
    for (key, value) in [("accept_ra", if on { "2" } else { "0" }), ("autoconf", if on { "1" } else { "0" })]
    {
        match write_setting(name, key, value) {
            Err(error) if on && setting(name, key).as_deref() != Some(value) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Why a link that is made now cannot have IPv6, and what to do about it; nothing where it can.
pub fn is_off() -> Option<&'static str> {
    let probed = socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    if matches!(probed, Err(Errno::EAFNOSUPPORT)) {
        return Some("this machine has no IPv6; start it without ipv6.disable=1");
    }
    let is_writable = || OpenOptions::new().write(true).open(path("default", "disable_ipv6")).is_ok();
    if setting("default", "disable_ipv6").as_deref() == Some("1") && !is_writable() {
        return Some(
            "IPv6 is off for new interfaces here and /proc/sys is read-only; set the sysctl \
             net.ipv6.conf.default.disable_ipv6 to 0 first (docker run --sysctl does)",
        );
    }
    None
}

pub(crate) fn write_setting(name: &str, key: &str, value: &str) -> io::Result<()> {
    fs::write(path(name, key), value)
}

fn setting(name: &str, key: &str) -> Option<String> {
    Some(fs::read_to_string(path(name, key)).ok()?.trim_end().to_owned())
}

fn path(name: &str, key: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{name}/{key}")
}
