//! Made-up workspaces for the tests of the borders: real files that the real cargo reads.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A workspace in a temporary directory.
pub(super) struct Tree {
    dir: TempDir,
}

impl Tree {
    pub(super) fn new() -> Self {
        let tree = Self { dir: TempDir::new().expect("temporary directory") };
        let tree = tree.file(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\", \"other/*\", \"tests*\"]\n",
        );
        // Cargo refuses a pattern that nothing matches.
        tree.package("other/filler", "filler", "").package("tests", "hypertap-tests", "")
    }

    /// Adds a package with an empty library.
    pub(super) fn package(self, path: &str, name: &str, dependencies: &str) -> Self {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{dependencies}\n"
        );
        self.file(&format!("{path}/Cargo.toml"), &manifest).file(&format!("{path}/src/lib.rs"), "")
    }

    /// Adds or replaces a file.
    pub(super) fn file(self, path: &str, text: &str) -> Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("mkdir");
        fs::write(path, text).expect("write");
        self
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }
}
