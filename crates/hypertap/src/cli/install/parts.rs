//! The files that an installation consists of.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap_complete::Shell;

use crate::cli::generate::{self, Generated};
use crate::exit::Failure;

const SERVICE: &str = include_str!("../../../../../packaging/systemd/hypertap.service");
const NODE: &str = include_str!("../../../../../packaging/systemd/hypertap-node@.service");
const SOCKET: &str = include_str!("../../../../../packaging/systemd/hypertap.socket");
const POLICY: &str = include_str!("../../../../../packaging/polkit/org.hypertap.helper.policy");

/// The shells that look for completions in folders of the machine, and the names that they look for.
const COMPLETIONS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "usr/local/share/bash-completion/completions", "hypertap"),
    (Shell::Zsh, "usr/local/share/zsh/site-functions", "_hypertap"),
    (Shell::Fish, "usr/local/share/fish/vendor_completions.d", "hypertap.fish"),
];

/// A file to install.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it goes, below the root.
    pub path: PathBuf,
    /// What is in it.
    pub content: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Whether it is an administrator's to edit, so that an edited one is kept.
    pub editable: bool,
}

/// The files of this version: the units, the polkit action, the man pages, completions for shells, and the
/// running program itself.
///
/// # Errors
/// When the program's own file cannot be read.
pub fn parts() -> Result<Vec<Part>, Failure> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let binary = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let part = |folder: &str, file: Generated, editable| Part {
        path: Path::new(folder).join(file.name),
        content: file.content,
        mode: 0o644,
        editable,
    };
    let text = |folder: &str, name: &str, text: &str| {
        part(folder, Generated { name: name.to_owned(), content: text.as_bytes().to_vec() }, true)
    };
    let mut parts = vec![
        text("etc/systemd/system", "hypertap.service", SERVICE),
        text("etc/systemd/system", "hypertap.socket", SOCKET),
        text("etc/systemd/system", "hypertap-node@.service", NODE),
        text("usr/share/polkit-1/actions", "org.hypertap.helper.policy", POLICY),
    ];
    parts.extend(generate::pages()?.into_iter().map(|page| part("usr/local/share/man/man1", page, false)));
    for (shell, folder, name) in COMPLETIONS {
        let file = Generated { name: name.to_owned(), ..generate::completions(shell) };
        parts.push(part(folder, file, false));
    }
    let path = PathBuf::from("usr/local/bin/hypertap");
    parts.push(Part { path, content: binary, mode: 0o755, editable: false });
    Ok(parts)
}
