//! Each verb shows how it is used, and what it shows is a command line that it takes.

use clap::{Command, CommandFactory, Parser};

use crate::cli::Cli;

/// Each command that has no commands below it, with its words.
fn leaves(command: &Command, words: &str, found: &mut Vec<(String, Command)>) {
    let below: Vec<&Command> = command.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    if below.is_empty() {
        found.push((words.to_owned(), command.clone()));
    }
    for verb in below {
        leaves(verb, &format!("{words} {}", verb.get_name()), found);
    }
}

/// The words of a line as a shell splits them, up to a redirection or a pipe.
fn words_of(line: &str) -> Vec<String> {
    let line = line.split(['|', '>']).next().unwrap();
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for character in line.trim().chars() {
        match character {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words
}

fn examples_of(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let Some((_, examples)) = help.split_once("Examples:\n") else { return Vec::new() };
    examples.lines().map(|line| line.strip_prefix("  ").expect("two spaces").to_owned()).collect()
}

#[test]
fn every_verb_has_examples_that_it_understands() {
    let mut found = Vec::new();
    leaves(&Cli::command(), "faultctl", &mut found);
    assert!(found.len() > 20, "{found:?}");
    for (verb, command) in found {
        let examples = examples_of(&command);
        assert!(!examples.is_empty(), "{verb} shows no example");
        for line in examples.iter().filter(|line| !line.starts_with('#')) {
            let words = words_of(line);
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{verb}: {line}: {}", parsed.unwrap_err());
            let spoken = words.join(" ");
            let mut wanted = verb.split(' ').filter(|word| spoken.split(' ').any(|said| said == *word));
            assert_eq!(wanted.by_ref().count(), verb.split(' ').count(), "{line} is no example of {verb}");
        }
    }
}

#[test]
fn a_line_is_split_as_a_shell_does_it() {
    assert_eq!(words_of("faultctl x 'a b' --c=1 > file"), ["faultctl", "x", "a b", "--c=1"]);
}
