//! Who a node is: the libp2p peer id, and the key that it comes from.
//!
//! A peer id is a multihash of a public key in protobuf (libp2p specs, "Peer Ids and Keys"): the key
//! itself under the identity hash (code 0) when it is at most 42 bytes long, as Ed25519 keys are, or
//! its SHA-256 (code 0x12), as the public bootstrap nodes have. It is written as base58btc
//! (`12D3Koo…`, `Qm…`), or as a version 1 CID in base36 (`k51…`), which survives DNS's folding of
//! case. Formats are checked here, not keys: that one is a point of the curve is for the handshake.

mod private_key;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::multibase::{BASE36, BASE58};
pub use private_key::{PrivateKey, PrivateKeyError};

/// The longest key that stands in an id as it is, in bytes of protobuf.
const MAX_INLINE_KEY: usize = 42;
/// The longest multihash in bytes.
const MAX_MULTIHASH: usize = 2 + MAX_INLINE_KEY;
/// The identity hash's code.
const IDENTITY: u8 = 0x00;
/// SHA-256's code and length.
const SHA2_256: [u8; 2] = [0x12, 32];
/// What is before an Ed25519 key: the hash's code and length, and protobuf's two field tags, type, length.
const ED25519_PREFIX: [u8; 6] = [IDENTITY, 36, 0x08, 1, 0x12, 32];
/// What is before the multihash in a CID: version 1, a libp2p key.
const CID_PREFIX: [u8; 2] = [0x01, 0x72];
/// base36's letter in multibase.
const MULTIBASE_BASE36: char = 'k';

/// Why something is no peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerIdError {
    /// It begins as no peer id does.
    #[error("it begins neither as 12D3Koo… or Qm… nor as k51…, which are the forms of a peer id")]
    UnknownForm,
    /// It has a character that its form has not, or is far too long.
    #[error("it has a character that is no digit of its base, or is too long")]
    BadDigits,
    /// The CID is not a libp2p key's.
    #[error("it is a CID, but not of a libp2p key")]
    NotAKey,
    /// The bytes are not a multihash of a public key.
    #[error("its bytes are not the multihash of a public key: is it complete?")]
    BadMultihash,
}

/// A node's name in the network of libp2p. Ordered as its bytes are, which both ends see alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    bytes: [u8; MAX_MULTIHASH],
    len: u8,
}

impl PeerId {
    /// The peer whose Ed25519 public key this is.
    pub fn from_ed25519(public: &[u8; 32]) -> Self {
        let mut bytes = [0; MAX_MULTIHASH];
        let (prefix, rest) = bytes.split_at_mut(ED25519_PREFIX.len());
        prefix.copy_from_slice(&ED25519_PREFIX);
        rest[..32].copy_from_slice(public);
        Self { bytes, len: 38 }
    }

    /// Reads an id's bytes.
    ///
    /// # Errors
    /// [`PeerIdError::BadMultihash`] when they are not the multihash of a public key.
    pub fn from_multihash(multihash: &[u8]) -> Result<Self, PeerIdError> {
        let is_hash = multihash.len() == 34 && multihash.starts_with(&SHA2_256);
        let mut bytes = [0; MAX_MULTIHASH];
        let room = bytes.get_mut(..multihash.len()).ok_or(PeerIdError::BadMultihash)?;
        room.copy_from_slice(multihash);
        match u8::try_from(multihash.len()) {
            Ok(len) if is_hash || is_inline_key(multihash) => Ok(Self { bytes, len }),
            _ => Err(PeerIdError::BadMultihash),
        }
    }

    /// The multihash.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }

    /// The Ed25519 public key, when the id holds one.
    pub fn ed25519(&self) -> Option<&[u8; 32]> {
        self.as_bytes().strip_prefix(&ED25519_PREFIX)?.first_chunk()
    }

    /// The form for a DNS label: the CID in base36, 62 characters of an Ed25519 id (`k51…`).
    pub fn to_base36(&self) -> String {
        let cid = [&CID_PREFIX, self.as_bytes()].concat();
        format!("{MULTIBASE_BASE36}{}", BASE36.encode(&cid))
    }
}

/// Whether a multihash is a public key as it is: a type that libp2p knows, and the key's bytes.
fn is_inline_key(multihash: &[u8]) -> bool {
    let [IDENTITY, whole, 0x08, 0..=3, 0x12, len, key @ ..] = multihash else { return false };
    usize::from(*whole) == key.len() + 4 && usize::from(*len) == key.len() && !key.is_empty()
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BASE58.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        match text.chars().next() {
            Some('1' | 'Q') => Self::from_multihash(&BASE58.decode(text).ok_or(PeerIdError::BadDigits)?),
            Some(letter) if letter.eq_ignore_ascii_case(&MULTIBASE_BASE36) => {
                let cid = BASE36.decode(&text[1..]).ok_or(PeerIdError::BadDigits)?;
                Self::from_multihash(cid.strip_prefix(&CID_PREFIX).ok_or(PeerIdError::NotAKey)?)
            }
            _ => Err(PeerIdError::UnknownForm),
        }
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
