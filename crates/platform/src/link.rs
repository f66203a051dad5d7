//! Questions about the links of this process's network.

use nix::net::if_::if_nametoindex;

#[cfg(target_os = "linux")]
pub use crate::linux::ipv6::is_off as ipv6_is_off;

/// Whether there is a link of that name.
pub fn exists(name: &str) -> bool {
    if_nametoindex(name).is_ok()
}

/// Whether there is a link of that index, once what is happening to links has happened: the kernel
/// answers after whoever is deleting or moving one is done. Blocks as long, which is milliseconds.
/// Where the kernel does not answer, the link counts as there.
#[cfg(target_os = "linux")]
pub fn remains(index: u32) -> bool {
    use crate::linux::links::find;
    use crate::linux::netlink::Netlink;
    Netlink::open().and_then(|mut netlink| find(&mut netlink, index)).map_or(true, |link| link.is_some())
}

/// Whether there is a link of that index.
#[cfg(target_os = "macos")]
pub fn remains(index: u32) -> bool {
    nix::net::if_::if_nameindex().map_or(true, |links| links.iter().any(|link| link.index() == index))
}

/// Why a link that is made now cannot have IPv6, and what to do about it; nothing where it can.
#[cfg(target_os = "macos")]
pub fn ipv6_is_off() -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_is_there_and_another_is_not() {
        assert!(exists("lo") && remains(if_nametoindex("lo").unwrap()));
        assert!(!exists("hypertap-none") && !remains(u32::MAX >> 1));
    }
}
