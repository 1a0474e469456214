//! `faultctl results read`: what a load generator has printed, as whole seconds and totals.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use faultd_load_output::{End, Latency, Parser, Second, Series, Stream, Summary, Tool, Totals, UnknownTool};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    command_error::CommandError,
    output::{Format, or_dash, table},
};

/// So much of a file is read at a time.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    /// What the tool printed; - for standard input.
    file: PathBuf,
    /// Which tool it was [default: the one in the file's name, as in `baseline_cassandra-stress.log`].
    #[arg(long, value_parser = parse_tool)]
    tool: Option<Tool>,
}

/// What was read.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReadDocument {
    tool: &'static str,
    seconds: Vec<SecondRow>,
    totals: Totals,
}

/// A second of the tool's own time; one in which it printed nothing has zeros.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SecondRow {
    t_s: usize,
    ops: f64,
    errors: f64,
    /// In milliseconds.
    latency: Latency,
}

fn parse_tool(word: &str) -> Result<Tool, UnknownTool> {
    word.parse()
}

pub(crate) fn read(arguments: &ReadArguments, output: Format) -> Result<(), CommandError> {
    let tool = tool(arguments)?;
    let failed = |source: io::Error| CommandError::File {
        action: format!("read {}", arguments.file.display()),
        source,
    };
    let bytes: Box<dyn Read> = if arguments.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&arguments.file).map_err(failed)?)
    };
    let (series, totals) = parsed(bytes, tool).map_err(failed)?;
    if series.is_empty() && totals == (Totals { lines: totals.lines, ..Totals::default() }) {
        return Err(CommandError::CheckFailed(format!(
            "{} has nothing that {tool} prints: name the tool with --tool",
            arguments.file.display()
        )));
    }
    let seconds: Vec<SecondRow> = series.seconds().map(second_row).collect();
    if output == Format::Jsonl {
        return seconds.iter().try_for_each(|row| output.one("tool-second", row, |_| String::new()));
    }
    output.one("tool-output", &ReadDocument { tool: tool.name(), seconds, totals }, in_words)
}

/// The tool that was named, or the one whose name the file's name ends in.
fn tool(arguments: &ReadArguments) -> Result<Tool, CommandError> {
    let stem = arguments.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let named = arguments.tool.or_else(|| Tool::all().find(|tool| stem.ends_with(tool.name())));
    named.ok_or_else(|| {
        let names: Vec<&str> = Tool::all().map(Tool::name).collect();
        CommandError::Usage(format!(
            "the name of {} does not say which tool wrote it: give --tool, one of {}",
            arguments.file.display(),
            names.join(", ")
        ))
    })
}

fn parsed(mut bytes: impl Read, tool: Tool) -> io::Result<(Series, Totals)> {
    let (mut parser, mut series) = (Parser::new(tool), Series::new());
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        // A file does not say when its lines were written: their own times are what there is.
        match bytes.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => {
                let read = chunk.get(..length).unwrap_or_default();
                parser
                    .push(Stream::Output, read, Duration::ZERO)
                    .iter()
                    .for_each(|sample| series.add(sample));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let finished = parser.finish(End::ByItself);
    finished.samples.iter().for_each(|sample| series.add(sample));
    Ok((series, finished.totals))
}

fn second_row(second: Second) -> SecondRow {
    let Second { begin_s, operations, errors, latency } = second;
    SecondRow { t_s: begin_s, ops: operations, errors, latency }
}

fn in_words(document: &ReadDocument) -> String {
    let tenths = |value: Option<f64>| or_dash(value.map(|value| format!("{value:.1}")));
    let rows = document.seconds.iter().map(|row| {
        let Latency { mean, p50, p95, p99, max, .. } = row.latency;
        let [mean, p50, p95, p99, max] = [mean, p50, p95, p99, max].map(tenths);
        [
            row.t_s.to_string(),
            format!("{:.1}", row.ops),
            format!("{:.0}", row.errors),
            mean,
            p50,
            p95,
            p99,
            max,
        ]
    });
    let header = ["T S", "OPS/S", "ERRORS", "MEAN MS", "P50 MS", "P95 MS", "P99 MS", "MAX MS"];
    let mut parts = Vec::new();
    if !document.seconds.is_empty() {
        parts.push(table(header, rows));
    }
    let Totals { overall, kinds, verdict, .. } = &document.totals;
    let named = kinds.iter().map(|(name, summary)| (name.as_str(), summary));
    let totals = std::iter::once(("all", overall)).chain(named).filter_map(summary_line);
    let verdict = verdict
        .iter()
        .flat_map(|verdict| &verdict.checks)
        .map(|check| format!("  {:<12} {}", if check.passed { "passed" } else { "failed" }, check.text));
    let lines: Vec<String> = totals.chain(verdict).collect();
    if !lines.is_empty() {
        parts.push(lines.join("\n"));
    }
    parts.join("\n\n")
}

/// What the tool itself says in the end.
fn summary_line((name, summary): (&str, &Summary)) -> Option<String> {
    let Summary { operations, errors, duration_s, operations_per_s, latency } = summary;
    let said = |value: Option<f64>, text: &str| value.map(|value| format!("{value:.1} {text}"));
    let parts = [
        said(*operations, "operations"),
        said(*errors, "errors"),
        said(*duration_s, "s"),
        said(*operations_per_s, "ops/s"),
        said(latency.p50, "ms p50"),
        said(latency.p99, "ms p99"),
        said(latency.max, "ms max"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("  {name:<12} {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_without_a_row_are_zeros_and_thousands_are_thousands() {
        let log = "\
type       total ops,    op/s,    pk/s,   row/s,    mean,     med,     .95,     .99,    .999,     max,   time,   stderr, errors,  gc: #,  max ms,  sum ms,  sdv ms,      mb
total,         12345,  12,345,   12345,   12345,     7.1,     6.0,    16.1,    30.5,    35.0,    35.0,    1.0,  0.05043,      0,      0,       0,       0,       0,       0
total,         12545,     200,     200,     200,     7.1,     6.0,    16.1,    30.5,    35.0,    35.0,    4.0,  0.05043,      0,      0,       0,       0,       0,       0
";
        let log = log.replace("12,345,", "12345,");
        let (series, _totals) = parsed(log.as_bytes(), Tool::CassandraStress).unwrap();
        let operations: Vec<f64> = series.seconds().map(|second| second.operations.round()).collect();
        assert_eq!(operations, [12345.0, 0.0, 0.0, 200.0]);
    }

    #[test]
    fn the_tool_is_in_the_name_of_the_file_or_asked_for() {
        let arguments = |file: &str, tool| ReadArguments { file: file.into(), tool };
        let of = |file: &str| tool(&arguments(file, None));
        assert_eq!(of("outputs/x/loss20_full_cassandra-stress.log").unwrap(), Tool::CassandraStress);
        assert_eq!(tool(&arguments("log.txt", Some(Tool::Wrk))).unwrap(), Tool::Wrk);
        let refused = of("log.txt").unwrap_err().to_string();
        assert!(refused.contains("give --tool, one of cassandra-stress, "), "{refused}");
    }
}
