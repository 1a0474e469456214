//! etcd's `benchmark`: the progress bar while it runs, and its report, with a row for each second if it was started
//! with `--sample`.
//!
//! Sources: etcd's `pkg/report/report.go`, `pkg/report/timeseries.go`, `tools/benchmark/cmd`. The bar's count is a
//! series of the kind `progress`, which the rows at the end replace.

use crate::formats::{Findings, Format, Line};
use crate::numbers::{milliseconds, number};
use crate::sample::{Clock, Latency, Sample};
use crate::timeline::{Counter, Intervals};
use crate::totals::Summary;

/// The kind of the samples that come from the progress bar.
const PROGRESS: &str = "progress";

#[derive(Debug, Default)]
pub(crate) struct EtcdBenchmark {
    bar: Counter,
    bar_intervals: Intervals,
    columns: Option<Columns>,
    first_unix_s: Option<f64>,
    /// `benchmark txn-mixed` has a report for reads and one for writes.
    kind: Option<&'static str>,
    in_errors: bool,
}

#[derive(Debug)]
struct Columns {
    time: usize,
    mean: Option<usize>,
    max: Option<usize>,
    operations: usize,
}

impl Format for EtcdBenchmark {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        let text = line.text.trim();
        if self.in_errors && text.starts_with('[') {
            error(text, findings);
        } else if let Some(done) = progress(text) {
            self.take_progress(done, line.arrived_s, findings);
        } else if text.contains("UNIX-SECOND") {
            self.columns = Columns::of(text);
        } else if let Some(percentile) = percentile(text) {
            let (percent, value) = percentile;
            self.each_summary(findings, |summary| summary.latency.set_percentile(percent, value));
        } else if let Some((label, value)) = text.split_once(':') {
            self.report(label, value.trim(), findings);
        } else if let Some(columns) = &self.columns {
            match columns.row(text) {
                Some(row) => self.take_row(&row, line.arrived_s, findings),
                None => self.columns = None,
            }
        }
    }
}

/// A second of `--sample`.
struct Row {
    unix_s: f64,
    operations: f64,
    latency: Latency,
}

impl EtcdBenchmark {
    fn take_progress(&mut self, done: f64, arrived_s: f64, findings: &mut Findings) {
        let operations = self.bar.difference(done);
        let (begin_s, end_s) = self.bar_intervals.next(arrived_s, operations, None);
        let kind = PROGRESS.to_owned();
        findings.samples.push(Sample::of_operations(begin_s, end_s, arrived_s, operations, kind));
    }

    fn take_row(&mut self, row: &Row, arrived_s: f64, findings: &mut Findings) {
        let first_unix_s = *self.first_unix_s.get_or_insert(row.unix_s);
        let (zero_s, clock) = match findings.started_at_unix_s {
            Some(started_s) => (started_s, Clock::Command),
            None => (first_unix_s, Clock::Tool),
        };
        let begin_s = row.unix_s - zero_s;
        findings.samples.push(Sample {
            begin_s,
            end_s: begin_s + 1.0,
            arrived_s,
            clock,
            operations: row.operations,
            errors: 0.0,
            latency: row.latency,
            kind: None,
        });
    }

    /// Notes it for all operations, or for the kind whose report this is.
    fn each_summary(&self, findings: &mut Findings, note: impl Fn(&mut Summary)) {
        match self.kind {
            Some(kind) => findings.totals.kind(kind).map_or((), note),
            None => note(&mut findings.totals.overall),
        }
    }

    fn report(&mut self, label: &str, value: &str, findings: &mut Findings) {
        match label {
            "Total Read Ops" => self.kind = Some("READ"),
            "Total Write Ops" => self.kind = Some("WRITE"),
            "Summary" => (self.in_errors, self.columns) = (false, None),
            "Error distribution" => self.in_errors = true,
            "Total" => {
                let duration_s = milliseconds(value).map(|milliseconds| milliseconds / 1e3);
                self.each_summary(findings, |summary| summary.duration_s = duration_s);
            }
            "Slowest" => self.each_summary(findings, |summary| summary.latency.max = milliseconds(value)),
            "Average" => self.each_summary(findings, |summary| summary.latency.mean = milliseconds(value)),
            "Requests/sec" => self.each_summary(findings, |summary| {
                summary.operations_per_s = number(value);
                // The tool has divided the one by the other.
                let operations = summary.operations_per_s.zip(summary.duration_s);
                summary.operations = operations.map(|(per_s, duration_s)| (per_s * duration_s).round());
            }),
            _ => {}
        }
    }
}

impl Columns {
    fn of(header: &str) -> Option<Self> {
        let place = |name: &str| header.split(',').position(|cell| cell.trim() == name);
        Some(Self {
            time: place("UNIX-SECOND")?,
            mean: place("AVG-LATENCY-MS"),
            max: place("MAX-LATENCY-MS"),
            operations: place("AVG-THROUGHPUT")?,
        })
    }

    /// The latencies are Go's durations, whatever the header says; those of an empty second are `0s`.
    fn row(&self, text: &str) -> Option<Row> {
        let cells: Vec<&str> = text.split(',').collect();
        let operations = number(cells.get(self.operations)?)?;
        let latency = |place: Option<usize>| {
            let cell = place.and_then(|place| cells.get(place)).filter(|_| operations > 0.0);
            cell.and_then(|cell| milliseconds(cell).or_else(|| number(cell)))
        };
        let latency = Latency { mean: latency(self.mean), max: latency(self.max), ..Latency::default() };
        Some(Row { unix_s: number(cells.get(self.time)?)?, operations, latency })
    }
}

/// `10000 / 10000 [==========] 100.00% 1m57s`: how many requests are done.
fn progress(text: &str) -> Option<f64> {
    let (done, rest) = text.split_once(" / ")?;
    let (_, rest) = rest.split_once(' ')?;
    rest.contains('%').then(|| number(done))?
}

/// `99.9% in 1.1010 secs.`
fn percentile(text: &str) -> Option<(f64, Option<f64>)> {
    let (percent, value) = text.split_once("% in ")?;
    Some((number(percent)?, milliseconds(value)))
}

/// `[3]`, a tabulator, and `etcdserver: request timed out`.
fn error(text: &str, findings: &mut Findings) {
    let Some((count, message)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) else { return };
    if let Ok(count) = count.parse::<u32>() {
        findings.totals.error_message(message, count.into());
        *findings.totals.overall.errors.get_or_insert_default() += f64::from(count);
    }
}
