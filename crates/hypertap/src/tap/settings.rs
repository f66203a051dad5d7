//! What a tap server is run with: the command line, checked as a whole while nothing has been done.

mod guest;
mod identity;

use std::ffi::OsString;
use std::os::unix::net::SocketAddr as UnixAddress;

use anyhow::anyhow;
use hypertap_engine::modem::ModemSettings;
use hypertap_platform::peer::starting_user;
use hypertap_platform::user::User;
use hypertap_platform::{TapName, TapSpec};
use hypertap_wire::frames::Framing;
use nix::unistd::{Group, User as Account};

use self::guest::modem;
use self::identity::own_mac_address;
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
    let spec = TapSpec {
        name,
        mac: args.mac_address.unwrap_or_else(|| own_mac_address(args)),
        ipv4: Some(args.ip_address),
        ipv6: args.ip6_address,
        mtu: args.mtu,
        metric: args.metric,
        nud: !args.disable_nud,
        accept_ra: args.enable_router_advertisements,
        offload: !args.no_offload,
    };
    // What would be refused once a client is there is refused now.
    spec.check().map_err(|error| Failure::new(Exit::Usage, error))?;
    Ok(spec)
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
