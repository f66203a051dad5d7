//! A label of a DNS name: what services and nodes may be called.
//!
//! One to 63 letters, digits, hyphens and underscores, no hyphen at either end (RFC 1035 section 2.3.1,
//! RFC 1123 section 2.1; the underscore is not of a host name, but names in use have it and DNS carries
//! it). DNS knows no case (RFC 4343), so neither does a label: it is lower case once it is one.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest label in bytes.
pub const MAX_LABEL: usize = 63;

/// Why a name is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// There is nothing.
    #[error("it is empty: a name has 1 to {MAX_LABEL} characters")]
    Empty,
    /// It is longer than [`MAX_LABEL`] bytes.
    #[error("it is {0} bytes long: a name has at most {MAX_LABEL}")]
    TooLong(usize),
    /// A character that is not of a label.
    #[error("it has the character {0:?}: a name is of letters a to z, digits, hyphens and underscores")]
    BadCharacter(char),
    /// It begins or ends with a hyphen.
    #[error("it begins or ends with a hyphen: a name does neither")]
    HyphenAtEnd,
}

/// A label, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

impl Label {
    /// The label that a text is, whatever its case.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(text: &str) -> Result<Self, LabelError> {
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        if text.is_empty() {
            Err(LabelError::Empty)
        } else if let Some(letter) = text.chars().find(|letter| !is_allowed(*letter)) {
            Err(LabelError::BadCharacter(letter))
        } else if text.len() > MAX_LABEL {
            Err(LabelError::TooLong(text.len()))
        } else if text.starts_with('-') || text.ends_with('-') {
            Err(LabelError::HyphenAtEnd)
        } else {
            Ok(Self(text.to_ascii_lowercase().into()))
        }
    }

    /// The label in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::new(text)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Label {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// For look-ups by a text that is in lower case already.
impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_label_has_no_case() {
        assert_eq!(Label::new("WeB-1"), Label::new("web-1"));
        assert_eq!(Label::new("WEB").unwrap().as_str(), "web");
    }

    #[test]
    fn labels_are_of_1_to_63_letters_digits_hyphens_and_underscores() {
        for good in ["a", "0", "a-b", "my_node", "_http", "xn--bcher-kva", &"x".repeat(63)] {
            assert_eq!(Label::new(good).unwrap().as_str(), good);
        }
        for (bad, error) in [
            ("", LabelError::Empty),
            (&*"x".repeat(64), LabelError::TooLong(64)),
            ("a.b", LabelError::BadCharacter('.')),
            ("a b", LabelError::BadCharacter(' ')),
            ("bücher", LabelError::BadCharacter('ü')),
            ("a\0", LabelError::BadCharacter('\0')),
            ("-a", LabelError::HyphenAtEnd),
            ("a-", LabelError::HyphenAtEnd),
            ("-", LabelError::HyphenAtEnd),
        ] {
            assert_eq!(Label::new(bad), Err(error), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_labels_text_is_the_label(text in "[-_.a-cX-Z0-9é]{0,70}") {
            if let Ok(label) = Label::new(&text) {
                prop_assert!((1..=MAX_LABEL).contains(&label.as_str().len()));
                prop_assert_eq!(Label::new(label.as_str()), Ok(label.clone()));
                prop_assert_eq!(label.as_str(), text.to_lowercase());
            }
        }
    }
}
