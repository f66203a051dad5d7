//! What a run works with: its directory, the compiled C programs, and the binary that is measured.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::reference::{self, Programs};

const RUN: &str = "run-";

/// Dropping it removes the directory with the run's logs and sockets.
pub(crate) struct Workshop {
    dir: PathBuf,
    pub(crate) programs: Programs,
    /// None when only the reference is measured.
    pub(crate) hypertap: Option<PathBuf>,
}

impl Workshop {
    pub(crate) fn open(hypertap: Option<PathBuf>, reference_only: bool) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let target =
            own.parent().and_then(Path::parent).context("this program is not in a target directory")?;
        let hypertap = match hypertap {
            _ if reference_only => None,
            Some(named) if named.is_file() => Some(named.canonicalize()?),
            Some(named) => bail!("{} is not a file", named.display()),
            None => Some(built(target)?),
        };
        let bench = target.join("bench");
        sweep(&bench);
        let dir = bench.join(format!("{RUN}{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        // From here on the directory is removed, even when a compile fails.
        let mut workshop = Self { dir, programs: Programs::default(), hypertap };
        workshop.programs = reference::compile(&bench)?;
        Ok(workshop)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes the directories of runs that were killed.
fn sweep(bench: &Path) {
    let Ok(entries) = fs::read_dir(bench) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(RUN).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn built(target: &Path) -> Result<PathBuf> {
    let found = ["release", "debug"].map(|profile| target.join(profile).join("hypertap"));
    match found.iter().find(|file| file.is_file()) {
        Some(file) => Ok(file.clone()),
        None => bail!(
            "no {}: build it with `cargo build --release`, or ask for --reference-only",
            found[0].display()
        ),
    }
}
