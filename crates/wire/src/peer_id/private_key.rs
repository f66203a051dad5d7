//! A node's private key, as configurations hold it.

use std::fmt;
use std::str::FromStr;

use super::PeerId;
use crate::multibase::BASE58;

/// What is before a key in protobuf: the type Ed25519, and the tag of the bytes, whose length follows.
const PREFIX: [u8; 3] = [0x08, 1, 0x12];
/// The length in bytes of the protobuf that is written.
const PROTOBUF: usize = 68;
/// base58btc's letter in multibase.
const MULTIBASE_BASE58: char = 'z';

/// Why something is no private key. Never with a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// It is not multibase in base58btc.
    #[error("it does not begin with z, as a key in multibase base58btc does")]
    NotBase58,
    /// It has a character that is no digit of base58btc, or is far too long.
    #[error("it has a character that is no digit of base58btc, or is too long")]
    BadDigits,
    /// It is a libp2p key of another type.
    #[error("it is no Ed25519 key")]
    NotEd25519,
    /// It is cut off, too long, or its two copies of the public key differ.
    #[error("it is not a libp2p private key in protobuf: is it complete?")]
    Malformed,
}

/// An Ed25519 private key: the seed, and the public key that comes with it. That the two belong together
/// is not checked here. Neither `Debug` nor an error shows the seed.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    seed: [u8; 32],
    public: [u8; 32],
}

impl PrivateKey {
    /// A key of its two halves.
    pub fn new(seed: [u8; 32], public: [u8; 32]) -> Self {
        Self { seed, public }
    }

    /// Reads libp2p's protobuf: 64 bytes of seed and public key, or 96 as early programs wrote them,
    /// with the public key twice (libp2p specs, "Peer Ids and Keys").
    ///
    /// # Errors
    /// What it is instead.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, PrivateKeyError> {
        let Some(rest) = bytes.strip_prefix(&PREFIX) else {
            let is_another_type = matches!(bytes, [0x08, 0..=3, 0x12, ..]);
            return Err(if is_another_type {
                PrivateKeyError::NotEd25519
            } else {
                PrivateKeyError::Malformed
            });
        };
        let (len, key) = rest.split_first().ok_or(PrivateKeyError::Malformed)?;
        let (parts, []) = key.as_chunks::<32>() else { return Err(PrivateKeyError::Malformed) };
        match parts {
            [seed, public] if *len == 64 => Ok(Self::new(*seed, *public)),
            [seed, public, again] if *len == 96 && public == again => Ok(Self::new(*seed, *public)),
            _ => Err(PrivateKeyError::Malformed),
        }
    }

    /// libp2p's protobuf.
    pub fn to_protobuf(&self) -> [u8; PROTOBUF] {
        let mut bytes = [0; PROTOBUF];
        let (head, keys) = bytes.split_at_mut(PREFIX.len() + 1);
        head[..PREFIX.len()].copy_from_slice(&PREFIX);
        head[PREFIX.len()] = 64;
        keys[..32].copy_from_slice(&self.seed);
        keys[32..].copy_from_slice(&self.public);
        bytes
    }

    /// The text for a configuration: multibase, base58btc of the protobuf. A secret.
    pub fn to_multibase(&self) -> String {
        format!("{MULTIBASE_BASE58}{}", BASE58.encode(&self.to_protobuf()))
    }

    /// The seed (RFC 8032's private key). A secret.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Whose key it is.
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_ed25519(&self.public)
    }
}

impl FromStr for PrivateKey {
    type Err = PrivateKeyError;

    fn from_str(text: &str) -> Result<Self, PrivateKeyError> {
        let digits = text.strip_prefix(MULTIBASE_BASE58).ok_or(PrivateKeyError::NotBase58)?;
        Self::from_protobuf(&BASE58.decode(digits).ok_or(PrivateKeyError::BadDigits)?)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.peer_id())
    }
}
