//! Which framing a stream has, from its first frame.
//!
//! Each framing is a way to read the beginning, and each reading makes a claim that can be checked:
//!
//! - *with a length*: the length is one that a frame can have (14 to the longest), and the frame after
//!   it is of a type; where the type tells the frame's size, it is no more than the length. It is
//!   *borne out* if that size is the length, or the length is the least one that stations pad to.
//!   Only one of the two framings comes into question: 32 big-endian bits begin with `00 00` for all
//!   frames under 64 KiB, a non-zero length in 16 little-endian bits never does. (A stream whose first
//!   frame has 64 KiB or more is not recognised.)
//! - *unframed*: the type is one whose size can be told, and the frame is not too long. It is borne
//!   out if what follows the type is what that protocol begins with.
//!
//! A reading is then false, open (it takes more bytes to say), possible, or borne out, and the rule is:
//!
//! | with a length | unframed | the stream is |
//! |---|---|---|
//! | borne out | | framed |
//! | possible | false or possible | framed |
//! | possible | borne out | unframed |
//! | false | possible or borne out | unframed |
//! | false | false | not to be read |
//!
//! While either is open there is no answer, with two exceptions for those who send a frame and then wait
//! for a reply: when all of a frame is there that is borne out as an unframed one, it is unframed,
//! and when all of a frame (and at least [`MIN_FRAME`] bytes) is there that possibly has a length,
//! it has. So a length that comes alone decides nothing, nor does half of one. The answer is the
//! first that any beginning of the stream gives: how the stream was cut makes no difference.
//!
//! Why it takes more than the types: the type of an unframed frame lies where a framed one has bytes of
//! its sender's address, which may be anything (02:00:00:00:00:2a reads as an 802.3 frame of 42 bytes), and
//! destinations such as 12:00:… or 00:00:01:… read as lengths. A wrong answer takes a destination that
//! reads as a possible length, and besides that either a payload that does not look like its protocol's,
//! or a length that happens to be right for what then is read as the frame.

use super::Framing;
use crate::ethernet::sizing::{FrameSizer, SizeError, Sizing};
use crate::ethernet::{EtherType, HEADER, MIN_FRAME, ethertype, header_len};

/// What the beginning of a stream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// The framing.
    Framing(Framing),
    /// Nothing before there are so many bytes, which is more than were given.
    NeedMore(usize),
    /// That it is none of them.
    None {
        /// The type of the first frame, if the stream were unframed.
        unframed_type: EtherType,
    },
}

/// Finds out a stream's framing while its beginning comes. Each reading goes on where it was, so that what it
/// takes is a matter of how long the beginning is, and not of how it was cut.
#[derive(Debug)]
pub struct Recogniser {
    max_frame: usize,
    /// How many bytes there must be before it is worth to look again.
    needed: usize,
    framed: Progress,
    unframed: Progress,
}

/// How far a reading has come. One that is not open any more stays what it is.
#[derive(Debug)]
struct Progress {
    reading: Reading,
    sizer: FrameSizer,
}

impl Recogniser {
    /// For a stream whose frames have at most `max_frame` bytes.
    pub fn new(max_frame: usize) -> Self {
        let progress = || Progress { reading: Reading::Open(LEAST), sizer: FrameSizer::default() };
        Self { max_frame, needed: LEAST, framed: progress(), unframed: progress() }
    }

    /// Which framing the stream has that begins with `bytes`: those of the call before, if there was one, and more.
    pub fn handle(&mut self, bytes: &[u8]) -> Recognition {
        while let Some(beginning) = bytes.get(..self.needed) {
            match self.judge(beginning) {
                Recognition::NeedMore(more) => self.needed = more,
                recognition => return recognition,
            }
        }
        Recognition::NeedMore(self.needed)
    }
}

/// How many bytes show at least something.
const LEAST: usize = 2;

/// What one way to read the beginning comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    False,
    /// So many bytes are needed.
    Open(usize),
    /// The frame ends after so many bytes.
    Possible(usize),
    /// The same, and its content is as it says.
    BorneOut(usize),
}

impl Progress {
    /// Reads on, if there is anything to go on with.
    fn read(&mut self, len: usize, read: impl FnOnce(&mut FrameSizer) -> Reading) -> Reading {
        if matches!(self.reading, Reading::Open(more) if more <= len) {
            self.reading = read(&mut self.sizer);
        }
        self.reading
    }
}

impl Recogniser {
    fn judge(&mut self, bytes: &[u8]) -> Recognition {
        use Reading::{BorneOut, False, Open, Possible};

        let framing = if bytes.starts_with(&[0, 0]) { Framing::Be32 } else { Framing::Le16 };
        let framed = Recognition::Framing(framing);
        let unframed = Recognition::Framing(Framing::Unframed);
        let max = self.max_frame;
        let readings = (
            self.framed.read(bytes.len(), |sizer| read_framed(framing, bytes, max, sizer)),
            self.unframed.read(bytes.len(), |sizer| read_unframed(bytes, max, sizer)),
        );
        match readings {
            (BorneOut(_), _) | (Possible(_), False | Possible(_)) => framed,
            (Possible(_), BorneOut(_)) | (False, Possible(_) | BorneOut(_)) => unframed,
            (False, False) => {
                // A header that is all tags has no type of its own.
                Recognition::None { unframed_type: ethertype(bytes).unwrap_or(EtherType::VLAN) }
            }
            (Possible(end), Open(more)) => {
                let end = end.max(framing.header_len() + MIN_FRAME);
                if bytes.len() >= end { framed } else { Recognition::NeedMore(more.min(end)) }
            }
            (Open(more), BorneOut(end)) => {
                if bytes.len() >= end {
                    unframed
                } else {
                    Recognition::NeedMore(more.min(end))
                }
            }
            (Open(more), False | Possible(_)) | (False, Open(more)) => Recognition::NeedMore(more),
            (Open(more), Open(other)) => Recognition::NeedMore(more.min(other)),
        }
    }
}

fn read_framed(framing: Framing, bytes: &[u8], max_frame: usize, sizer: &mut FrameSizer) -> Reading {
    let header = framing.header_len();
    let Some(len) = framing.announced(bytes) else { return Reading::Open(header) };
    if !(HEADER..=max_frame).contains(&len) {
        return Reading::False;
    }
    let frame = bytes.get(header..).unwrap_or_default();
    let frame = frame.get(..len).unwrap_or(frame);
    let end = header + len;
    match sizer.size(frame) {
        Sizing::NeedMore(more) if more <= len => Reading::Open(header + more),
        Sizing::Unknown(SizeError::UnknownType(ethertype)) if ethertype.is_protocol() => {
            Reading::Possible(end)
        }
        Sizing::NeedMore(_) | Sizing::Unknown(_) => Reading::False,
        // Its size is a convention of the unframed protocol's.
        Sizing::Len(_) if ethertype(frame) == Some(EtherType::LOOPBACK) => Reading::Possible(end),
        Sizing::Len(size) if size > len => Reading::False,
        Sizing::Len(size) => match content(frame) {
            Content::Open(more) => Reading::Open(header + more),
            Content::Convincing if size == len || is_padded_to(frame, len) => Reading::BorneOut(end),
            Content::Convincing | Content::Any => Reading::Possible(end),
        },
    }
}

fn read_unframed(bytes: &[u8], max_frame: usize, sizer: &mut FrameSizer) -> Reading {
    match sizer.size(bytes) {
        Sizing::NeedMore(more) if more <= max_frame => Reading::Open(more),
        Sizing::Len(len) if len <= max_frame => match content(bytes) {
            Content::Open(more) => Reading::Open(more),
            Content::Convincing => Reading::BorneOut(len),
            Content::Any => Reading::Possible(len),
        },
        Sizing::NeedMore(_) | Sizing::Len(_) | Sizing::Unknown(_) => Reading::False,
    }
}

/// Whether a frame of `len` bytes has the least length, of before its tags or with them.
fn is_padded_to(frame: &[u8], len: usize) -> bool {
    let tags = header_len(frame).map_or(0, |header| header - HEADER);
    len == MIN_FRAME || len == MIN_FRAME + tags
}

/// How much the payload of a frame that tells its size looks like its type.
enum Content {
    /// So many bytes of the frame are needed.
    Open(usize),
    Any,
    Convincing,
}

/// What IP, `PPPoE` and MPLS begin with is checked where they are sized.
fn content(frame: &[u8]) -> Content {
    let (Some(ethertype), Some(header)) = (ethertype(frame), header_len(frame)) else { return Content::Any };
    let payload = frame.get(header..).unwrap_or_default();
    let is_convincing = match ethertype {
        EtherType::IPV4
        | EtherType::IPV6
        | EtherType::PPPOE_DISCOVERY
        | EtherType::PPPOE_SESSION
        | EtherType::MPLS
        | EtherType::MPLS_UPSTREAM => true,
        EtherType::ARP | EtherType::RARP | EtherType::AARP => payload.get(4..6) == Some(&[6, 4]),
        EtherType::IPX => payload.starts_with(&[0xff, 0xff]),
        EtherType::EAPOL => matches!(payload, [1..=3, 0..=8, ..]),
        EtherType::LLDP => matches!(payload, [0x02, ..]),
        EtherType::APPLETALK | EtherType::LOOPBACK => false,
        _ => match payload {
            // Spanning tree, SNAP, IPX, NetBIOS, ISO, raw IPX: from and to the same access point.
            [0x42 | 0xaa | 0xe0 | 0xf0 | 0xfe | 0xff, source, ..] => payload.first() == Some(source),
            [_, _, ..] => false,
            _ => return Content::Open(header + 2),
        },
    };
    if is_convincing { Content::Convincing } else { Content::Any }
}

#[cfg(test)]
mod tests;
