//! What this end makes of the link's options (RFC 1661 6).

use hypertap_wire::hdlc::Accm;
use hypertap_wire::ppp::control::ConfigureOption;
use hypertap_wire::ppp::lcp::LcpOption;
use hypertap_wire::ppp::{DEFAULT_MRU, Protocol};

use super::negotiation::{Judgement, Terms};

/// The least MRU in bytes that is granted: what IPv4 cannot do with less than (RFC 791).
const MIN_MRU: u16 = 68;

#[derive(Debug)]
pub(super) struct LinkTerms {
    /// Whether the guest has to prove who it is.
    authenticates: bool,
    /// The characters that this end would have escaped, if it says so at all.
    accm: Option<Accm>,
    /// This end's number, if it says so at all.
    magic: Option<u32>,
    /// Where the next number comes from.
    seed: u32,
    /// What the guest was granted.
    pub(super) guest: GuestLink,
}

/// The guest's end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GuestLink {
    /// The longest packet in bytes that it takes.
    pub(super) mru: u16,
    /// The characters that it would have escaped.
    pub(super) accm: Accm,
}

impl GuestLink {
    /// What holds until something else is agreed on.
    pub(super) const DEFAULT: Self = Self { mru: DEFAULT_MRU, accm: Accm::ALL };
}

impl LinkTerms {
    pub(super) fn new(authenticates: bool, seed: u32) -> Self {
        Self { authenticates, accm: None, magic: None, seed, guest: GuestLink::DEFAULT }
    }

    /// This end's number, zero when none was agreed on.
    pub(super) fn magic(&self) -> u32 {
        self.magic.unwrap_or(0)
    }

    /// A number that differs from the last ones.
    fn next_magic(&mut self) -> u32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.seed.max(1)
    }
}

impl Terms for LinkTerms {
    fn restart(&mut self) {
        self.accm = Some(Accm::NONE);
        self.magic = Some(self.next_magic());
        self.guest = GuestLink::DEFAULT;
    }

    fn request(&self) -> Vec<u8> {
        let authentication = self.authenticates.then_some(LcpOption::Authentication(Protocol::PAP));
        let accm = self.accm.map(LcpOption::Accm);
        let magic = self.magic.map(LcpOption::Magic);
        let mut list = Vec::new();
        [accm, authentication, magic].into_iter().flatten().for_each(|option| option.write(&mut list));
        list
    }

    fn judge(&mut self, options: &[ConfigureOption<'_>]) -> Judgement {
        let mut judgement = Judgement::default();
        for option in options {
            let wanted = match LcpOption::parse(*option) {
                LcpOption::Mru(mru) if mru < MIN_MRU => LcpOption::Mru(DEFAULT_MRU),
                // The line leads back to this end, or chance would have it so.
                LcpOption::Magic(magic) if magic == 0 || self.magic == Some(magic) => {
                    LcpOption::Magic(self.next_magic())
                }
                LcpOption::Authentication(_) | LcpOption::Other(_) => {
                    option.write(&mut judgement.rejected);
                    continue;
                }
                _ => continue,
            };
            wanted.write(&mut judgement.wanted);
            option.write(&mut judgement.disliked);
        }
        judgement
    }

    fn grant(&mut self, options: &[ConfigureOption<'_>]) {
        self.guest = GuestLink::DEFAULT;
        for option in options {
            match LcpOption::parse(*option) {
                LcpOption::Mru(mru) => self.guest.mru = mru.min(DEFAULT_MRU),
                LcpOption::Accm(accm) => self.guest.accm = accm,
                _ => {}
            }
        }
    }

    fn on_nak(&mut self, options: &[ConfigureOption<'_>]) -> bool {
        for option in options {
            match LcpOption::parse(*option) {
                LcpOption::Accm(accm) => self.accm = self.accm.map(|own| Accm(own.0 | accm.0)),
                LcpOption::Magic(_) if self.magic.is_some() => self.magic = Some(self.next_magic()),
                LcpOption::Authentication(_) if self.authenticates => return false,
                _ => {}
            }
        }
        true
    }

    fn on_reject(&mut self, options: &[ConfigureOption<'_>]) -> bool {
        for option in options {
            match LcpOption::parse(*option) {
                LcpOption::Accm(_) => self.accm = None,
                LcpOption::Magic(_) => self.magic = None,
                LcpOption::Authentication(_) if self.authenticates => return false,
                _ => {}
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypertap_wire::ppp::control;

    fn judged(terms: &mut LinkTerms, wishes: &[LcpOption]) -> (Vec<u8>, Vec<u8>) {
        let list = written(wishes);
        let judgement = terms.judge(&control::options(&list).expect("a list"));
        (judgement.rejected, judgement.wanted)
    }

    fn written(options: &[LcpOption]) -> Vec<u8> {
        let mut list = Vec::new();
        for option in options {
            option.write(&mut list);
        }
        list
    }

    fn terms() -> LinkTerms {
        let mut terms = LinkTerms::new(true, 7);
        terms.restart();
        terms
    }

    #[test]
    fn what_every_guest_asks_for_is_granted() {
        let wishes = [
            LcpOption::Mru(1500),
            LcpOption::Accm(Accm(0x000a_0000)),
            LcpOption::Magic(1),
            LcpOption::ProtocolCompression,
            LcpOption::AddressCompression,
        ];
        let mut terms = terms();
        assert_eq!(judged(&mut terms, &wishes), (vec![], vec![]));
        let list = written(&wishes);
        terms.grant(&control::options(&list).expect("a list"));
        assert_eq!(terms.guest, GuestLink { mru: 1500, accm: Accm(0x000a_0000) });
    }

    #[test]
    fn a_guest_that_wants_this_end_to_authenticate_is_rejected() {
        let (rejected, _) =
            judged(&mut terms(), &[LcpOption::Mru(1500), LcpOption::Authentication(Protocol::PAP)]);
        assert_eq!(rejected, [3, 4, 0xc0, 0x23]);
    }

    #[test]
    fn an_mru_that_ipv4_cannot_live_with_is_answered_by_one_that_it_can() {
        assert_eq!(judged(&mut terms(), &[LcpOption::Mru(67)]).1, [1, 4, 5, 0xdc]);
        assert!(judged(&mut terms(), &[LcpOption::Mru(68)]).1.is_empty());
    }

    #[test]
    fn this_ends_own_number_is_answered_by_another() {
        let mut terms = terms();
        let own = LcpOption::Magic(terms.magic());
        let (_, wanted) = judged(&mut terms, &[own]);
        assert_eq!(wanted[..2], [5, 6]);
        assert_ne!(wanted, written(&[own]));
    }

    #[test]
    fn a_guest_that_will_not_authenticate_is_not_gone_on_with() {
        let list = written(&[LcpOption::Authentication(Protocol::PAP)]);
        let options = control::options(&list).expect("a list");
        assert!(!terms().on_reject(&options));
        assert!(!terms().on_nak(&options));
        assert!(LinkTerms::new(false, 7).on_reject(&options));
    }

    #[test]
    fn a_rejected_option_is_not_asked_for_again() {
        let mut terms = LinkTerms::new(false, 7);
        terms.restart();
        assert_eq!(terms.request().len(), 12);
        let list = terms.request();
        assert!(terms.on_reject(&control::options(&list).expect("a list")));
        assert!(terms.request().is_empty());
    }
}
