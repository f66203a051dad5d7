//! What is wrong with a configuration: which key, its value, and what is expected.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use hypertap_wire::peer_id::PrivateKey;
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// Names of keys that hold a secret, whose value is never shown.
const SECRETS: [&str; 1] = ["privateKey"];
/// How the text of a private key begins. Such a text is never shown wherever it stands.
const KEY_BEGINS: &str = "z23jhT";
/// What is shown instead.
const HIDDEN: &str = "(a private key)";
/// How much of a value is shown, in characters.
const MAX_SHOWN: usize = 100;

/// One thing that is wrong, or odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which key, as in `peers[1].id`; empty for the whole.
    pub path: String,
    /// Its value as in JSON, where showing it helps.
    pub value: Option<String>,
    /// What is wrong with it, and what is expected.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        if let Some(value) = &self.value {
            write!(f, "{value}: ")?;
        }
        f.write_str(&self.problem)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}{}", path.display(), hint(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in the file is refused.
    #[error("{}", listed(&path.display().to_string(), faults))]
    Faulty {
        /// The file.
        path: PathBuf,
        /// At least one.
        faults: Vec<Fault>,
    },
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == ErrorKind::NotFound { " (`hypertap init` makes one)" } else { "" }
}

/// The faults of a thing, in one sentence where there is one.
pub fn listed(thing: &str, faults: &[Fault]) -> String {
    match faults {
        [fault] => format!("{thing}: {fault}"),
        faults => {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            format!("{thing} has {} faults:\n  {}", faults.len(), lines.join("\n  "))
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let exit = match &error {
            ConfigError::Unreadable { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Exit::Right
            }
            ConfigError::Unreadable { source, .. } if source.kind() != ErrorKind::NotFound => Exit::Other,
            _ => Exit::Usage,
        };
        Self::new(exit, error)
    }
}

/// The faults and warnings of a text, as they are found.
#[derive(Debug, Default)]
pub(super) struct Faults {
    found: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl Faults {
    /// Adds a fault of a value.
    pub(super) fn add(&mut self, path: &str, value: &Value, problem: impl fmt::Display) {
        let is_secret = SECRETS.contains(&path);
        let value = (!is_secret).then(|| shown(value));
        self.found.push(fault(path, value, problem));
    }

    /// Adds a fault of a text.
    pub(super) fn add_text(&mut self, path: &str, text: &str, problem: impl fmt::Display) {
        self.add(path, &Value::String(text.to_owned()), problem);
    }

    /// Adds a fault without a value, as of a key that is missing.
    pub(super) fn add_key(&mut self, path: &str, problem: impl fmt::Display) {
        self.found.push(fault(path, None, problem));
    }

    /// Adds what is odd.
    pub(super) fn warn(&mut self, path: &str, problem: impl fmt::Display) {
        self.warnings.push(fault(path, None, problem));
    }

    /// The value of an outcome, or a fault.
    pub(super) fn take<T, E: fmt::Display>(
        &mut self,
        path: &str,
        text: &str,
        outcome: Result<T, E>,
    ) -> Option<T> {
        outcome.map_err(|error| self.add_text(path, text, error)).ok()
    }

    /// `made` and the warnings, where there is no fault.
    pub(super) fn finish<T>(self, made: Option<T>) -> Result<(T, Vec<Fault>), Vec<Fault>> {
        match made {
            Some(made) if self.found.is_empty() => Ok((made, self.warnings)),
            _ => Err(self.found),
        }
    }
}

fn fault(path: &str, value: Option<String>, problem: impl fmt::Display) -> Fault {
    Fault { path: without_keys(path), value, problem: without_keys(&problem.to_string()) }
}

/// A text without the private keys in it.
fn without_keys(text: &str) -> String {
    let is_digit = |letter: char| letter.is_ascii_alphanumeric();
    let mut words = text.split_inclusive(|letter| !is_digit(letter));
    words.by_ref().fold(String::with_capacity(text.len()), |mut made, word| {
        let digits = word.trim_end_matches(|letter| !is_digit(letter));
        let key = digits.find(KEY_BEGINS).or_else(|| digits.parse::<PrivateKey>().is_ok().then_some(0));
        // A word of an error's text, as in z23jhT…, is none.
        match key.filter(|begin| digits.len() - begin > KEY_BEGINS.len()) {
            Some(begin) => made.extend([&word[..begin], HIDDEN, &word[digits.len()..]]),
            None => made.push_str(word),
        }
        made
    })
}

/// A value as in JSON, without private keys and cut off where it is long.
fn shown(value: &Value) -> String {
    let text = without_keys(&value.to_string());
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The path of a key in an object.
pub(super) fn key(at: &str, name: &str) -> String {
    let is_plain = !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'));
    match (at.is_empty(), is_plain) {
        (true, true) => name.to_owned(),
        (false, true) => format!("{at}.{name}"),
        (_, false) => format!("{at}[{}]", Value::String(name.to_owned())),
    }
}

/// The path of a list's element.
pub(super) fn element(at: &str, index: usize) -> String {
    format!("{at}[{index}]")
}

/// Which of `known` somebody may have meant, as a part of a sentence; nothing where none is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
    let nearest = known.into_iter().map(|candidate| (distance(candidate), candidate)).min()?;
    (nearest.0 <= 1 + nearest.1.len() / 4).then(|| format!("did you mean {:?}?", nearest.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_key_as_one_would_write_it() {
        assert_eq!(key(&element(&key("", "peers"), 1), "id"), "peers[1].id");
        assert_eq!(key("services", "a b"), "services[\"a b\"]");
        assert_eq!(key("", ""), "[\"\"]");
    }

    #[test]
    fn a_near_word_is_proposed_and_a_far_one_is_not() {
        let known = ["privateKey", "privateKeyFile", "peers", "services"];
        assert_eq!(did_you_mean("PrivateKey", known).as_deref(), Some("did you mean \"privateKey\"?"));
        assert_eq!(did_you_mean("serivces", known).as_deref(), Some("did you mean \"services\"?"));
        assert_eq!(did_you_mean("mtu", known), None);
        assert_eq!(did_you_mean("mtu", []), None);
    }

    #[test]
    fn a_value_is_shown_within_bounds_and_a_secret_never() {
        let mut faults = Faults::default();
        faults.add_text("domain", &"ü".repeat(500), "wrong");
        faults.add_text("privateKey", "zSECRET", "wrong");
        let found = faults.finish(Some(())).unwrap_err();
        assert!(found[0].to_string().chars().count() < 150, "{}", found[0]);
        assert_eq!(found[1].to_string(), "privateKey: wrong");
    }

    #[test]
    fn a_private_key_is_hidden_wherever_it_stands() {
        let key = PrivateKey::new([7; 32], [9; 32]).to_multibase();
        assert!(key.starts_with(KEY_BEGINS));
        // 96 bytes, as early programs wrote them, begin otherwise.
        let old = concat!(
            "zK3TgTeanXrEnbbf4bGCUbJXi4U8ztsc4MWueC51MT4y4NTBdPqW1jcwtoS4vr4mEVQc",
            "r6tWhjysMUQrkVzt97VynaSqR3K3sej7YJwVHSoop178UzPTQJZqHykBAPcF9KnRQfW2U",
        );
        assert!(old.parse::<PrivateKey>().is_ok());
        for key in [&*key, &key[..20], old] {
            let mut faults = Faults::default();
            faults.add_text("privateKeyFile", key, format!("{key}: no such file"));
            faults.add_text("peers[0].id", &format!("/p2p/{key}\n"), "wrong");
            faults.add("peers", &serde_json::json!([{ "id": key }, { key: 1 }]), "wrong");
            faults.add_key(&super::key("", key), "there is no such key");
            faults.warn("domain", format!("is {key}, which is odd"));
            let shown = format!("{:?} {:?}", faults.found, faults.warnings);
            assert!(!shown.contains(&key[6..16]), "{shown}");
            assert_eq!(shown.matches(HIDDEN).count(), 7, "{shown}");
            assert_eq!(faults.found[1].to_string(), "peers[0].id: \"/p2p/(a private key)\\n\": wrong");
        }
        assert_eq!(without_keys("as in z23jhT…, é z"), "as in z23jhT…, é z");
    }

    #[test]
    fn one_fault_is_a_sentence_and_several_are_a_list() {
        let fault = |path: &str| Fault { path: path.to_owned(), value: None, problem: "no".to_owned() };
        assert_eq!(listed("f", &[fault("a")]), "f: a: no");
        assert_eq!(listed("f", &[fault("a"), fault("b")]), "f has 2 faults:\n  a: no\n  b: no");
    }
}
