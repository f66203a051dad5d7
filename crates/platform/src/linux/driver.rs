//! Has the TUN driver loaded.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::rights;
use crate::privileged::MachineError;

/// How long `modprobe` may take.
const LOADING: Duration = Duration::from_secs(8);

/// Loads the driver, unless it is there.
pub(crate) async fn load() -> Result<(), MachineError> {
    let Err(missing) = rights::probe_driver() else { return Ok(()) };
    let mut modprobe = Command::new("/sbin/modprobe");
    modprobe.args(["--quiet", "tun"]).stdin(Stdio::null()).kill_on_drop(true);
    match timeout(LOADING, modprobe.output()).await {
        Ok(Ok(output)) => tracing::debug!(status = %output.status, "ran modprobe tun"),
        Ok(Err(error)) => tracing::debug!(%error, "cannot run modprobe"),
        Err(_) => tracing::debug!("modprobe tun did not end in 8 s"),
    }
    rights::probe_driver().map_err(|_| MachineError::NoDriver(missing))
}
