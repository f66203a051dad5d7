//! What the two sides say, and which requests the helper believes.

use std::net::IpAddr;

use hypertap_wire::command::{is_host_address, is_interface_name, mtu_range};
use serde::{Deserialize, Serialize};

use crate::privileged::{Errno, Footprint, MachineError, Offload, RouteChange, TapSpec, TunSpec};

/// The version of this protocol. Daemon and helper are one program, so another version means that
/// the program was replaced between their starts.
pub(super) const PROTOCOL: u32 = 4;
/// How many queues a TUN may have: as many descriptors as a frame carries.
const MAX_QUEUES: u16 = 64;
/// How many routes one change may take; a full table of the internet is a million.
const MAX_ROUTES: usize = 1_000_000;

/// The first frame of each side.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Tells our socket from another's.
    pub(super) hypertap: String,
    /// [`PROTOCOL`].
    pub(super) protocol: u32,
}

impl Hello {
    pub(super) fn ours() -> Self {
        Self { hypertap: "helper".to_owned(), protocol: PROTOCOL }
    }

    /// Reads the other side's; says what is wrong with it otherwise.
    pub(super) fn check(frame: &[u8]) -> Result<(), String> {
        let hello: Self = serde_json::from_slice(frame).map_err(|error| format!("no greeting: {error}"))?;
        if hello.hypertap != "helper" {
            Err("a greeting of something else".to_owned())
        } else if hello.protocol == PROTOCOL {
            Ok(())
        } else {
            Err(format!("it has version {} and this program {PROTOCOL}; restart both", hello.protocol))
        }
    }
}

/// A question, with a number that its answer repeats.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked<J> {
    pub(super) id: u64,
    pub(super) job: J,
}

/// The jobs of [`crate::Privileged`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Job {
    OpenTun(TunSpec),
    CloseTun,
    ChangeRoutes(RouteChange),
    CaptureDns(bool),
    Reassert,
    OpenTap(TapSpec),
    LoadDriver,
    /// The listener rides on the frame.
    ServeBypass {
        mark: u32,
        uid: u32,
    },
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) outcome: Result<Done, MachineError>,
}

/// What a job that happened brings.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Done {
    /// The queues ride on the frame.
    Tun {
        name: String,
        index: u32,
        offload: Offload,
        footprint: Footprint,
    },
    /// The descriptor rides on the frame.
    Tap {
        name: String,
        index: u32,
        offload: Offload,
    },
    /// Whether anything had to be put back.
    Reasserted(bool),
    Nothing,
}

impl Job {
    /// Refuses what no daemon of ours asks, before anything with rights looks at it.
    pub(super) fn validate(&self, peer: u32) -> Result<(), MachineError> {
        match self {
            Self::OpenTun(spec) => validate_tun(spec),
            Self::OpenTap(spec) => spec.check(),
            Self::ChangeRoutes(change)
                if change.add.len().saturating_add(change.remove.len()) > MAX_ROUTES =>
            {
                Err(refused(format!("change more than {MAX_ROUTES} routes at once"), libc::E2BIG))
            }
            // Who owns a socket decides who may connect, so an ordinary user has none made in another's name.
            // A daemon that root started (`--user` too, whose peer is root still) has them made for those that
            // it lets in, and is believed who they are.
            Self::ServeBypass { uid, .. } if peer != 0 && *uid != peer => {
                Err(MachineError::NotPermitted { doing: format!("make sockets in the name of uid {uid}") })
            }
            Self::ServeBypass { mark: 0, .. } => Err(refused("mark sockets with 0".to_owned(), libc::EINVAL)),
            _ => Ok(()),
        }
    }
}

fn validate_tun(spec: &TunSpec) -> Result<(), MachineError> {
    if let Some(name) = &spec.name
        && !is_interface_name(name)
    {
        return Err(MachineError::BadName(name.chars().take(64).collect()));
    }
    if !mtu_range(spec.ipv6.is_some()).contains(&spec.mtu) {
        return Err(refused(format!("set an MTU of {} bytes", spec.mtu), libc::EINVAL));
    }
    if !(1..=MAX_QUEUES).contains(&spec.queues) {
        return Err(refused(format!("make a TUN interface with {} queues", spec.queues), libc::EINVAL));
    }
    let addresses = [Some(IpAddr::from(spec.ipv4)), spec.ipv6.map(IpAddr::from)];
    if let Some(address) = addresses.into_iter().flatten().find(|address| !is_host_address(*address)) {
        return Err(refused(format!("give an interface the address {address}"), libc::EADDRNOTAVAIL));
    }
    Ok(())
}

fn refused(doing: String, errno: i32) -> MachineError {
    MachineError::Kernel { doing, errno: Errno(errno) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn spec() -> TunSpec {
        TunSpec {
            name: Some("hypertap0".to_owned()),
            ipv4: Ipv4Addr::new(10, 0, 0, 1),
            ipv6: None,
            mtu: 1500,
            queues: 1,
            offload: false,
            bypass_mark: 1,
        }
    }

    #[test]
    fn a_job_outside_the_bounds_is_refused() {
        assert_eq!(Job::OpenTun(spec()).validate(1000), Ok(()));
        for name in ["", "..", "all", "default", "a/b", "tap%d", "0123456789abcdef", "a\u{2003}"] {
            let job = Job::OpenTun(TunSpec { name: Some(name.to_owned()), ..spec() });
            assert_eq!(job.validate(0), Err(MachineError::BadName(name.to_owned())), "{name:?}");
        }
        for mtu in [0, 67, 65508, 65536, u32::MAX] {
            assert!(Job::OpenTun(TunSpec { mtu, ..spec() }).validate(0).is_err(), "{mtu}");
        }
        let ipv6 = Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
        for (mtu, is_fine) in [(1279, false), (1280, true), (65507, true)] {
            let job = Job::OpenTun(TunSpec { mtu, ipv6, ..spec() });
            assert_eq!(job.validate(0).is_ok(), is_fine, "{mtu}");
        }
        for queues in [0, 65, u16::MAX] {
            assert!(Job::OpenTun(TunSpec { queues, ..spec() }).validate(0).is_err(), "{queues}");
        }
        for [a, d] in [[0, 0], [0, 1], [127, 1], [224, 1], [240, 1], [255, 255]] {
            let ipv4 = Ipv4Addr::new(a, a, a, d);
            assert!(Job::OpenTun(TunSpec { ipv4, ..spec() }).validate(0).is_err(), "{ipv4}");
        }
        for ipv6 in [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)] {
            let job = Job::OpenTun(TunSpec { ipv6: Some(ipv6), ..spec() });
            assert!(job.validate(0).is_err(), "{ipv6}");
        }
    }

    #[test]
    fn an_ordinary_user_gets_sockets_in_his_own_name_only() {
        let job = |uid| Job::ServeBypass { mark: 1, uid };
        assert_eq!(job(1000).validate(1000), Ok(()));
        assert_eq!(job(1000).validate(0), Ok(()));
        assert!(job(0).validate(1000).is_err());
        assert!(job(1001).validate(1000).is_err());
        assert!(Job::ServeBypass { mark: 0, uid: 0 }.validate(0).is_err());
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(Hello::check(&serde_json::to_vec(&Hello::ours()).expect("it is JSON")), Ok(()));
        let other = Hello::check(br#"{"hypertap":"helper","protocol":7}"#).expect_err("another version");
        assert!(other.contains("version 7"), "{other}");
        assert!(Hello::check(b"[]").is_err());
        assert!(Hello::check(br#"{"hypertap":"x","protocol":1}"#).is_err());
    }
}
