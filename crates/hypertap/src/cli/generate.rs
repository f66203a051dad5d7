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
    match args.what {
        What::Man => {
            command.build();
            man(&command, "hypertap", &args.folder)?;
        }
        What::Completions => {
            let mut command = shown(&command);
            for shell in Shell::value_variants() {
                clap_complete::generate_to(*shell, &mut command, "hypertap", &args.folder)
                    .with_context(|| format!("cannot write the completions for {shell}"))?;
            }
        }
    }
    Ok(())
}

/// What completions are made of: the command without what is hidden. clap leaves that out of the
/// help, but not out of completions.
fn shown(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    let mut rest = Command::new(command.get_name().to_owned());
    if let Some(about) = command.get_about() {
        rest = rest.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        rest = rest.version(version.to_owned());
    }
    rest.args(arguments.cloned()).subcommands(subcommands.map(shown))
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
