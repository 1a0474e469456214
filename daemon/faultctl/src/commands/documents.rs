//! `faultctl documents`: man pages and completions as files, made of the same words that the program reads.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Command, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::completions::Shell;
use crate::{cli::Cli, command_error::CommandError, output::print};

pub(crate) const EXAMPLES: &str = "Examples:
  faultctl documents --write target/documents";

/// The line above the examples of a verb.
const EXAMPLES_BEGIN: &str = "Examples:";

#[derive(Debug, Args)]
pub(crate) struct DocumentsArguments {
    /// The directory for man/ and completions/; made where it is missing.
    #[arg(long, value_name = "DIRECTORY")]
    write: PathBuf,
}

pub(crate) fn documents(arguments: &DocumentsArguments) -> Result<(), CommandError> {
    let (man, completions) = (arguments.write.join("man"), arguments.write.join("completions"));
    let mut written = Vec::new();
    for (name, text) in man_pages().map_err(|error| failed("make the man pages", error))? {
        written.push(write(&man, &name, &text)?);
    }
    for shell in Shell::ALL {
        written.push(write(&completions, shell.file_name(), shell.text().as_bytes())?);
    }
    let lines: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    print(&lines.join("\n"))
}

fn write(directory: &Path, name: &str, text: &[u8]) -> Result<PathBuf, CommandError> {
    let path = directory.join(name);
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, text));
    written.map_err(|error| failed(&format!("write {}", path.display()), error))?;
    Ok(path)
}

fn failed(action: &str, source: io::Error) -> CommandError {
    CommandError::File { action: action.to_owned(), source }
}

/// A page for each command that is not hidden, by file name.
fn man_pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    add_pages(&root, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    pages.push(page(command)?);
    let mut shown = command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    shown.try_for_each(|verb| add_pages(verb, pages))
}

fn page(command: &Command) -> io::Result<(String, Vec<u8>)> {
    let man =
        Man::new(command.clone()).source(concat!("faultd ", env!("CARGO_PKG_VERSION"))).manual("faultd");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    examples(command).to_writer(&mut text)?;
    see_also(command).to_writer(&mut text)?;
    Ok((man.get_filename(), text))
}

/// The examples as they are typed.
fn examples(command: &Command) -> Roff {
    let mut section = Roff::new();
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let Some((_, lines)) = help.split_once(EXAMPLES_BEGIN) else { return section };
    section.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in lines.lines().filter(|line| !line.is_empty()) {
        section.text([roman(line)]);
    }
    section.control("fi", []);
    section
}

fn see_also(command: &Command) -> Roff {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let parent = name.rsplit_once('-').map(|(parent, _)| format!("{parent}(1)"));
    let mut section = Roff::new();
    if let Some(parent) = parent {
        section.control("SH", ["SEE ALSO"]).text([roman(parent)]);
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_with_its_name_synopsis_and_examples() {
        let pages = man_pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["faultctl.1", "faultctl-fault.1", "faultctl-fault-add.1", "faultctl-runs-stop.1"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(!names.contains(&"faultctl-documents.1"), "{names:?}");
        for (name, text) in &pages {
            let text = String::from_utf8(text.clone()).unwrap();
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{name}");
            let is_leaf = !text.contains(".SH SUBCOMMANDS");
            assert_eq!(text.contains(".SH EXAMPLES\n.nf\n"), is_leaf, "{name}: {text}");
        }
    }

    #[test]
    fn a_page_shows_its_examples_as_they_are_typed() {
        let pages = man_pages().unwrap();
        let (_, text) = pages.iter().find(|(name, _)| name == "faultctl-fault-rm.1").unwrap();
        let text = String::from_utf8(text.clone()).unwrap();
        assert!(text.contains("\n  faultctl fault rm f1\n"), "{text}");
        assert!(text.contains("faultctl\\-fault(1)") || text.contains("faultctl-fault(1)"), "{text}");
    }
}
