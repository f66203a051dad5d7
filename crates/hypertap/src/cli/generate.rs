//! `hypertap generate`: man pages and shell completions, for packagers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::Cli;
use crate::exit::Failure;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A man page a command
    Man,
    /// A completion file a shell
    Completions,
}

/// Write man pages or shell completions into a folder
#[derive(Args, Clone, Debug)]
pub struct GenerateArgs {
    /// What to write
    pub what: What,
    /// Where
    pub folder: PathBuf,
}

/// Writes the files.
///
/// # Errors
/// When the folder cannot be written to.
pub fn run(args: &GenerateArgs) -> Result<(), Failure> {
    fs::create_dir_all(&args.folder).with_context(|| format!("cannot make {}", args.folder.display()))?;
    let mut command = Cli::command();
    command.build();
    match args.what {
        What::Man => man(&command, "hypertap", &args.folder)?,
        What::Completions => {
            for shell in Shell::value_variants() {
                clap_complete::generate_to(*shell, &mut command, "hypertap", &args.folder)
                    .with_context(|| format!("cannot write the completions for {shell}"))?;
            }
        }
    }
    Ok(())
}

/// Writes the page of a command and those of its subcommands.
fn man(command: &Command, name: &str, folder: &Path) -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().name(name.to_owned())).render(&mut page)?;
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        man(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(())
}
