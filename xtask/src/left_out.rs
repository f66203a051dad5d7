//! What a run could not check, said aloud.

use anyhow::{Result, bail};

/// Collects what was left out. In CI (`CI=true`) a missing tool is a failure, never a skip.
#[derive(Debug)]
pub(crate) struct LeftOut {
    strict: bool,
    entries: Vec<String>,
}

impl LeftOut {
    /// Strict where the environment says `CI=true` (or `1`).
    pub(crate) fn for_this_run() -> Self {
        Self::new(matches!(std::env::var("CI").as_deref(), Ok("true" | "1")))
    }

    pub(crate) fn new(strict: bool) -> Self {
        Self { strict, entries: Vec::new() }
    }

    /// A tool is missing that somebody could install.
    ///
    /// # Errors
    /// In CI, always.
    pub(crate) fn missing(&mut self, what: impl Into<String>) -> Result<()> {
        let what = what.into();
        if self.strict {
            bail!("{what} (with CI=true nothing may be left out)");
        }
        println!("left out: {what}");
        self.entries.push(what);
        Ok(())
    }

    /// Something outside the machine cannot be reached, which is nobody's fault here: no failure
    /// in CI either.
    pub(crate) fn unreachable(&mut self, what: impl Into<String>) {
        let what = what.into();
        println!("left out: {what}");
        self.entries.push(what);
    }

    pub(crate) fn entries(&self) -> &[String] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_fails_in_ci_and_is_told_elsewhere() {
        let mut ci = LeftOut::new(true);
        assert!(ci.missing("no javac").is_err());

        let mut desk = LeftOut::new(false);
        desk.missing("no javac").expect("a desk may lack a tool");
        assert_eq!(desk.entries(), ["no javac"]);
    }

    #[test]
    fn what_cannot_be_reached_is_told_in_ci_too() {
        let mut ci = LeftOut::new(true);
        ci.unreachable("advisories");
        assert_eq!(ci.entries(), ["advisories"]);
    }
}
