//! `struct hypertap_tap_options`.

use std::ffi::{c_char, c_int, c_uint};
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use hypertap_client::tap::{DEFAULT_MTU, Framing, MacAddress};
use hypertap_client::{Address, TapServer, TapSpec};

use crate::error::Failure;
use crate::text::read_if_any;

/// The structure as C has it. Later versions only add at its end.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Options {
    size: usize,
    mtu: c_uint,
    timeout_ms: c_int,
    framing: c_int,
    program: *const c_char,
    name: *const c_char,
    mac: *const c_char,
    ipv4: *const c_char,
    ipv6: *const c_char,
}

/// What they mean.
#[derive(Debug)]
pub(crate) struct Wishes {
    mtu: u32,
    timeout: Option<Duration>,
    framing: Framing,
    spec: TapSpec,
}

/// Reads the options; null are those that nobody changed.
///
/// # Safety
/// They have the size that they say, and their strings end.
pub(crate) unsafe fn read(options: *const Options) -> Result<Wishes, Failure> {
    let nothing = std::ptr::null();
    let mut known = Options {
        size: size_of::<Options>(),
        mtu: 0,
        timeout_ms: 0,
        framing: 0,
        program: nothing,
        name: nothing,
        mac: nothing,
        ipv4: nothing,
        ipv6: nothing,
    };
    if !options.is_null() {
        // SAFETY: the size is their first member; the caller promises that they have it.
        let size = unsafe { options.cast::<usize>().read() };
        if size < offset_of!(Options, program) {
            return Err(Failure::argument(
                "the options' size is not set: set it to sizeof(struct hypertap_tap_options)",
            ));
        }
        // SAFETY: both have at least that many bytes, and every pattern of bits is a number or pointer.
        unsafe {
            std::ptr::copy_nonoverlapping(
                options.cast::<u8>(),
                (&raw mut known).cast::<u8>(),
                size.min(size_of::<Options>()),
            );
        }
    }
    // SAFETY: the caller promises strings that end.
    let texts = unsafe {
        [
            read_if_any("program", known.program)?,
            read_if_any("name", known.name)?,
            read_if_any("mac", known.mac)?,
            read_if_any("ipv4", known.ipv4)?,
            read_if_any("ipv6", known.ipv6)?,
        ]
    };
    Wishes::new(&known, texts)
}

impl Wishes {
    fn new(known: &Options, texts: [Option<&str>; 5]) -> Result<Self, Failure> {
        let [program, name, mac, ipv4, ipv6] = texts;
        let mtu = if known.mtu == 0 { DEFAULT_MTU } else { known.mtu };
        let framing = match known.framing {
            0 => Framing::Le16,
            1 => Framing::Be32,
            2 => Framing::Unframed,
            other => return Err(Failure::argument(format!("there is no framing {other}"))),
        };
        let timeout = match u64::try_from(known.timeout_ms) {
            Ok(0) => None,
            Ok(time) => Some(Duration::from_millis(time)),
            Err(_) => return Err(Failure::argument("timeout_ms is negative")),
        };
        let mut spec = TapSpec { mtu, name: name.map(str::to_owned), ..TapSpec::default() };
        if let Some(program) = program {
            spec.program = program.into();
        }
        if let Some(timeout) = timeout {
            spec.timeout = timeout;
        }
        spec.mac = mac
            .map(|mac| {
                mac.parse::<MacAddress>().map_err(|error| Failure::argument(format!("mac {mac:?}: {error}")))
            })
            .transpose()?;
        spec.ipv4 = ipv4.map(|text| network::<Ipv4Addr>("ipv4", text, "10.0.0.1/24")).transpose()?;
        spec.ipv6 = ipv6.map(|text| network::<Ipv6Addr>("ipv6", text, "fd00::1/64")).transpose()?;
        Ok(Self { mtu, timeout, framing, spec })
    }

    /// The server that is meant.
    pub(crate) fn server(&self, place: &str) -> Result<TapServer, Failure> {
        let address = place.parse::<Address>().map_err(|error| Failure::argument(error.to_string()))?;
        let mut server = TapServer { framing: self.framing, mtu: self.mtu, ..TapServer::new(address) };
        if let Some(timeout) = self.timeout {
            server.timeout = timeout;
        }
        Ok(server)
    }

    /// The interface that is wished for.
    pub(crate) fn spec(&self) -> &TapSpec {
        &self.spec
    }
}

/// An address and the length of its network's prefix. Whether an interface can have them, the program says.
fn network<A: FromStr>(what: &str, text: &str, example: &str) -> Result<(A, u8), Failure> {
    let parts = text.split_once('/').and_then(|(ip, prefix)| Some((ip.parse().ok()?, prefix.parse().ok()?)));
    parts.ok_or_else(|| {
        Failure::argument(format!("{what} {text:?} is no address with a prefix, as {example}"))
    })
}
