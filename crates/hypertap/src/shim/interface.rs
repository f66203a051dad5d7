//! An interface as the program sees it, and what is said of it when the program asks by its name.
//!
//! Where an interface of the machine has the same name, what the program asks is asked of that one: it is
//! the other end of the same wire. What the program sets is remembered only, for to change the machine
//! takes a right; that is no harm, as the server gave its end an address and set it up.

use std::io;
use std::net::Ipv4Addr;

use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::offload::Layer;
use nix::errno::Errno;

use super::request::{self, Ifreq};

const IFF_UP: u16 = 0x1;
const IFF_BROADCAST: u16 = 0x2;
const IFF_POINTOPOINT: u16 = 0x10;
const IFF_RUNNING: u16 = 0x40;
const IFF_NOARP: u16 = 0x80;
const IFF_MULTICAST: u16 = 0x1000;

const ARPHRD_ETHER: u16 = 1;
const ARPHRD_NONE: u16 = 0xfffe;

/// What the kernel allows a TUN or TAP.
const MTU: std::ops::RangeInclusive<i32> = 68..=65_535;

/// An interface of the program's.
#[derive(Clone, Debug)]
pub struct Interface {
    pub name: String,
    pub index: i32,
    pub layer: Layer,
    pub mac: MacAddress,
    pub mtu: i32,
    pub flags: u16,
    pub queue: i32,
    pub addresses: Addresses,
}

/// What the program set; the machine knows nothing of it, but what a tunnel takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub own: Option<Ipv4Addr>,
    pub netmask: Option<Ipv4Addr>,
    pub broadcast: Option<Ipv4Addr>,
    pub peer: Option<Ipv4Addr>,
}

impl Interface {
    /// One that is up, as is the server's end of it.
    pub fn new(name: String, index: i32, layer: Layer, mac: MacAddress, mtu: i32) -> Self {
        let (flags, queue) = match layer {
            Layer::Link => (IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST, 1000),
            Layer::Network => (IFF_UP | IFF_RUNNING | IFF_POINTOPOINT | IFF_NOARP | IFF_MULTICAST, 500),
        };
        Self { name, index, layer, mac, mtu, flags, queue, addresses: Addresses::default() }
    }

    /// Answers a request about it: what is asked is written into `asked`, what is set is kept.
    ///
    /// # Errors
    /// As from the kernel; `EOPNOTSUPP` for what is not done here.
    pub fn answer(&mut self, number: u32, asked: &mut Ifreq) -> io::Result<()> {
        match number {
            request::SIOCGIFINDEX => asked.set_number(self.index),
            request::SIOCGIFFLAGS => asked.set_flags(self.flags),
            request::SIOCGIFMTU => asked.set_number(self.mtu),
            request::SIOCGIFTXQLEN => asked.set_number(self.queue),
            request::SIOCGIFMETRIC => asked.set_number(0),
            request::SIOCGIFHWADDR => match self.layer {
                Layer::Link => asked.set_hardware(ARPHRD_ETHER, self.mac.0),
                Layer::Network => asked.set_hardware(ARPHRD_NONE, [0; 6]),
            },
            request::SIOCGIFADDR
            | request::SIOCGIFNETMASK
            | request::SIOCGIFBRDADDR
            | request::SIOCGIFDSTADDR => {
                asked.set_ipv4((*self.address(number)).ok_or(Errno::EADDRNOTAVAIL)?);
            }
            request::SIOCSIFADDR
            | request::SIOCSIFNETMASK
            | request::SIOCSIFBRDADDR
            | request::SIOCSIFDSTADDR => {
                *self.address(number) = Some(asked.ipv4().ok_or(Errno::EINVAL)?);
                self.note(number);
            }
            request::SIOCSIFFLAGS => {
                self.flags = asked.flags() & !IFF_RUNNING | self.flags & IFF_RUNNING;
                self.note(number);
            }
            request::SIOCSIFMTU => {
                let mtu = asked.number();
                self.mtu = MTU.contains(&mtu).then_some(mtu).ok_or(Errno::EINVAL)?;
                self.note(number);
            }
            request::SIOCSIFTXQLEN => self.queue = asked.number(),
            request::SIOCSIFHWADDR => {
                let mac = MacAddress(asked.hardware());
                if self.layer == Layer::Network {
                    return Err(Errno::EOPNOTSUPP.into());
                }
                if mac.is_multicast() || mac.is_zero() {
                    return Err(Errno::EADDRNOTAVAIL.into());
                }
                self.mac = mac;
            }
            request::SIOCSIFMETRIC
            | request::SIOCSIFHWBROADCAST
            | request::SIOCADDMULTI
            | request::SIOCDELMULTI => {}
            // Everybody asks that, and takes no for an answer.
            request::SIOCETHTOOL => return Err(Errno::EOPNOTSUPP.into()),
            _ => {
                let call = request::name(number);
                tracing::warn!(interface = self.name, "{call} is not supported on an interface of the shim");
                return Err(Errno::EOPNOTSUPP.into());
            }
        }
        Ok(())
    }

    fn address(&mut self, number: u32) -> &mut Option<Ipv4Addr> {
        match number {
            request::SIOCGIFNETMASK | request::SIOCSIFNETMASK => &mut self.addresses.netmask,
            request::SIOCGIFBRDADDR | request::SIOCSIFBRDADDR => &mut self.addresses.broadcast,
            request::SIOCGIFDSTADDR | request::SIOCSIFDSTADDR => &mut self.addresses.peer,
            _ => &mut self.addresses.own,
        }
    }

    /// Says that the machine was not changed. Of a TUN, whose tunnel takes its addresses, that is for
    /// [`super::tunnel`] to say.
    fn note(&self, number: u32) {
        if self.layer == Layer::Link {
            let call = request::name(number);
            tracing::debug!(interface = self.name, "{call} is remembered; the server's end stays as it is");
        }
    }
}

/// Whether a request asks for something, and sets nothing.
pub fn only_asks(number: u32) -> bool {
    matches!(
        number,
        request::SIOCGIFINDEX
            | request::SIOCGIFFLAGS
            | request::SIOCGIFMTU
            | request::SIOCGIFTXQLEN
            | request::SIOCGIFMETRIC
            | request::SIOCGIFADDR
            | request::SIOCGIFNETMASK
            | request::SIOCGIFBRDADDR
            | request::SIOCGIFDSTADDR
            | request::SIOCETHTOOL
            | 0x8970
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tap() -> Interface {
        Interface::new("tap0".to_owned(), 9, Layer::Link, MacAddress([2, 0, 0, 0, 0, 1]), 1500)
    }

    fn ask(interface: &mut Interface, number: u32, asked: &mut Ifreq) -> Result<(), Option<i32>> {
        interface.answer(number, asked).map_err(|error| error.raw_os_error())
    }

    #[test]
    fn what_is_set_is_what_is_asked_afterwards() {
        let mut tap = tap();
        let mut asked = Ifreq([0; Ifreq::LEN]);
        let none = Err(Some(Errno::EADDRNOTAVAIL as i32));
        assert_eq!(ask(&mut tap, request::SIOCGIFADDR, &mut asked), none);
        asked.set_ipv4([10, 0, 0, 1].into());
        assert_eq!(ask(&mut tap, request::SIOCSIFADDR, &mut asked), Ok(()));
        let mut asked = Ifreq([0; Ifreq::LEN]);
        assert_eq!(ask(&mut tap, request::SIOCGIFADDR, &mut asked), Ok(()));
        assert_eq!(asked.ipv4(), Some([10, 0, 0, 1].into()));
        asked.set_hardware(ARPHRD_ETHER, [2, 9, 9, 9, 9, 9]);
        assert_eq!(ask(&mut tap, request::SIOCSIFHWADDR, &mut asked), Ok(()));
        assert_eq!(ask(&mut tap, request::SIOCGIFHWADDR, &mut asked), Ok(()));
        assert_eq!((asked.flags(), asked.hardware()), (ARPHRD_ETHER, [2, 9, 9, 9, 9, 9]));
        asked.set_number(9000);
        assert_eq!(ask(&mut tap, request::SIOCSIFMTU, &mut asked), Ok(()));
        assert_eq!(ask(&mut tap, request::SIOCGIFINDEX, &mut asked), Ok(()));
        assert_eq!((asked.number(), tap.mtu), (9, 9000));
    }

    #[test]
    fn what_cannot_be_is_refused_as_by_the_kernel() {
        let mut tap = tap();
        let mut asked = Ifreq([0; Ifreq::LEN]);
        asked.set_number(67);
        assert_eq!(ask(&mut tap, request::SIOCSIFMTU, &mut asked), Err(Some(Errno::EINVAL as i32)));
        asked.set_hardware(ARPHRD_ETHER, [1; 6]);
        let refused = ask(&mut tap, request::SIOCSIFHWADDR, &mut asked);
        assert_eq!(refused, Err(Some(Errno::EADDRNOTAVAIL as i32)));
        for number in [request::SIOCETHTOOL, 0x8923, 0x8951] {
            assert_eq!(ask(&mut tap, number, &mut asked), Err(Some(Errno::EOPNOTSUPP as i32)));
        }
    }
}
