//! The options of IPv4's control protocol (RFC 1332, RFC 1877).

use std::net::Ipv4Addr;

use super::control::ConfigureOption;

/// An option about IPv4 on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpcpOption<'a> {
    /// The sender's address; zero asks for one.
    Address(Ipv4Addr),
    /// The sender's first DNS server; zero asks for one.
    PrimaryDns(Ipv4Addr),
    /// Its second.
    SecondaryDns(Ipv4Addr),
    /// Another one (header compression, servers of another naming), or one of a wrong length.
    Other(ConfigureOption<'a>),
}

impl<'a> IpcpOption<'a> {
    /// What an option says.
    pub fn parse(option: ConfigureOption<'a>) -> Self {
        let address = || <[u8; 4]>::try_from(option.value).map(Ipv4Addr::from);
        match (option.kind, address()) {
            (3, Ok(address)) => Self::Address(address),
            (129, Ok(address)) => Self::PrimaryDns(address),
            (131, Ok(address)) => Self::SecondaryDns(address),
            _ => Self::Other(option),
        }
    }

    /// Appends the option.
    pub fn write(self, list: &mut Vec<u8>) {
        let mut write = |kind, value: &[u8]| ConfigureOption { kind, value }.write(list);
        match self {
            Self::Address(address) => write(3, &address.octets()),
            Self::PrimaryDns(address) => write(129, &address.octets()),
            Self::SecondaryDns(address) => write(131, &address.octets()),
            Self::Other(option) => write(option.kind, option.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ppp::control::options;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_option_is_written_as_it_was_read(kind: u8, value in prop::collection::vec(any::<u8>(), 0..6)) {
            let option = ConfigureOption { kind, value: &value };
            let mut list = Vec::new();
            IpcpOption::parse(option).write(&mut list);
            prop_assert_eq!(options(&list), Some(vec![option]));
        }
    }

    #[test]
    fn options_have_the_numbers_of_the_rfcs() {
        let address = Ipv4Addr::new(192, 168, 0, 5);
        let cases = [
            (3, IpcpOption::Address(address)),
            (129, IpcpOption::PrimaryDns(address)),
            (131, IpcpOption::SecondaryDns(address)),
        ];
        for (kind, meaning) in cases {
            assert_eq!(IpcpOption::parse(ConfigureOption { kind, value: &[192, 168, 0, 5] }), meaning);
        }
    }
}
