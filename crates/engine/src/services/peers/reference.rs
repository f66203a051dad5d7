//! How a person names a node: `@name`, or the id or what it begins with.

use super::{Both, Peer, PeerTable};
use hypertap_wire::peer_id::PeerId;

/// A text that does not name one node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {problem}")]
pub struct ReferenceError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: ReferenceProblem,
}

/// Why a text does not name one node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceProblem {
    /// There is nobody whom it names.
    #[error("names no peer: expected @NAME, a peer id, or the beginning of one, of a peer in the list")]
    Nobody,
    /// There are several, of which these are two.
    #[error("names several peers, {0} among them: write more of the peer id")]
    Several(Both),
}

impl PeerTable {
    /// The node that a DNS label or a person calls so: by its name in any case, or by its whole id. An id
    /// goes before a name, so that nobody can be called by another's id. It may be this node.
    pub fn find(&self, text: &str) -> Option<&Peer> {
        match text.parse::<PeerId>() {
            Ok(id) => self.by_id(&id),
            Err(_) => self.by_name(text),
        }
    }

    /// The node that a peer reference means: `@NAME`, an id in either form, or what the id of one node
    /// alone begins with. It may be this node.
    ///
    /// # Errors
    /// It means nobody, or several.
    pub fn reference(&self, text: &str) -> Result<&Peer, ReferenceError> {
        let error = |problem| ReferenceError { text: text.to_owned(), problem };
        let nobody = || error(ReferenceProblem::Nobody);
        if let Some(name) = text.strip_prefix('@') {
            return self.by_name(name).ok_or_else(nobody);
        }
        if let Ok(id) = text.parse::<PeerId>() {
            return self.by_id(&id).ok_or_else(nobody);
        }
        if text.is_empty() {
            return Err(nobody());
        }
        let folded = text.to_ascii_lowercase();
        let begins =
            |peer: &&Peer| peer.id.to_string().starts_with(text) || peer.id.to_base36().starts_with(&folded);
        let mut found = self.all.iter().filter(begins);
        let first = found.next().ok_or_else(nobody)?;
        match found.next() {
            None => Ok(first),
            Some(second) => Err(error(ReferenceProblem::Several(Both::of(first, second)))),
        }
    }
}
