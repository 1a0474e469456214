//! Data to stdout as a table, one JSON document or JSON lines; talk to stderr.

use std::{
    fmt::Display,
    io::{self, Write},
};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::command_error::CommandError;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
    /// One document a line.
    Jsonl,
}

/// What the schema names of all documents begin with.
pub(crate) const SCHEMA_PREFIX: &str = "faultd/v1/";

#[derive(Serialize)]
struct Document<'a, T> {
    schema: String,
    #[serde(flatten)]
    value: &'a T,
}

impl Format {
    /// Prints one thing: as `text` for people, else as a document with the schema `faultd/v1/<kind>`.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub(crate) fn one<T: Serialize>(
        self,
        kind: &str,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CommandError> {
        match self {
            Self::Table => print(&text(value)),
            Self::Json => print(&to_json(kind, value, true)?),
            Self::Jsonl => print(&to_json(kind, value, false)?),
        }
    }

    /// Prints many things of one kind: a table, one document that holds them all under the kind's
    /// plural, or one document for each.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub(crate) fn many<T: Serialize>(
        self,
        kind: &str,
        values: &[T],
        table: impl FnOnce(&[T]) -> String,
    ) -> Result<(), CommandError> {
        let plural = plural(kind);
        match self {
            Self::Table if values.is_empty() => {
                say(&format!("no {plural}"));
                Ok(())
            }
            Self::Table => print(&table(values)),
            Self::Json => {
                let values = serde_json::to_value(values).map_err(json_failed)?;
                print(&to_json(&plural, &Map::from_iter([(plural.clone(), values)]), true)?)
            }
            Self::Jsonl => values.iter().try_for_each(|value| print(&to_json(kind, value, false)?)),
        }
    }

    /// Confirms that something was done: a line on stderr for people, else a document.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub(crate) fn done(self, kind: &str, field: &str, value: Value, line: &str) -> Result<(), CommandError> {
        if self == Self::Table {
            say(line);
            return Ok(());
        }
        self.one(kind, &Map::from_iter([(field.to_owned(), value)]), |_| String::new())
    }
}

/// What many of a kind are called.
pub(crate) fn plural(kind: &str) -> String {
    match kind {
        "run-status" => "runs".to_owned(),
        kind => format!("{kind}s"),
    }
}

/// A document with the schema `faultd/v1/<kind>`.
///
/// # Errors
/// When the value cannot be written as JSON.
pub(crate) fn to_json<T: Serialize>(kind: &str, value: &T, pretty: bool) -> Result<String, CommandError> {
    let document = Document { schema: format!("{SCHEMA_PREFIX}{kind}"), value };
    let text =
        if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
    text.map_err(json_failed)
}

fn json_failed(error: serde_json::Error) -> CommandError {
    CommandError::Stdout(error.into())
}

/// Writes a text and a line break to stdout; unlike `println!`, a closed pipe is an error and no panic.
///
/// # Errors
/// When stdout cannot be written to.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()).map_err(CommandError::Stdout)
}

/// Writes a line to stderr. Nobody has to listen, so a closed stderr is no failure.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A table without frame: what `cut` and people read.
pub(crate) fn table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    wide_table(header, rows)
}

/// As [`table`], with a number of columns that nobody counts.
pub(crate) fn wide_table<'a, R: IntoIterator<Item = String>>(
    header: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = R>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A value, or a dash where there is none.
pub(crate) fn or_dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_aligned_columns_and_no_frame() {
        let rows = [["f1".to_owned(), "etcd/etcd0".to_owned()], ["f10".to_owned(), "web".to_owned()]];
        assert_eq!(table(["ID", "TARGET"], rows), "ID   TARGET\nf1   etcd/etcd0\nf10  web");
    }

    #[test]
    fn a_document_names_its_schema_first() {
        let value = Map::from_iter([("id".to_owned(), Value::from("f1"))]);
        assert_eq!(to_json("fault", &value, false).unwrap(), r#"{"schema":"faultd/v1/fault","id":"f1"}"#);
    }
}
