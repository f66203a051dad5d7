//! The arguments of `start`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::CODE_USAGE;
use crate::event::Refusal;

/// The smallest MTU a tunnel can have, in bytes (RFC 791).
pub const MIN_MTU: u32 = 68;
/// The largest, in bytes: what a UDP datagram over IPv4 holds.
pub const MAX_MTU: u32 = 65_507;
/// The smallest MTU that carries IPv6, in bytes (RFC 8200).
pub const MIN_MTU_IPV6: u32 = 1280;

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
    is_host_address(address.into()).then_some(address)
}

fn read_ipv6(value: &Value) -> Option<Ipv6Addr> {
    let text = value.as_str()?;
    let address: Ipv6Addr = text.strip_suffix("/128").unwrap_or(text).parse().ok()?;
    is_host_address(address.into()).then_some(address)
}

/// A whole number, which some programs' JSON writes as 1500.0.
fn read_whole(value: &Value) -> Option<u32> {
    match value.as_u64() {
        Some(number) => u32::try_from(number).ok(),
        None => value.as_f64().filter(|number| number.fract() == 0.0).and_then(|number| {
            // By way of text, since a cast would take what is out of range too.
            format!("{number:.0}").parse().ok()
        }),
    }
}

fn read_name(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    is_interface_name(name).then(|| name.to_owned())
}

/// Whether an interface may have `address`: for IPv4 all but this network, loopback, and from 224 on
/// multicast, reserved and broadcast; for IPv6 all but unspecified, loopback, multicast and IPv4's own
/// addresses (`::ffff:a.b.c.d`), which mean IPv4 to every program (RFC 6890).
pub fn is_host_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(address) => {
            !address.is_unspecified()
                && !address.is_loopback()
                && !address.is_multicast()
                && address.to_ipv4_mapped().is_none()
        }
    }
}

/// The MTUs, in bytes, that a tunnel with or without an IPv6 address can have.
pub fn mtu_range(has_ipv6: bool) -> RangeInclusive<u32> {
    (if has_ipv6 { MIN_MTU_IPV6 } else { MIN_MTU })..=MAX_MTU
}

/// What [`is_interface_name`] wants, in words.
pub const INTERFACE_NAME: &str = "an interface name: 1 to 15 characters without '/', ':', '%' or blanks, and \
                                  none of \".\", \"..\", \"all\" and \"default\"";

/// Whether `name` may be an interface's, as it stands: 1 to 15 bytes of visible ASCII without `/` and
/// `:`, which the kernel refuses (`dev_valid_name`), and without `%`, which it would expand. `.`, `..`,
/// `all` and `default` mean something else in `/proc/sys/net`, where each interface has a folder.
pub fn is_interface_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
    (1..=15).contains(&name.len())
        && !matches!(name, "." | ".." | "all" | "default")
        && name.chars().all(plain)
}

impl StartFields {
    /// Reads the arguments of a `start` command; unknown ones are ignored.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn parse(fields: &Map<String, Value>) -> Result<Self, Refusal> {
        let wanted = "an address \"a.b.c.d\" or \"a.b.c.d/32\" that a host can have: none of 0.0.0.0/8, \
                      127.0.0.0/8 and 224.0.0.0/3";
        let ipv4 = match optional(fields, "myIPv4Address", wanted, read_ipv4) {
            Ok(Some(address)) => address,
            Err(refusal) if fields.get("myIPv4Address") != Some(&Value::from("")) => return Err(refusal),
            _ => return Err(Refusal::fixed("No value provided for myIPv4Address")),
        };
        let wanted = "an address like \"fd00::1\" or \"fd00::1/128\" that a host can have";
        let ipv6 = optional(fields, "myIPv6Address", wanted, read_ipv6)?;
        let range = mtu_range(ipv6.is_some());
        let why = if ipv6.is_some() { ", for there is a myIPv6Address" } else { "" };
        let wanted = format!("a whole number from {} to {}{why}", range.start(), range.end());
        let mtu =
            optional(fields, "mtu", &wanted, |value| read_whole(value).filter(|mtu| range.contains(mtu)))?;
        Ok(Self {
            ipv4,
            ipv6,
            mtu,
            name: optional(fields, "name", INTERFACE_NAME, read_name)?,
            data_plane: optional(fields, "dataPlane", "\"udp\", \"unix\", \"stream\" or \"fd\"", |value| {
                DataPlane::from_name(value.as_str()?)
            })?
            .unwrap_or_default(),
            receive_port: optional(fields, "receivePort", "a port from 1 to 65535", |value| {
                u16::try_from(read_whole(value)?).ok().filter(|port| *port != 0)
            })?,
            offload: optional(fields, "offload", "true or false", Value::as_bool)?.unwrap_or(false),
            follow_default_route: optional(fields, "followDefaultRoute", "true or false", Value::as_bool)?
                .unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start(text: &str) -> Result<StartFields, String> {
        let fields = serde_json::from_str(text).expect("an object");
        StartFields::parse(&fields).map_err(|refusal| refusal.text)
    }

    #[test]
    fn start_needs_an_address_a_host_can_have() {
        let missing = "No value provided for myIPv4Address";
        for text in ["{}", r#"{"myIPv4Address":null}"#, r#"{"myIPv4Address":""}"#] {
            assert_eq!(start(text), Err(missing.to_owned()), "{text}");
        }
        for good in ["5.5.5.5", "5.5.5.5/32", "1.0.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255"] {
            let got = start(&format!(r#"{{"myIPv4Address":"{good}"}}"#)).expect(good);
            assert_eq!(got.ipv4.to_string(), good.trim_end_matches("/32"));
            assert_eq!(got.data_plane, DataPlane::Udp);
        }
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.0.9/32",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "5.5.5.5/24",
            "5.5.5",
            "::1",
            " 5.5.5.5",
        ] {
            let error = start(&format!(r#"{{"myIPv4Address":"{bad}"}}"#)).expect_err(bad);
            assert!(error.contains(bad) && error.contains("myIPv4Address"), "{error}");
        }
    }

    #[test]
    fn start_checks_each_addition() {
        let cases = [
            (r#""mtu":67"#, "mtu"),
            (r#""mtu":65508"#, "mtu"),
            (r#""mtu":1500.5"#, "a whole number"),
            (r#""mtu":1e300"#, "mtu"),
            (r#""mtu":-1500.0"#, "mtu"),
            (r#""mtu":4294968796.0"#, "mtu"),
            (r#""mtu":1279,"myIPv6Address":"fd00::1""#, "from 1280 to 65507, for there is a myIPv6Address"),
            (r#""name":"a/b""#, "name"),
            (r#""name":"h%d""#, "name"),
            (r#""name":"sixteen-bytes-xx""#, "name"),
            (r#""name":"..""#, "name"),
            (r#""name":"all""#, "name"),
            (r#""name":"default""#, "name"),
            (r#""dataPlane":"tcp""#, "dataPlane"),
            (r#""receivePort":0"#, "receivePort"),
            (r#""receivePort":65536"#, "receivePort"),
            (r#""receivePort":1.5"#, "receivePort"),
            (r#""myIPv6Address":"::""#, "myIPv6Address"),
            (r#""myIPv6Address":"::ffff:1.2.3.4""#, "myIPv6Address"),
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
    fn a_whole_number_may_be_written_with_a_fraction_of_nothing() {
        let got =
            start(r#"{"myIPv4Address":"5.5.5.5","mtu":1500.0,"receivePort":9e3}"#).expect("whole numbers");
        assert_eq!((got.mtu, got.receive_port), (Some(1500), Some(9000)));
    }

    #[test]
    fn names_that_the_kernel_refuses_or_that_mean_something_else_are_none() {
        for good in ["a", "hypertap0", "tap-1.5_x", "0123456789abcde", "all0", "Default"] {
            assert!(is_interface_name(good), "{good}");
        }
        let bad = ["", ".", "..", "all", "default", "a/b", "a:1", "tap%d", "a b", "a\0", "a\n", "\u{e9}"];
        for bad in bad.into_iter().chain(["0123456789abcdef", "a\u{2003}"]) {
            assert!(!is_interface_name(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn accepted_names_are_names_the_kernel_takes(name: String) {
            if is_interface_name(&name) {
                prop_assert!(name.len() <= 15 && !name.contains(['/', ':', '%']) && !name.contains(char::is_whitespace));
            }
        }
    }
}
