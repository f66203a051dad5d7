//! What a tap server is run with: the command line, checked as a whole while nothing has been done.

use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::os::unix::net::SocketAddr as UnixAddress;

use anyhow::anyhow;
use hypertap_engine::modem::{Credentials, ModemSettings};
use hypertap_platform::peer::starting_user;
use hypertap_platform::user::User;
use hypertap_platform::{TapName, TapSpec};
use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::frames::Framing;
use ipnet::Ipv4Net;
use nix::unistd::{Group, User as Account};

use crate::cli::tap::{FramingName, Listen, Place, TapArgs};
use crate::exit::{Exit, Failure};
use crate::socket_file::Access;

/// What a tap server is run with.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Settings {
    /// Where clients connect, and how they speak.
    pub listens: Vec<(Place, Protocol)>,
    /// How clients of inherited sockets speak, and a program that is started.
    pub protocol: Protocol,
    /// A program to start as a client; empty for none.
    pub command: Vec<OsString>,
    /// Whether it goes on when the last client has gone.
    pub keep: bool,
    /// How many clients there may be at once.
    pub max_clients: usize,
    /// Who may use the sockets' files.
    pub access: Access,
    /// The interface; nothing where there is to be none.
    pub host: Option<TapSpec>,
    /// Whether the interface's name is printed once it is there.
    pub print_name: bool,
    /// The interface's MTU, or that which it would have.
    pub mtu: u32,
    /// What a modem's guest is given, where clients are modems.
    pub modem: Option<ModemSettings>,
    /// Whether frames are printed.
    pub show_data: bool,
    /// Whether those are that the unframed protocol would get wrong.
    pub show_size_warnings: bool,
    /// Whom rights are dropped to.
    pub user: Option<User>,
}

/// How clients of a socket speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Frames in a stream; nothing where the first frame tells their framing.
    Stream(Option<Framing>),
    /// A datagram a frame.
    Datagram,
    /// PPP in messages.
    Modem,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(None) => f.write_str("auto"),
            Self::Stream(Some(framing)) => framing.fmt(f),
            Self::Datagram => f.write_str("datagram"),
            Self::Modem => f.write_str("modem"),
        }
    }
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, anyhow!(text.into()))
}

impl Settings {
    /// Checks the command line.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with the option's name.
    pub fn new(args: &TapArgs) -> Result<Self, Failure> {
        if args.listen.is_empty() && args.fd.is_empty() && args.command.is_empty() {
            return Err(usage(
                "there is nothing to serve: name a socket with --listen, as in --listen=/tmp/tap",
            ));
        }
        let protocol = protocol(args, args.framing);
        if protocol == Protocol::Datagram && !args.command.is_empty() {
            return Err(usage(
                "--framing datagram: a program that is started has a stream; use another framing",
            ));
        }
        let mut listens = Vec::with_capacity(args.listen.len());
        for Listen { place, framing } in &args.listen {
            let protocol = protocol_of(args, *framing, protocol);
            check_place(place, protocol)?;
            if listens.iter().any(|(other, _)| other == place) {
                return Err(usage(format!("--listen {place}: that is there twice")));
            }
            listens.push((place.clone(), protocol));
        }
        for (option, given) in [
            ("--guest-address", args.guest_address.is_some()),
            ("--dns", !args.dns.is_empty()),
            ("--pap", args.pap.is_some()),
        ] {
            if given && !args.modem {
                return Err(usage(format!("{option} is for a modem's guest, and there is no --modem")));
            }
        }
        for (option, given) in [
            ("--io-device-number", args.io_device_number.is_some()),
            ("--ifconfig-command", args.ifconfig_command.is_some()),
        ] {
            if given {
                tracing::warn!("{option} has no meaning here and is ignored");
            }
        }
        let host = if args.no_host { None } else { Some(spec(args)?) };
        Ok(Self {
            listens,
            protocol,
            command: args.command.clone(),
            keep: args.keep,
            max_clients: args.max_clients.into(),
            access: access(args)?,
            host,
            print_name: args.print_name,
            mtu: args.mtu,
            modem: if args.modem { Some(modem(args)?) } else { None },
            show_data: args.show_data,
            show_size_warnings: args.show_size_warnings,
            user: args.user.as_deref().map(user).transpose()?,
        })
    }
}

/// How clients speak for which a framing is named, or none.
fn protocol(args: &TapArgs, framing: Option<FramingName>) -> Protocol {
    let default = match (args.use_framed_protocol, args.keep) {
        (true, _) => Protocol::Stream(Some(Framing::Le16)),
        (false, true) => Protocol::Stream(None),
        (false, false) => Protocol::Stream(Some(Framing::Unframed)),
    };
    protocol_of(args, framing, default)
}

fn protocol_of(args: &TapArgs, framing: Option<FramingName>, default: Protocol) -> Protocol {
    if args.modem {
        return Protocol::Modem;
    }
    match framing {
        None => default,
        Some(FramingName::Auto) => Protocol::Stream(None),
        Some(FramingName::Le16) => Protocol::Stream(Some(Framing::Le16)),
        Some(FramingName::Unframed) => Protocol::Stream(Some(Framing::Unframed)),
        Some(FramingName::Qemu) => Protocol::Stream(Some(Framing::Be32)),
        Some(FramingName::Datagram) => Protocol::Datagram,
    }
}

fn check_place(place: &Place, protocol: Protocol) -> Result<(), Failure> {
    match place {
        Place::Unix(path) if UnixAddress::from_pathname(path).is_err() => {
            Err(usage(format!("--listen {place}: a socket's path cannot be that long; choose a shorter one")))
        }
        Place::Tcp(_) if protocol == Protocol::Datagram => {
            Err(usage(format!("--listen {place}: datagrams are for a path, not for TCP")))
        }
        Place::Unix(_) | Place::Tcp(_) => Ok(()),
    }
}

/// What the interface is made as.
fn spec(args: &TapArgs) -> Result<TapSpec, Failure> {
    if args.mtu < 1280 {
        for (option, given) in [
            ("--ip6-address", args.ip6_address.is_some()),
            ("--enable-router-advertisements", args.enable_router_advertisements),
        ] {
            if given {
                return Err(usage(format!("--mtu {}: IPv6 needs 1280 or more for {option}", args.mtu)));
            }
        }
    }
    let name = match (&args.name, args.network_device_number) {
        (Some(name), _) => TapName::Exact(name.clone()),
        (None, Some(number)) => TapName::Exact(format!("tap{number}")),
        (None, None) => TapName::Free,
    };
    Ok(TapSpec {
        name,
        mac: args.mac_address.unwrap_or_else(|| own_mac_address(args)),
        ipv4: Some(args.ip_address),
        ipv6: args.ip6_address,
        mtu: args.mtu,
        metric: args.metric,
        nud: !args.disable_nud,
        accept_ra: args.enable_router_advertisements,
        offload: !args.no_offload,
    })
}

/// An address that this server alone has, and has again the next time: made of where it listens and of the
/// machine's own number (machine-id(5)), as servers of several machines may be in one LAN.
fn own_mac_address(args: &TapArgs) -> MacAddress {
    mac_address_of(&own_text(args))
}

/// The same for a modem's guest.
fn guest_mac_address(args: &TapArgs) -> MacAddress {
    let mut text = own_text(args);
    text.extend(b"\0guest");
    mac_address_of(&text)
}

fn own_text(args: &TapArgs) -> Vec<u8> {
    let mut text = fs::read("/etc/machine-id").unwrap_or_default();
    match args.listen.first() {
        Some(listen) => text.extend(listen.place.to_string().bytes()),
        // Whoever passes a socket may do so often.
        None if args.command.is_empty() => text.extend(std::process::id().to_be_bytes()),
        None => text.extend(args.command.iter().flat_map(|word| word.as_encoded_bytes())),
    }
    text
}

/// A locally administered unicast address of a text's hash (FNV-1a, which stays the same for ever).
fn mac_address_of(text: &[u8]) -> MacAddress {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let [_, _, bytes @ ..] = hash.to_be_bytes();
    let mut mac = MacAddress(bytes);
    mac.0[0] = mac.0[0] & 0xfc | 2;
    mac
}

fn access(args: &TapArgs) -> Result<Access, Failure> {
    let owner = match &args.socket_owner {
        // Who is not root owns what he makes.
        None => Some(starting_user()).filter(|_| hypertap_platform::process::is_root()),
        Some(name) => Some(number_or(name, "--socket-owner", "user", |name| {
            Ok(Account::from_name(name)?.map(|user| user.uid.as_raw()))
        })?),
    };
    let group = args.socket_group.as_ref().map(|name| {
        number_or(name, "--socket-group", "group", |name| {
            Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
        })
    });
    Ok(Access { mode: args.socket_mode, owner, group: group.transpose()? })
}

/// The number of a user or group, which may be said as a number.
fn number_or(
    name: &str,
    option: &str,
    what: &str,
    look_up: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, Failure> {
    if let Ok(number) = name.parse::<u32>()
        && number != u32::MAX
    {
        return Ok(number);
    }
    match look_up(name) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(usage(format!("{option} {name}: there is no such {what}"))),
        Err(errno) => Err(usage(format!("{option} {name}: cannot look up the {what}: {}", errno.desc()))),
    }
}

fn user(name: &str) -> Result<User, Failure> {
    let user = User::by_name(name).map_err(|error| usage(format!("--user {name}: {error}")))?;
    if user.uid() == 0 {
        return Err(usage(format!(
            "--user {name}: that is root itself, who keeps every right; name an ordinary user"
        )));
    }
    Ok(user)
}

fn modem(args: &TapArgs) -> Result<ModemSettings, Failure> {
    let (host, prefix) = args.ip_address;
    if args.max_clients > 1 {
        return Err(usage(
            "--max-clients: one modem guest is all that a server has addresses for; start another",
        ));
    }
    if prefix > 30 {
        return Err(usage(format!(
            "--ip-address {host}/{prefix}: a modem's guest needs an address beside it; use /30 or less"
        )));
    }
    let mask = u32::MAX << (32 - prefix);
    let guest = match args.guest_address {
        None => next_host(host, prefix),
        Some(guest) => guest,
    };
    let is_end = guest.to_bits() & !mask == 0 || guest.to_bits() & !mask == !mask;
    if guest == host || guest.to_bits() & mask != host.to_bits() & mask || is_end {
        return Err(usage(format!(
            "--guest-address {guest}: wanted an address of the network of {host}/{prefix}, other than the host's"
        )));
    }
    if args.dns.len() > 2 {
        return Err(usage("--dns: a modem's guest can be told two name servers, no more"));
    }
    // The hasher's keys are random.
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    let credentials = args.pap.as_deref().map(credentials).transpose()?;
    Ok(ModemSettings {
        mac: guest_mac_address(args),
        address: Ipv4Net::new(guest, prefix).map_err(anyhow::Error::from)?,
        host,
        dns: if args.dns.is_empty() { vec![host] } else { args.dns.clone() },
        credentials,
        magic: u32::from_ne_bytes([a, b, c, d]),
    })
}

/// The host address after this one in its network, of at least four addresses; after the last, the first.
fn next_host(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let hosts = u32::MAX >> prefix;
    let (network, host) = (address.to_bits() & !hosts, address.to_bits() & hosts);
    let next = if host + 1 >= hosts { 1 } else { host + 1 };
    Ipv4Addr::from_bits(network | next)
}

/// The longest name or password that PAP carries (RFC 1334, 2.2.1: a length of one byte).
const LONGEST_CREDENTIAL: usize = 255;

/// A name, and the password that is the first line of a file.
fn credentials(text: &str) -> Result<Credentials, Failure> {
    let wanted =
        || usage("--pap: wanted a name and a file that has the password, as in guest:/etc/guest.pap");
    let (name, file) = text.split_once(':').ok_or_else(wanted)?;
    if name.is_empty() || file.is_empty() || name.len() > LONGEST_CREDENTIAL {
        return Err(wanted());
    }
    let mut line = String::new();
    let opened = fs::File::open(file)
        .and_then(|opened| BufReader::new(opened.take(LONGEST_CREDENTIAL as u64 + 3)).read_line(&mut line));
    opened.map_err(|error| usage(format!("--pap: cannot read the password in {file}: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.len() > LONGEST_CREDENTIAL {
        return Err(usage(format!("--pap: the first line of {file} is no password of 1 to 255 bytes")));
    }
    Ok(Credentials { name: name.into(), password: password.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_mac_address_is_the_same_again_and_another_elsewhere() {
        let of = |text: &str| mac_address_of(text.as_bytes());
        assert_eq!(of("/tmp/dolphin-tap"), of("/tmp/dolphin-tap"));
        assert_ne!(of("/tmp/dolphin-tap"), of("/tmp/dolphin-tap2"));
        for text in ["", "/a", "/b", "/tmp/dolphin-tap", "127.0.0.1:5600"] {
            let mac = of(text);
            assert!(mac.is_locally_administered() && !mac.is_multicast(), "{text}: {mac}");
        }
    }

    #[test]
    fn the_guest_has_the_next_address_that_is_a_hosts() {
        for (host, prefix, guest) in [
            ("172.30.0.1", 24, "172.30.0.2"),
            ("172.30.0.254", 24, "172.30.0.1"),
            ("10.0.0.5", 30, "10.0.0.6"),
            ("10.0.0.6", 30, "10.0.0.5"),
            ("10.255.255.254", 8, "10.0.0.1"),
        ] {
            let next = next_host(host.parse().expect("good"), prefix);
            assert_eq!(next.to_string(), guest, "{host}/{prefix}");
        }
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).expect("ours");
            format!("guest:{}", path.display())
        };
        let good = credentials(&file("good", "secret: x\r\nmore\n")).expect("good");
        assert_eq!((&good.name[..], &good.password[..]), (&b"guest"[..], &b"secret: x"[..]));
        for wrong in [file("empty", ""), file("long", &"x".repeat(256)), "guest".to_owned(), ":/x".to_owned()]
        {
            assert_eq!(credentials(&wrong).expect_err("wrong").exit, Exit::Usage, "{wrong}");
        }
    }
}
