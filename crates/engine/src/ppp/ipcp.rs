//! What this end makes of IPv4's options: the guest is told its address and its DNS servers
//! (RFC 1332, RFC 1877). Packets are never compressed.

use std::net::Ipv4Addr;

use hypertap_wire::ppp::control::ConfigureOption;
use hypertap_wire::ppp::ipcp::IpcpOption;

use super::negotiation::{Judgement, Terms};

#[derive(Debug)]
pub(super) struct AddressTerms {
    own: Ipv4Addr,
    guest: Ipv4Addr,
    /// The guest's first and second server.
    dns: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Whether the guest lets this end say its address.
    says_own: bool,
}

impl AddressTerms {
    /// Terms for a guest with this address. A single DNS server is also the second one.
    pub(super) fn new(own: Ipv4Addr, guest: Ipv4Addr, dns: &[Ipv4Addr]) -> Self {
        let first = dns.first();
        let dns = first.map(|first| (*first, *dns.get(1).unwrap_or(first)));
        Self { own, guest, dns, says_own: true }
    }
}

impl Terms for AddressTerms {
    fn restart(&mut self) {
        self.says_own = true;
    }

    fn request(&self) -> Vec<u8> {
        let mut list = Vec::new();
        if self.says_own {
            IpcpOption::Address(self.own).write(&mut list);
        }
        list
    }

    fn judge(&mut self, options: &[ConfigureOption<'_>]) -> Judgement {
        let mut judgement = Judgement::default();
        let mut says_address = false;
        for option in options {
            let asked = IpcpOption::parse(*option);
            let wanted = match (asked, self.dns) {
                (IpcpOption::Address(_), _) => {
                    says_address = true;
                    IpcpOption::Address(self.guest)
                }
                (IpcpOption::PrimaryDns(_), Some((first, _))) => IpcpOption::PrimaryDns(first),
                (IpcpOption::SecondaryDns(_), Some((_, second))) => IpcpOption::SecondaryDns(second),
                _ => {
                    option.write(&mut judgement.rejected);
                    continue;
                }
            };
            if asked != wanted {
                wanted.write(&mut judgement.wanted);
                option.write(&mut judgement.disliked);
            }
        }
        if !says_address {
            IpcpOption::Address(self.guest).write(&mut judgement.wanted);
        }
        judgement
    }

    fn grant(&mut self, _options: &[ConfigureOption<'_>]) {}

    fn on_nak(&mut self, _options: &[ConfigureOption<'_>]) -> bool {
        // The address is the host side's, whatever the guest would rather have.
        true
    }

    fn on_reject(&mut self, options: &[ConfigureOption<'_>]) -> bool {
        if options.iter().any(|option| matches!(IpcpOption::parse(*option), IpcpOption::Address(_))) {
            self.says_own = false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypertap_wire::ppp::control;

    const OWN: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
    const GUEST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
    const DNS: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

    fn written(options: &[IpcpOption]) -> Vec<u8> {
        let mut list = Vec::new();
        for option in options {
            option.write(&mut list);
        }
        list
    }

    fn judged(dns: &[Ipv4Addr], wishes: &[IpcpOption]) -> (Vec<u8>, Vec<u8>) {
        let list = written(wishes);
        let judgement = AddressTerms::new(OWN, GUEST, dns).judge(&control::options(&list).expect("a list"));
        (judgement.rejected, judgement.wanted)
    }

    #[test]
    fn a_guest_is_told_its_address_and_servers() {
        let wishes =
            [IpcpOption::Address(NONE), IpcpOption::PrimaryDns(NONE), IpcpOption::SecondaryDns(NONE)];
        let told = [IpcpOption::Address(GUEST), IpcpOption::PrimaryDns(DNS), IpcpOption::SecondaryDns(OWN)];
        assert_eq!(judged(&[DNS, OWN], &wishes), (vec![], written(&told)));
        assert_eq!(judged(&[DNS, OWN], &told), (vec![], vec![]));
    }

    #[test]
    fn a_single_server_is_both() {
        let wishes = [IpcpOption::Address(GUEST), IpcpOption::SecondaryDns(NONE)];
        assert_eq!(judged(&[DNS], &wishes).1, written(&[IpcpOption::SecondaryDns(DNS)]));
    }

    #[test]
    fn a_guest_that_does_not_ask_for_an_address_is_told_it_all_the_same() {
        assert_eq!(judged(&[], &[]), (vec![], written(&[IpcpOption::Address(GUEST)])));
    }

    #[test]
    fn what_is_not_to_be_had_is_rejected() {
        let compression = control::ConfigureOption { kind: 2, value: &[0, 0x2d, 15, 1] };
        let wishes = [
            IpcpOption::Address(NONE),
            IpcpOption::Other(compression),
            IpcpOption::PrimaryDns(NONE),
            IpcpOption::Other(control::ConfigureOption { kind: 130, value: &[0; 4] }),
        ];
        let rejected = written(&[wishes[1], wishes[2], wishes[3]]);
        assert_eq!(judged(&[], &wishes).0, rejected);
    }
}
