//! Who may use a service.
//!
//! | `enableWhitelist` | who may |
//! |---|---|
//! | false | every configured peer but those on the blacklist; the whitelist says nothing |
//! | true | those on the whitelist that are not on the blacklist |
//!
//! A list that is not there is empty, so nothing at all lets every configured peer in. This node itself
//! always may: it could reach the target anyway.

use std::collections::HashSet;

use hypertap_wire::peer_id::PeerId;

use super::peers::{PeerTable, ReferenceError};

/// What the configuration says of who may use a service. The lists are of peer references.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclSettings {
    /// Whether only those on the whitelist may.
    pub enable_whitelist: bool,
    /// Who may, if that is asked for.
    pub whitelist: Vec<String>,
    /// Who may not, even if he is on the whitelist.
    pub blacklist: Vec<String>,
}

/// Who may use a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    own: Option<PeerId>,
    whitelist: Option<HashSet<PeerId>>,
    blacklist: HashSet<PeerId>,
}

/// A reference in a list that does not name one node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {error}")]
pub struct AclError {
    /// The list that it is in.
    pub key: &'static str,
    /// What is wrong with it.
    pub error: ReferenceError,
}

impl Acl {
    /// Who is meant by the settings.
    ///
    /// # Errors
    /// A reference that names nobody or several, in either list, whether that list says anything or not.
    pub fn resolve(settings: &AclSettings, peers: &PeerTable) -> Result<Self, AclError> {
        let resolved = |key, list: &[String]| -> Result<HashSet<PeerId>, AclError> {
            let resolve = |text: &String| peers.reference(text).map(|peer| *peer.id());
            list.iter().map(resolve).collect::<Result<_, _>>().map_err(|error| AclError { key, error })
        };
        let whitelist = resolved("whitelist", &settings.whitelist)?;
        Ok(Self {
            own: Some(*peers.own().id()),
            whitelist: settings.enable_whitelist.then_some(whitelist),
            blacklist: resolved("blacklist", &settings.blacklist)?,
        })
    }

    /// Whether a configured peer, or this node, may use the service.
    pub fn permits(&self, peer: &PeerId) -> bool {
        self.own.as_ref() == Some(peer)
            || (!self.blacklist.contains(peer)
                && self.whitelist.as_ref().is_none_or(|whitelist| whitelist.contains(peer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::samples::{FIRST, SECOND, id, made_up, table};

    fn acl(enable_whitelist: bool, whitelist: &[&str], blacklist: &[&str]) -> Result<Acl, AclError> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let settings =
            AclSettings { enable_whitelist, whitelist: owned(whitelist), blacklist: owned(blacklist) };
        Acl::resolve(&settings, &table())
    }

    /// Whether this node, the second and the third may.
    fn permitted(acl: &Acl) -> [bool; 3] {
        [id(FIRST), id(SECOND), made_up(&[3])].map(|peer| acl.permits(&peer))
    }

    #[test]
    fn without_lists_everybody_may() {
        assert_eq!(permitted(&Acl::default()), [true; 3]);
        assert_eq!(permitted(&acl(false, &[], &[]).unwrap()), [true; 3]);
    }

    #[test]
    fn the_whitelist_counts_only_when_it_is_enabled() {
        assert_eq!(permitted(&acl(false, &["@bob"], &[]).unwrap()), [true; 3]);
        assert_eq!(permitted(&acl(true, &["@bob"], &[]).unwrap()), [true, true, false]);
        assert_eq!(permitted(&acl(true, &[], &[]).unwrap()), [true, false, false]);
    }

    #[test]
    fn the_blacklist_wins() {
        assert_eq!(permitted(&acl(false, &[], &["@bob"]).unwrap()), [true, false, true]);
        assert_eq!(permitted(&acl(true, &["@bob"], &[SECOND]).unwrap()), [true, false, false]);
    }

    #[test]
    fn this_node_always_may() {
        assert_eq!(permitted(&acl(true, &[], &["@alice"]).unwrap()), [true, false, false]);
    }

    #[test]
    fn a_reference_to_nobody_is_an_error_that_names_key_and_value() {
        for (acl, key) in
            [(acl(false, &["@carol"], &[]), "whitelist"), (acl(true, &[], &["@carol"]), "blacklist")]
        {
            let error = acl.expect_err("no carol").to_string();
            assert!(error.starts_with(&format!("{key}: \"@carol\" names no peer")), "{error}");
        }
        assert!(acl(true, &["12D3"], &[]).expect_err("all begin so").to_string().contains("several"));
    }
}
