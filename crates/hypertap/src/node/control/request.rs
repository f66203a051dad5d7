//! What a node's control is asked.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request: one line of JSON, as in `{"cmd":"removeService","name":"web","save":true}`. The answer has
/// `"ok":true`, or `"ok":false` with the sentence, `error`, and the exit code for it, `exit`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "cmd", rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// How the node is.
    Status,
    /// What services there are, here and at the peers.
    Services,
    /// Read the configuration anew.
    Reload,
    /// Add a service.
    AddService {
        /// Its name.
        name: String,
        /// What the configuration has for it: a target, or an object with more.
        service: Value,
        /// Whether to put it into the configuration, too.
        #[serde(default)]
        save: bool,
    },
    /// Remove a service.
    RemoveService {
        /// Its name.
        name: String,
        /// Whether to take it out of the configuration, too.
        #[serde(default)]
        save: bool,
    },
}
