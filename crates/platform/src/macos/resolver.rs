//! macOS has `/etc/resolver`, which is not used yet. Never run.

use crate::privileged::MachineError;
use crate::resolver::NodeNames;

/// Would have the resolver ask a node for its names: it is not told.
///
/// # Errors
/// None.
pub async fn ask_node(_names: &NodeNames) -> Result<bool, MachineError> {
    Ok(false)
}

/// Would undo [`ask_node`].
///
/// # Errors
/// None.
pub async fn ask_node_no_more(_names: &NodeNames) -> Result<(), MachineError> {
    Ok(())
}

/// Would wait for a resolver that can be told: there is none.
pub async fn wait_for_resolver() {
    std::future::pending::<()>().await;
}
