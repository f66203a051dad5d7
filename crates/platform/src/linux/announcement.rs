//! What the kernel says about links and routes: rtnetlink(7) messages, by their headers and by the
//! few attributes that matter. `None` for what is too short to be one, as for what is of no interest.

use netlink_packet_core::NLA_TYPE_MASK;

const UP: u32 = libc::IFF_UP.cast_unsigned();
/// `FRA_PRIORITY` (linux/fib_rules.h).
const RULE_PRIORITY: u16 = 6;
const MAIN: u32 = libc::RT_TABLE_MAIN as u32;
/// `RTNH_F_DEAD`: the device of this route is down. One that merely has no carrier
/// (`RTNH_F_LINKDOWN`) is still where the kernel sends.
const DEAD: u32 = 1;

/// What matters of an `RTM_NEWLINK` or `RTM_DELLINK`.
pub(super) struct LinkMessage {
    pub(super) index: u32,
    /// Whether it is set up, carrier or not.
    pub(super) up: bool,
    pub(super) name: String,
}

impl LinkMessage {
    /// `None` for what is no link's own message: a bridge announces with its own family that a link
    /// left it, which deletes nothing.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (header, attributes) = payload.split_first_chunk::<16>()?;
        if header[0] != 0 {
            return None;
        }
        let name = attribute(attributes, libc::IFLA_IFNAME).unwrap_or_default();
        let name = name.strip_suffix(&[0]).unwrap_or(name);
        Some(Self {
            index: number(header, 4)?,
            up: number(header, 8)? & UP != 0,
            name: String::from_utf8_lossy(name).into_owned(),
        })
    }
}

/// What matters of an `RTM_NEWROUTE` or `RTM_DELROUTE`.
pub(super) struct Route {
    prefix: u8,
    kind: u8,
    pub(super) table: u32,
    /// The lowest is preferred.
    pub(super) metric: u32,
    /// Its device, or its first next hop's, unless that is down.
    pub(super) device: Option<u32>,
}

impl Route {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (header, attributes) = payload.split_first_chunk::<12>()?;
        let value = |kind| attribute(attributes, kind).and_then(|value| number(value, 0));
        let usable = number(header, 8)? & DEAD == 0;
        Some(Self {
            prefix: header[1],
            kind: header[7],
            table: value(libc::RTA_TABLE).unwrap_or(u32::from(header[4])),
            metric: value(libc::RTA_PRIORITY).unwrap_or(0),
            device: if usable {
                value(libc::RTA_OIF)
                    .or_else(|| attribute(attributes, libc::RTA_MULTIPATH).and_then(first_hop))
            } else {
                None
            },
        })
    }

    /// Whether it is a way out for everything, in the main table.
    pub(super) fn is_default(&self) -> bool {
        self.prefix == 0 && self.table == MAIN && self.kind == libc::RTN_UNICAST
    }

    /// Whether it sends packets to a device other than this.
    pub(super) fn leads_elsewhere(&self, index: u32) -> bool {
        self.kind == libc::RTN_UNICAST && self.device.is_some_and(|device| device != index)
    }
}

/// The priority of an `RTM_DELRULE`.
pub(super) fn rule_priority(payload: &[u8]) -> Option<u32> {
    let (_, attributes) = payload.split_first_chunk::<12>()?;
    Some(attribute(attributes, RULE_PRIORITY).and_then(|value| number(value, 0)).unwrap_or(0))
}

/// The index of the link of an `RTM_DELADDR`.
pub(super) fn address_link(payload: &[u8]) -> Option<u32> {
    number(payload, 4)
}

/// The device of the first usable next hop: a list of `struct rtnexthop`, each with attributes.
fn first_hop(mut hops: &[u8]) -> Option<u32> {
    loop {
        let header = hops.first_chunk::<8>()?;
        if u32::from(header[2]) & DEAD == 0 {
            return number(header, 4);
        }
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]])).next_multiple_of(4);
        hops = hops.get(length.max(8)..)?;
    }
}

/// The value of the first attribute of a kind in a row of them (netlink(7)).
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let header = attributes.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        if u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK == kind {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// The number at an offset, in the machine's byte order.
pub(super) fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_or_lies_about_its_length_is_read_as_far_as_it_goes() {
        let hops = [&[8, 0, 1, 0, 3, 0, 0, 0][..], &[8, 0, 0, 0, 4, 0, 0, 0]].concat();
        let multipath = [&[20, 0, 9, 0][..], &hops].concat();
        let header = [2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        let whole = [&header[..], &multipath].concat();
        let route = Route::parse(&whole).expect("a route");
        assert!(route.is_default());
        assert_eq!(route.device, Some(4), "the first hop is dead");
        for length in 0..whole.len() {
            let cut = Route::parse(&whole[..length]);
            assert_eq!(cut.is_some(), length >= 12);
            assert_eq!(cut.and_then(|route| route.device), None, "{length}");
        }
        // Lengths of zero neither loop nor reach outside.
        assert_eq!(attribute(&[0; 64], 9), None);
        assert_eq!(attribute(&[0xff; 64], 9), None);
        assert_eq!(first_hop(&[0, 0, 1, 0, 3, 0, 0, 0, 0]), None);
    }
}
