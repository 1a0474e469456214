//! `faultctl completions`: what a shell reads to complete our words; made of the words themselves.

use clap::{Command, CommandFactory, ValueEnum};

use crate::{cli::Cli, command_error::CommandError, output::print};

pub(crate) const EXAMPLES: &str = "Examples:
  faultctl completions bash > faultctl.bash
  faultctl completions zsh > _faultctl
  faultctl completions fish > faultctl.fish";

/// A shell that can complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// To be read by ~/.bashrc, or kept in /usr/share/bash-completion/completions.
    Bash,
    /// To be kept in a directory of $fpath.
    Zsh,
    /// To be kept in ~/.config/fish/completions.
    Fish,
}

impl Shell {
    pub(crate) const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    /// How the file is called in the directory of such files.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::Bash => "faultctl.bash",
            Self::Zsh => "_faultctl",
            Self::Fish => "faultctl.fish",
        }
    }

    /// What the shell has to read.
    pub(crate) fn text(self) -> String {
        let generator = match self {
            Self::Bash => clap_complete::Shell::Bash,
            Self::Zsh => clap_complete::Shell::Zsh,
            Self::Fish => clap_complete::Shell::Fish,
        };
        let mut text = Vec::new();
        clap_complete::generate(generator, &mut shown(&Cli::command()), "faultctl", &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// The words without those that are hidden, which no shell shall show.
fn shown(whole: &Command) -> Command {
    let verbs = whole.get_subcommands().filter(|verb| !verb.is_hide_set());
    Command::new("faultctl").args(whole.get_arguments()).subcommands(verbs.cloned())
}

pub(crate) fn completions(shell: Shell) -> Result<(), CommandError> {
    print(&shell.text())
}
