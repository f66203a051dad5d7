//! The node's private key: made, chosen from the file, and checked.

use std::io;
use std::path::Path;

use ed25519_dalek::SigningKey;
use hypertap_wire::peer_id::{PrivateKey, PrivateKeyError};

use super::fault::Faults;

/// Why a text is no private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum KeyError {
    /// It has not the form.
    #[error("{0}; expected what `hypertap keygen` prints, as in z23jhT…")]
    Form(#[from] PrivateKeyError),
    /// Its halves are of two keys.
    #[error(
        "its public half does not belong to its secret half: it was damaged; take it from where it was made"
    )]
    Halves,
}

/// A new key.
///
/// # Errors
/// The system has no random numbers.
pub fn generate() -> io::Result<PrivateKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(PrivateKey::new(seed, public_of(&seed)))
}

/// Whether the public half of a key is its secret half's.
pub fn belongs_together(key: &PrivateKey) -> bool {
    public_of(key.seed()) == *key.public()
}

fn public_of(seed: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

fn read(text: &str) -> Result<PrivateKey, KeyError> {
    let key: PrivateKey = text.parse()?;
    if belongs_together(&key) { Ok(key) } else { Err(KeyError::Halves) }
}

/// The key that the text holds, or the file that it names.
pub(super) fn choose(
    text: Option<String>,
    file: Option<String>,
    key_file: impl FnOnce(&Path) -> io::Result<String>,
    faults: &mut Faults,
) -> Option<PrivateKey> {
    match (text, file) {
        (Some(_), Some(file)) => {
            faults.add_text("privateKeyFile", &file, "privateKey is there too: keep one of the two");
            None
        }
        (Some(text), None) => faults.take("privateKey", &text, read(&text)),
        (None, Some(file)) => {
            let content = key_file(Path::new(&file));
            let content = content.map_err(|error| format!("the file cannot be read: {error}"));
            let content = faults.take("privateKeyFile", &file, content)?;
            let key = read(content.trim()).map_err(|error| format!("of what is in the file: {error}"));
            faults.take("privateKeyFile", &file, key)
        }
        (None, None) => {
            let text = "the key is missing: `hypertap keygen` prints one (or give privateKeyFile)";
            faults.add_key("privateKey", text);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_whole_and_another_each_time() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert!(belongs_together(&one) && one != two);
        assert_eq!(read(&one.to_multibase()).as_ref(), Ok(&one));
        let mixed = PrivateKey::new(*one.seed(), *two.public());
        assert_eq!(read(&mixed.to_multibase()), Err(KeyError::Halves));
    }
}
