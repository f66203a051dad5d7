//! What all names of the zone end with.

use std::fmt;

use hickory_proto::rr::Name;
use hypertap_wire::label::{Label, LabelError};

/// The longest zone in characters, so that there is room for a service and an id before it.
const MAX_SUFFIX: usize = 100;
/// An interface with one of these names has the domain for itself.
const DEFAULT_INTERFACES: [&str; 2] = ["hyprspace", "hypertap"];

/// A zone's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suffix(Name);

/// Why a zone cannot be called so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuffixError {
    /// A part is no label.
    #[error("{part:?} in the zone's name {zone:?} is no name: {error}")]
    BadPart {
        /// The part.
        part: String,
        /// The whole.
        zone: String,
        /// What is wrong.
        error: LabelError,
    },
    /// It is too long.
    #[error("the zone's name {0:?} is longer than {MAX_SUFFIX} characters")]
    TooLong(String),
}

impl Suffix {
    /// The zone of an interface: the domain, or a part of it that is called as the interface when that
    /// has not the default name. The domain may end with a dot.
    ///
    /// # Errors
    /// The domain, or the interface's name where it is needed, is not for DNS.
    pub fn new(interface: &str, domain: &str) -> Result<Self, SuffixError> {
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let zone = if DEFAULT_INTERFACES.contains(&interface) {
            domain.to_owned()
        } else {
            format!("{interface}.{domain}")
        };
        let too_long = || SuffixError::TooLong(zone.clone());
        if zone.len() > MAX_SUFFIX {
            return Err(too_long());
        }
        let mut name = Name::root();
        for part in zone.split('.') {
            let bad = |error| SuffixError::BadPart { part: part.to_owned(), zone: zone.clone(), error };
            let label = Label::new(part).map_err(bad)?;
            name = name.append_label(label.as_str().as_bytes()).map_err(|_| too_long())?;
        }
        Ok(Self(name))
    }

    /// The zone's name.
    pub(super) fn name(&self) -> &Name {
        &self.0
    }

    /// What is before the zone's name in a name that ends with it.
    pub(super) fn labels_before<'n>(&self, name: &'n Name) -> Option<Vec<&'n [u8]>> {
        let count = name.iter().len().checked_sub(self.0.iter().len())?;
        self.0.zone_of(name).then(|| name.iter().take(count).collect())
    }

    /// The name with these labels before the zone's. `None` when it would be too long, or one of them is.
    pub(super) fn below(&self, labels: &[&[u8]]) -> Option<Name> {
        let name = labels.iter().try_fold(Name::new(), |name, label| name.append_label(*label)).ok()?;
        name.append_domain(&self.0).ok()
    }
}

/// With the dot at the end.
impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_interfaces_have_the_domain_and_others_a_part_of_it() {
        for (interface, domain, zone) in [
            ("hyprspace", "hyprspace", "hyprspace."),
            ("hypertap", "hyprspace", "hyprspace."),
            ("hs1", "hyprspace", "hs1.hyprspace."),
            ("hyprspace", "Mesh.Example.", "mesh.example."),
        ] {
            assert_eq!(Suffix::new(interface, domain).expect("a zone").to_string(), zone);
        }
    }

    #[test]
    fn what_is_no_name_in_dns_is_refused() {
        for (interface, domain) in [
            ("hs.1", "a..b"),
            ("hypertap", ""),
            ("hypertap", "."),
            ("hypertap", "a b"),
            ("-x", "a"),
            ("", "a"),
        ] {
            assert!(Suffix::new(interface, domain).is_err(), "{interface:?} {domain:?}");
        }
        let error = Suffix::new("hs0", &"abc.".repeat(30)).expect_err("too long");
        assert!(matches!(error, SuffixError::TooLong(_)), "{error}");
    }
}
