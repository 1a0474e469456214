//! `faultctl results`: what runs left behind. Reads folders; needs no daemon.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use faultd_results::{
    folder::{self, Run, RunEntry},
    metadata::Metadata,
    summary::Summary,
    text,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::tool_output::{self, ReadArguments};
use crate::{
    command_error::CommandError,
    output::{Format, or_dash, table},
    outputs_directory::OUTPUTS,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ResultsVerb {
    /// The runs below a directory, oldest first.
    #[command(after_help = "Examples:\n  faultctl results ls\n  faultctl results ls ./elsewhere -o jsonl")]
    Ls {
        /// Where to look.
        #[arg(default_value = OUTPUTS)]
        directory: PathBuf,
    },
    /// The summary of one run.
    #[command(
        after_help = "Examples:\n  faultctl results show 20260304_050607_baseline\n  faultctl results show ./outputs/20260304_050607_baseline -o json"
    )]
    Show {
        /// The run's folder, or its name inside of outputs.
        folder: PathBuf,
    },
    /// What another load generator has printed, such as cassandra-stress: second by second, silent ones included.
    #[command(
        after_help = "Examples:\n  faultctl results read baseline_cassandra-stress.log\n  faultctl results read - --tool wrk -o json"
    )]
    Read(ReadArguments),
}

/// A line of `results ls`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ResultRow {
    folder: PathBuf,
    label: Option<String>,
    status: String,
    fault: Option<String>,
    mean_ops_per_s: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    errors: Option<u64>,
    degradation: Option<f64>,
    recovery_time_s: Option<f64>,
    problem: Option<String>,
}

/// All of one run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ResultDocument<'a> {
    folder: &'a Path,
    summary: &'a Summary,
    metadata: &'a Metadata,
}

pub(crate) fn results(verb: ResultsVerb, output: Format) -> Result<(), CommandError> {
    match verb {
        ResultsVerb::Ls { directory } => list(&directory, output),
        ResultsVerb::Show { folder } => show(&folder, output),
        ResultsVerb::Read(arguments) => tool_output::read(&arguments, output),
    }
}

fn list(directory: &Path, output: Format) -> Result<(), CommandError> {
    // Nobody has run anything here yet: that is an empty list, unless the directory was named.
    let none_yet = directory == Path::new(OUTPUTS) && !directory.exists();
    let entries = if none_yet { Vec::new() } else { folder::list(directory)? };
    let rows: Vec<ResultRow> = entries.into_iter().map(to_row).collect();
    output.many("result", &rows, |rows| {
        let header =
            ["FOLDER", "STATUS", "FAULT", "OPS/S", "P50 MS", "P99 MS", "ERRORS", "DEGRADATION", "RECOVERY"];
        table(header, rows.iter().map(cells))
    })
}

fn to_row(entry: RunEntry) -> ResultRow {
    let folder = entry.path;
    match entry.run {
        Ok(Run { metadata, summary }) => {
            let latency = summary.totals.latency;
            ResultRow {
                folder,
                status: summary.status.name().to_owned(),
                fault: Some(metadata.faults_in_words()),
                label: Some(metadata.label),
                mean_ops_per_s: Some(summary.totals.mean_ops_per_s),
                p50_ms: latency.as_ref().and_then(|latency| latency.p50),
                p99_ms: latency.as_ref().and_then(|latency| latency.p99),
                errors: Some(summary.totals.errors),
                degradation: summary.effect.degradation,
                recovery_time_s: summary.effect.recovery_time_s,
                problem: None,
            }
        }
        Err(problem) => ResultRow {
            folder,
            label: None,
            status: "unreadable".to_owned(),
            fault: None,
            mean_ops_per_s: None,
            p50_ms: None,
            p99_ms: None,
            errors: None,
            degradation: None,
            recovery_time_s: None,
            problem: Some(problem.to_string()),
        },
    }
}

fn cells(row: &ResultRow) -> [String; 9] {
    let number = |value: Option<f64>| or_dash(value.map(|value| format!("{value:.1}")));
    [
        row.folder.display().to_string(),
        row.status.clone(),
        or_dash(row.fault.as_ref().or(row.problem.as_ref())),
        number(row.mean_ops_per_s),
        number(row.p50_ms),
        number(row.p99_ms),
        or_dash(row.errors),
        or_dash(row.degradation.map(|share| format!("{:.1} %", share * 100.0))),
        or_dash(row.recovery_time_s.map(|seconds| format!("{seconds:.1} s"))),
    ]
}

fn show(folder: &Path, output: Format) -> Result<(), CommandError> {
    let inside = Path::new(OUTPUTS).join(folder);
    let folder = if !folder.exists() && inside.exists() { &inside } else { folder };
    let Run { metadata, summary } = folder::read(folder)?;
    let document = ResultDocument { folder, summary: &summary, metadata: &metadata };
    output.one("result-report", &document, |document| {
        summary_text(document.folder, document.metadata, document.summary)
    })
}

/// The summary for the terminal, as every command shows it.
pub(crate) fn summary_text(folder: &Path, metadata: &Metadata, summary: &Summary) -> String {
    text::summary(metadata, summary, &folder.display().to_string())
}
