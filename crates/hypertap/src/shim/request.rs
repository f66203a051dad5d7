//! What a program asks by ioctl(2): numbers and structures of `linux/if_tun.h`, `linux/sockios.h`
//! and `linux/if.h`.
//!
//! They are the same on every architecture that the shim runs on.

use std::net::Ipv4Addr;

pub const TUNSETNOCSUM: u32 = 0x4004_54c8;
pub const TUNSETDEBUG: u32 = 0x4004_54c9;
pub const TUNSETIFF: u32 = 0x4004_54ca;
pub const TUNSETPERSIST: u32 = 0x4004_54cb;
pub const TUNSETOWNER: u32 = 0x4004_54cc;
pub const TUNSETLINK: u32 = 0x4004_54cd;
pub const TUNSETGROUP: u32 = 0x4004_54ce;
pub const TUNGETFEATURES: u32 = 0x8004_54cf;
pub const TUNSETOFFLOAD: u32 = 0x4004_54d0;
pub const TUNSETTXFILTER: u32 = 0x4004_54d1;
pub const TUNGETIFF: u32 = 0x8004_54d2;
pub const TUNGETSNDBUF: u32 = 0x8004_54d3;
pub const TUNSETSNDBUF: u32 = 0x4004_54d4;
pub const TUNGETVNETHDRSZ: u32 = 0x8004_54d7;
pub const TUNSETVNETHDRSZ: u32 = 0x4004_54d8;
pub const TUNSETQUEUE: u32 = 0x4004_54d9;
pub const TUNSETIFINDEX: u32 = 0x4004_54da;
pub const TUNSETVNETLE: u32 = 0x4004_54dc;
pub const TUNGETVNETLE: u32 = 0x8004_54dd;
pub const TUNSETVNETBE: u32 = 0x4004_54de;
pub const TUNGETVNETBE: u32 = 0x8004_54df;
pub const TUNSETCARRIER: u32 = 0x4004_54e2;

pub const IFF_TUN: u16 = 0x0001;
pub const IFF_TAP: u16 = 0x0002;
pub const IFF_NAPI: u16 = 0x0010;
pub const IFF_NAPI_FRAGS: u16 = 0x0020;
pub const IFF_MULTI_QUEUE: u16 = 0x0100;
pub const IFF_NO_PI: u16 = 0x1000;
pub const IFF_NOFILTER: u16 = 0x1000;
pub const IFF_ONE_QUEUE: u16 = 0x2000;
pub const IFF_VNET_HDR: u16 = 0x4000;

/// `TUN_F_*` that a program may claim to take: checksums, TCP segments with and without ECN, UDP segments.
/// Not UFO, whose fragments we do not make.
pub const OFFLOADS: u64 = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40;

pub const SIOCADDRT: u32 = 0x890b;
pub const SIOCDELRT: u32 = 0x890c;
pub const SIOCGIFNAME: u32 = 0x8910;
pub const SIOCGIFCONF: u32 = 0x8912;
pub const SIOCGIFFLAGS: u32 = 0x8913;
pub const SIOCSIFFLAGS: u32 = 0x8914;
pub const SIOCGIFADDR: u32 = 0x8915;
pub const SIOCSIFADDR: u32 = 0x8916;
pub const SIOCGIFDSTADDR: u32 = 0x8917;
pub const SIOCSIFDSTADDR: u32 = 0x8918;
pub const SIOCGIFBRDADDR: u32 = 0x8919;
pub const SIOCSIFBRDADDR: u32 = 0x891a;
pub const SIOCGIFNETMASK: u32 = 0x891b;
pub const SIOCSIFNETMASK: u32 = 0x891c;
pub const SIOCGIFMETRIC: u32 = 0x891d;
pub const SIOCSIFMETRIC: u32 = 0x891e;
pub const SIOCGIFMTU: u32 = 0x8921;
pub const SIOCSIFMTU: u32 = 0x8922;
pub const SIOCSIFHWADDR: u32 = 0x8924;
pub const SIOCGIFHWADDR: u32 = 0x8927;
pub const SIOCADDMULTI: u32 = 0x8931;
pub const SIOCDELMULTI: u32 = 0x8932;
pub const SIOCGIFINDEX: u32 = 0x8933;
pub const SIOCDIFADDR: u32 = 0x8936;
pub const SIOCSIFHWBROADCAST: u32 = 0x8937;
pub const SIOCGIFTXQLEN: u32 = 0x8942;
pub const SIOCSIFTXQLEN: u32 = 0x8943;
pub const SIOCETHTOOL: u32 = 0x8946;
pub const SIOCGSKNS: u32 = 0x894c;

/// What the kernel says of a descriptor that has no interface (yet).
pub const EBADFD: i32 = 77;

/// The letter of the requests for TUN devices; those for interfaces have 0x89.
const TUN: u32 = 0x54;

/// Whether a request is for a TUN device.
pub fn is_for_tun(request: u32) -> bool {
    request >> 8 & 0xff == TUN
}

/// What a request is called, for people.
pub fn name(request: u32) -> String {
    let known = match request {
        TUNSETIFF => "TUNSETIFF",
        TUNSETPERSIST => "TUNSETPERSIST",
        TUNSETLINK => "TUNSETLINK",
        TUNSETOFFLOAD => "TUNSETOFFLOAD",
        0x4010_54d5 => "TUNATTACHFILTER",
        0x4010_54d6 => "TUNDETACHFILTER",
        TUNSETVNETHDRSZ => "TUNSETVNETHDRSZ",
        TUNSETQUEUE => "TUNSETQUEUE",
        0x8010_54db => "TUNGETFILTER",
        TUNSETVNETBE => "TUNSETVNETBE",
        0x8004_54e0 => "TUNSETSTEERINGEBPF",
        0x8004_54e1 => "TUNSETFILTEREBPF",
        0x54e3 => "TUNGETDEVNETNS",
        SIOCSIFFLAGS => "SIOCSIFFLAGS",
        SIOCSIFADDR => "SIOCSIFADDR",
        SIOCSIFDSTADDR => "SIOCSIFDSTADDR",
        SIOCSIFBRDADDR => "SIOCSIFBRDADDR",
        SIOCSIFNETMASK => "SIOCSIFNETMASK",
        SIOCSIFMTU => "SIOCSIFMTU",
        SIOCSIFHWADDR => "SIOCSIFHWADDR",
        SIOCETHTOOL => "SIOCETHTOOL",
        0x8923 => "SIOCSIFNAME",
        0x8947 => "SIOCGMIIPHY",
        0x8948 => "SIOCGMIIREG",
        _ => return format!("ioctl {request:#x}"),
    };
    known.to_owned()
}

/// A `struct ifreq`: a name, and what the request is about.
#[derive(Clone, Copy, Debug)]
pub struct Ifreq(pub [u8; Self::LEN]);

impl Ifreq {
    /// Its length in bytes.
    pub const LEN: usize = 40;
    /// How long a name may be, with the NUL at its end.
    const NAME: usize = 16;

    /// The name, up to its NUL, which the kernel sets at the end of the field; what is not ASCII is not an
    /// interface's.
    pub fn name(&self) -> Option<&str> {
        let name = &self.0[..Self::NAME - 1];
        let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        std::str::from_utf8(&name[..len]).ok()
    }

    /// Writes the name, which fits ([`super::name`]).
    pub fn set_name(&mut self, name: &str) {
        let field = &mut self.0[..Self::NAME];
        field.fill(0);
        for (to, from) in field.iter_mut().take(Self::NAME - 1).zip(name.bytes()) {
            *to = from;
        }
    }

    /// `ifr_flags`.
    pub fn flags(&self) -> u16 {
        u16::from_ne_bytes(self.field(0))
    }

    pub fn set_flags(&mut self, flags: u16) {
        self.set(0, &flags.to_ne_bytes());
    }

    /// `ifr_ifindex`, `ifr_mtu`, `ifr_qlen`.
    pub fn number(&self) -> i32 {
        i32::from_ne_bytes(self.field(0))
    }

    pub fn set_number(&mut self, number: i32) {
        self.set(0, &number.to_ne_bytes());
    }

    /// `ifr_addr` and the like, if it is an IPv4 address.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        (u16::from_ne_bytes(self.field(0)) == Self::AF_INET).then(|| Ipv4Addr::from(self.field::<4>(4)))
    }

    pub fn set_ipv4(&mut self, address: Ipv4Addr) {
        self.set(0, &[0; 16]);
        self.set(0, &Self::AF_INET.to_ne_bytes());
        self.set(4, &address.octets());
    }

    /// `ifr6_ifindex`, where this is a `struct in6_ifreq` (linux/ipv6.h).
    pub fn index_of_ipv6(&self) -> i32 {
        i32::from_ne_bytes(self.field(4))
    }

    /// `ifr_hwaddr`, whatever its kind.
    pub fn hardware(&self) -> [u8; 6] {
        self.field(2)
    }

    /// `ifr_hwaddr` of that kind (`ARPHRD_*`).
    pub fn set_hardware(&mut self, kind: u16, address: [u8; 6]) {
        self.set(0, &[0; 16]);
        self.set(0, &kind.to_ne_bytes());
        self.set(2, &address);
    }

    const AF_INET: u16 = 2;

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|byte| self.0[Self::NAME + at + byte])
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        let at = Self::NAME + at;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_kernel_has_them() {
        let mut request = Ifreq([0xff; Ifreq::LEN]);
        assert_eq!(request.name(), None);
        request.0[..16].copy_from_slice(b"sixteen-letters-");
        assert_eq!(request.name(), Some("sixteen-letters"));
        request.set_name("a-name-longer-than-fits");
        assert_eq!(request.name(), Some("a-name-longer-t"));
        request.set_name("tap0");
        request.set_ipv4([10, 1, 2, 3].into());
        assert_eq!(request.0[..22], *b"tap0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x0a\x01");
        assert_eq!((request.name(), request.ipv4()), (Some("tap0"), Some([10, 1, 2, 3].into())));
        request.set_hardware(1, [2, 3, 4, 5, 6, 7]);
        assert_eq!((request.hardware(), request.ipv4(), request.flags()), ([2, 3, 4, 5, 6, 7], None, 1));
        request.set_number(-2);
        assert_eq!(request.number(), -2);
    }

    #[test]
    fn requests_for_a_tun_device_are_told_from_those_for_interfaces() {
        assert!(is_for_tun(TUNSETIFF) && is_for_tun(TUNGETVNETBE) && is_for_tun(0x54e3));
        assert!(!is_for_tun(SIOCGIFNAME) && !is_for_tun(SIOCETHTOOL));
    }
}
