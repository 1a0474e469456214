//! `cassandra-stress` from 2.1 to 5.x and `cql-stress`: rows under a header, read by the header's names, and the
//! lines of `Results:`.
//!
//! Sources: Cassandra's `tools/stress/…/report/StressMetrics.java`, cql-stress's `stats.rs`. Both count failed
//! operations along, and print no row for an interval without operations (Cassandra) or a row of zeros (Scylla).

use crate::formats::{Findings, Format, Line};
use crate::numbers::{hours_minutes_seconds, number};
use crate::sample::{Clock, Latency, Sample};
use crate::timeline::{Counters, Intervals, PrintedRate, ToolClock};
use crate::totals::{MOST_NAMES, Summary, shortened};

/// Rates are printed without decimals.
const RATE_STEP: f64 = 1.0;

#[derive(Debug, Default)]
pub(crate) struct CassandraStress {
    columns: Option<Columns>,
    counters: Counters,
    clock: ToolClock,
    intervals: Intervals,
    /// Rows of single kinds, until the row about all tells their interval: their own times are counted from the first
    /// operation of their kind. Without that row they are left out, as the whole interval is.
    kinds: Vec<Row>,
}

/// At which places the header has the columns that are read.
#[derive(Debug)]
struct Columns {
    count: usize,
    kind: Option<usize>,
    operations: usize,
    rate: usize,
    time: usize,
    errors: Option<usize>,
    /// In the order of [`LATENCIES`].
    latencies: [Option<usize>; 6],
}

const LATENCIES: [&str; 6] = ["mean", "med", ".95", ".99", ".999", "max"];

#[derive(Debug)]
struct Row {
    kind: Option<String>,
    operations_so_far: f64,
    rate_per_s: Option<f64>,
    time_s: f64,
    errors: f64,
    latency: Latency,
}

impl Format for CassandraStress {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        if let Some(header) = header_cells(line.text) {
            self.columns = Columns::of(&header);
        } else if line.text.trim_start().starts_with("Running ") {
            // With `-rate auto` it measures several times, each from zero.
            self.clock.begin_anew();
            self.counters.clear();
        } else if let Some((label, value)) = line.text.split_once(" : ") {
            result(&label.trim().to_lowercase(), value, findings);
        } else if let Some(columns) = &self.columns
            && let Some(cells) = columns.cells(line.text)
        {
            match columns.row(&cells) {
                Some(row) => self.take(row, line.arrived_s, findings),
                None => findings.totals.unread_rows += 1,
            }
        }
    }
}

impl CassandraStress {
    fn take(&mut self, row: Row, arrived_s: f64, findings: &mut Findings) {
        if row.kind.is_some() {
            if self.kinds.len() < MOST_NAMES {
                self.kinds.push(row);
            }
            return;
        }
        findings.totals.overall.operations = Some(row.operations_so_far);
        let counted = self.counters.difference(None, row.operations_so_far).unwrap_or_default();
        let end_s = self.clock.place(row.time_s, arrived_s);
        let rate = row.rate_per_s.map(|per_s| PrintedRate { per_s, step: RATE_STEP });
        let (begin_s, end_s) = self.intervals.next(end_s, counted, rate);
        let sample = |row: Row, counted: f64| Sample {
            begin_s,
            end_s,
            arrived_s,
            clock: Clock::Tool,
            operations: (counted - row.errors).max(0.0),
            errors: row.errors,
            latency: row.latency,
            kind: row.kind,
        };
        for row in self.kinds.drain(..) {
            if let Some(counted) = self.counters.difference(row.kind.as_ref(), row.operations_so_far) {
                findings.samples.push(sample(row, counted));
            }
        }
        findings.samples.push(sample(row, counted));
    }
}

/// The names of a header's columns; none if the line is no header.
fn header_cells(line: &str) -> Option<Vec<String>> {
    let mut cells: Vec<String> = line.split(',').map(|cell| cell.trim().to_lowercase()).collect();
    // From 3.0 on the header has no comma behind `type`.
    if let Some(rest) = cells.first().and_then(|cell| cell.strip_prefix("type ")).map(str::to_owned) {
        cells.splice(..1, ["type".to_owned(), rest.trim().to_owned()]);
    }
    (cells.iter().any(|cell| cell == "op/s") && cells.iter().any(|cell| cell == "time")).then_some(cells)
}

impl Columns {
    /// None for the comparison of runs that `-rate auto` prints at its end: it has the same columns and an `id`.
    fn of(header: &[String]) -> Option<Self> {
        let place = |name: &str| header.iter().position(|cell| cell == name);
        if place("id").is_some() {
            return None;
        }
        Some(Self {
            count: header.len(),
            kind: place("type"),
            operations: place("total ops").or_else(|| place("ops"))?,
            rate: place("op/s")?,
            time: place("time")?,
            errors: place("errors"),
            latencies: LATENCIES.map(place),
        })
    }

    /// The cells of a row; none if it has not as many as the header.
    ///
    /// Locales with a decimal comma print `7,1` between commas. A comma between two cells is followed by spaces there,
    /// unless a cell is full, so that cells are only joined where there are too many.
    fn cells(&self, line: &str) -> Option<Vec<String>> {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        if cells.len() > self.count {
            let mut joined: Vec<String> = Vec::new();
            for cell in cells {
                match joined.last_mut() {
                    Some(last)
                        if is_number_part(last)
                            && cell.starts_with(|letter: char| letter.is_ascii_digit()) =>
                    {
                        last.push(',');
                        last.push_str(&cell);
                    }
                    _ => joined.push(cell),
                }
            }
            cells = joined;
        }
        (cells.len() == self.count).then_some(cells)
    }

    fn row(&self, cells: &[String]) -> Option<Row> {
        let value = |place: usize| cells.get(place).and_then(|cell| number(cell));
        let kind = self.kind.and_then(|place| cells.get(place)).map(|kind| shortened(kind));
        let [mean, p50, p95, p99, p999, max] = self.latencies.map(|place| place.and_then(value));
        Some(Row {
            kind: kind.filter(|kind| kind != "total"),
            operations_so_far: value(self.operations)?,
            rate_per_s: value(self.rate),
            time_s: value(self.time)?,
            errors: self.errors.and_then(value).unwrap_or_default(),
            latency: Latency { mean, p50, p95, p99, p999, max },
        })
    }
}

fn is_number_part(cell: &str) -> bool {
    let cell = cell.trim_start();
    !cell.is_empty() && cell.bytes().all(|letter| letter.is_ascii_digit() || letter == b',')
}

/// A line of `Results:`: `Op rate  :  6,778 op/s  [WRITE: 6,778 op/s]`, or `op rate  : 16386 [WRITE:16386]`.
fn result(label: &str, value: &str, findings: &mut Findings) {
    let (all, kinds) = value.split_once('[').unwrap_or((value, ""));
    note(label, all, &mut findings.totals.overall);
    for part in kinds.trim_end().trim_end_matches(']').split(", ") {
        if let Some((kind, value)) = part.rsplit_once(':')
            && let Some(summary) = findings.totals.kind(kind)
        {
            note(label, value, summary);
        }
    }
}

fn note(label: &str, value: &str, summary: &mut Summary) {
    let value = value.trim();
    let first = value.split_whitespace().next().unwrap_or_default();
    match label {
        "op rate" => summary.operations_per_s = number(first),
        "latency mean" => summary.latency.mean = number(first),
        "latency median" => summary.latency.p50 = number(first),
        "latency max" => summary.latency.max = number(first),
        "total operations" => summary.operations = number(first),
        "total errors" => summary.errors = number(first),
        "total operation time" => summary.duration_s = hours_minutes_seconds(first),
        _ => {
            let percent =
                label.strip_prefix("latency ").and_then(|label| label.strip_suffix("th percentile"));
            if let Some(percent) = percent.and_then(number) {
                summary.latency.set_percentile(percent, number(first));
            }
        }
    }
}
