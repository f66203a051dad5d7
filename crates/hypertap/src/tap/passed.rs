//! What went through a port that is no more, in a line of the log.

use std::fmt;

use super::fabric::PortReport;

/// A port's counters, for people.
pub struct Passed<'a>(pub &'a PortReport);

impl fmt::Display for Passed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortReport { frames_in, bytes_in, frames_out, bytes_out, dropped, modem, .. } = self.0;
        write!(
            f,
            "in {frames_in} frames {bytes_in} bytes, out {frames_out} frames {bytes_out} bytes, dropped "
        )?;
        f.write_str(&serde_json::to_string(dropped).unwrap_or_default())?;
        if modem.is_empty() {
            return Ok(());
        }
        write!(f, ", by the modem {}", serde_json::to_string(modem).unwrap_or_default())
    }
}
