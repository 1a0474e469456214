//! Experiment files: the flags of `faultctl run` written down, so that a case of a paper is a file.
//!
//! A key is a flag without its dashes, those within it being lines below if one likes; what the command line says itself goes before. `command` is the load command.

use std::{fs, path::Path};

use toml::{Table, Value};

use crate::command_error::CommandError;

/// The key of the words behind `--`.
const COMMAND: &str = "command";
/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// The words of a command line that runs what a file says, with what the user says beside it: `words` is the user's
/// command line, which names the file, and `noun` the place of the word `run` in it.
///
/// # Errors
/// [`CommandError::Usage`] when the file is none.
pub(crate) fn with_file(words: &[String], noun: usize, file: &Path) -> Result<Vec<String>, CommandError> {
    let usage = |what: String| CommandError::Usage(format!("{}: {what}", file.display()));
    let length = fs::metadata(file).map_err(|error| usage(error.to_string()))?.len();
    if length > LONGEST {
        return Err(usage("it is far too long for an experiment file".to_owned()));
    }
    let text = fs::read_to_string(file).map_err(|error| usage(error.to_string()))?;
    let flags = flags_of(&text).map_err(usage)?;
    let (before, after) = words.split_at_checked(noun + 1).unwrap_or((words, &[]));
    let mut all: Vec<String> = before.iter().chain(&flags.words).chain(after).cloned().collect();
    if !flags.command.is_empty() && !after.iter().any(|word| word == "--") {
        all.push("--".to_owned());
        all.extend(flags.command);
    }
    Ok(all)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    words: Vec<String>,
    command: Vec<String>,
}

fn flags_of(text: &str) -> Result<Flags, String> {
    let table: Table = toml::from_str(text).map_err(|error| error.message().replace('\n', " "))?;
    let mut flags = Flags::default();
    for (key, value) in &table {
        if key == COMMAND {
            flags.command = texts(key, value)?;
        } else {
            flags.words.extend(words_of(key, value)?);
        }
    }
    Ok(flags)
}

fn words_of(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let key = &key.replace('_', "-");
    Ok(match value {
        Value::Boolean(true) => vec![format!("--{key}")],
        Value::Boolean(false) => Vec::new(),
        Value::Array(_) => texts(key, value)?.into_iter().map(|text| format!("--{key}={text}")).collect(),
        Value::Table(settings) => {
            let pair = |(name, value): (&String, &Value)| Ok(format!("--{key}={name}={}", text(key, value)?));
            settings.iter().map(pair).collect::<Result<_, String>>()?
        }
        _ => vec![format!("--{key}={}", text(key, value)?)],
    })
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(values) => values.iter().map(|value| text(key, value)).collect(),
        _ => Err(format!("{key} is a list of texts: [\"…\", \"…\"]")),
    }
}

fn text(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        _ => Err(format!("{key} is written as on the command line: \"50ms\", \"20%\", 10")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_flag() {
        let file = r#"
            cluster = "etcd"
            delay = "100ms"
            clients = 300
            arrivals = 99.5
            keep-data = true
            containers = ["a", "b"]
            stop_if = ["errors>5", "throughput<20% for 10s"]
            command = ["wrk", "-d", "60"]
            [driver-set]
            serializable = "true"
        "#;
        let flags = flags_of(file).unwrap();
        let words = [
            "--arrivals=99.5",
            "--clients=300",
            "--cluster=etcd",
            "--containers=a",
            "--containers=b",
            "--delay=100ms",
            "--driver-set=serializable=true",
            "--keep-data",
            "--stop-if=errors>5",
            "--stop-if=throughput<20% for 10s",
        ];
        let mut sorted = flags.words.clone();
        sorted.sort();
        assert_eq!(sorted, words);
        assert_eq!(flags.command, ["wrk", "-d", "60"]);
    }

    #[test]
    fn what_is_no_flag_is_refused_in_one_line() {
        for (file, said) in [
            ("delay = ", "string"),
            ("command = \"wrk\"", "command is a list"),
            ("inject-at = 10:00:00", "written as on the command line"),
            ("containers = [[1]]", "written as on the command line"),
        ] {
            let refused = flags_of(file).unwrap_err();
            assert!(refused.contains(said) && !refused.contains('\n'), "{file}: {refused}");
        }
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let file = std::env::temp_dir().join(format!("faultctl-experiment-{}.toml", std::process::id()));
        fs::write(&file, "delay = \"100ms\"\ncommand = [\"wrk\"]\n").unwrap();
        let line = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let whole = |words: &str, noun| with_file(&line(words), noun, &file).unwrap().join(" ");
        assert_eq!(
            whole("faultctl run x.toml --delay 5ms", 1),
            "faultctl run --delay=100ms x.toml --delay 5ms -- wrk"
        );
        assert_eq!(whole("faultctl -o json run x -- k6", 3), "faultctl -o json run --delay=100ms x -- k6");
        fs::remove_file(&file).unwrap();
        let missing = with_file(&[], 0, Path::new("/nowhere.toml")).unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere.toml: "), "{missing}");
    }
}
