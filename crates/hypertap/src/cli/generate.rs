//! `hypertap generate`: man pages and shell completions, for packagers and for `hypertap install`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, roman};

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

/// A file that is made from the command line's definition.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Its name, without any folder.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// Writes the files.
///
/// # Errors
/// When the folder cannot be written to.
pub fn run(args: &GenerateArgs) -> Result<(), Failure> {
    fs::create_dir_all(&args.folder).with_context(|| format!("cannot make {}", args.folder.display()))?;
    let files = match args.what {
        What::Man => pages()?,
        What::Completions => Shell::value_variants().iter().map(|shell| completions(*shell)).collect(),
    };
    for file in files {
        let path = args.folder.join(&file.name);
        fs::write(&path, &file.content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The completions for a shell.
pub fn completions(shell: Shell) -> Generated {
    use clap_complete::Generator;
    let mut content = Vec::new();
    clap_complete::generate(shell, &mut shown(&Cli::command()), "hypertap", &mut content);
    Generated { name: shell.file_name("hypertap"), content }
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

/// The man pages: one of the program, one of each command.
///
/// # Errors
/// None that is known: they are made in memory.
pub fn pages() -> anyhow::Result<Vec<Generated>> {
    // `hypertap help` has no page: `man hypertap` is what it would say.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut all = Vec::new();
    add_pages(&command, "hypertap", &mut all)?;
    Ok(all)
}

/// Adds the page of a command and those of its subcommands.
fn add_pages(command: &Command, name: &str, all: &mut Vec<Generated>) -> anyhow::Result<()> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let rest = command.clone().name(name.to_owned()).after_help(None::<&str>);
    let mut content = Vec::new();
    clap_mangen::Man::new(rest).render(&mut content)?;
    content.extend(sections(&after).to_roff().into_bytes());
    all.push(Generated { name: format!("{name}.1"), content });
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        add_pages(sub, &format!("{name}-{}", sub.get_name()), all)?;
    }
    Ok(())
}

/// The sections of what the help says after the options, line by line as it stands there. Each begins with a
/// line `Heading:`.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    for section in text.split("\n\n").filter(|section| !section.is_empty()) {
        let (heading, lines) = section.split_once(":\n").unwrap_or(("Notes", section));
        roff.control("SH", [heading.to_uppercase().as_str()]).control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: &Generated) -> String {
        String::from_utf8(page.content.clone()).expect("text")
    }

    #[test]
    fn no_line_of_a_protocol_or_an_example_is_torn() {
        let mut seen = 0;
        for page in pages().expect("in memory") {
            let text = text(&page).replace("\\-", "-").replace("\\*(Aq", "'");
            let mut as_it_stands = false;
            let mut lines = Vec::new();
            for line in text.lines() {
                match line {
                    ".nf" => as_it_stands = true,
                    ".fi" => as_it_stands = false,
                    line if as_it_stands => lines.push(line),
                    _ => {}
                }
            }
            let root = Cli::command();
            // hypertap-config-check.1 is of the command `check` of the command `config`.
            let words = page.name.trim_end_matches(".1").split('-').skip(1);
            let command =
                words.fold(&root, |above, word| above.find_subcommand(word).expect("it has a page"));
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in after.lines().filter(|line| line.starts_with("  ")) {
                assert!(lines.contains(&&line[2..]), "{}: {line:?} is not in {lines:#?}", page.name);
                seen += 1;
            }
            assert!(!text.contains("EXTRA") && !as_it_stands, "{}", page.name);
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn every_shown_command_has_a_page_and_no_hidden_one() {
        let names: Vec<String> = pages().expect("in memory").into_iter().map(|page| page.name).collect();
        for command in Cli::command().get_subcommands() {
            let page = format!("hypertap-{}.1", command.get_name());
            assert_eq!(names.contains(&page), !command.is_hide_set(), "{page}");
        }
        assert!(names.contains(&"hypertap.1".to_owned()));
    }

    #[test]
    fn a_page_names_no_other_that_there_is_not() {
        let pages = pages().expect("in memory");
        let mut seen = 0;
        for text in pages.iter().map(text) {
            for word in text.split_whitespace().filter(|word| word.starts_with("hypertap\\-")) {
                let Some(name) = word.strip_suffix("(1)") else { continue };
                let name = format!("{}.1", name.replace("\\-", "-"));
                assert!(pages.iter().any(|page| page.name == name), "{name}");
                seen += 1;
            }
        }
        assert!(seen > 5, "{seen}");
    }
}
