//! `redis-benchmark` 5 to 7 and Valkey's: the rate that it shows four times a second, the report of each test, the
//! line of `-q` and the table of `--csv` (which has no series).
//!
//! Source: redis' `src/redis-benchmark.c`, `showThroughput` and `showLatencyReport`. It prints no time: rows are 250 ms
//! apart, or more if it is late, and the remainder of a test is what its report has and the rows have not.

use crate::formats::{Findings, Format, Line};
use crate::numbers::number;
use crate::sample::{Clock, Latency, Sample};
use crate::totals::{Summary, shortened};

/// How often the rate is shown, in seconds.
const TICK_S: f64 = 0.25;

#[derive(Debug, Default)]
pub(crate) struct RedisBenchmark {
    test: Option<Test>,
    /// Of the latest tick or remainder, in seconds since the command's start.
    end_s: Option<f64>,
    /// The test whose report is being read, and where its latencies are.
    report: Option<String>,
    latency_columns: Vec<String>,
    csv_columns: Vec<String>,
}

/// The test whose rate is shown.
#[derive(Debug)]
struct Test {
    name: String,
    operations: f64,
    seconds: f64,
}

impl Format for RedisBenchmark {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        let text = line.text.trim();
        if let Some((name, tick)) = text.split_once(": rps=") {
            self.tick(name, tick, line.arrived_s, findings);
        } else if text.starts_with('"') {
            self.csv(text, findings);
        } else if let Some(name) = text.strip_prefix("====== ").and_then(|text| text.strip_suffix(" ======"))
        {
            self.report = Some(shortened(name));
        } else if let Some((name, rest)) = quiet_report(text) {
            quiet(name, rest, findings);
            self.test = None;
        } else {
            self.report_line(text, line.arrived_s, findings);
        }
    }

    fn end(&mut self, findings: &mut Findings) {
        let totals = &mut findings.totals;
        // One after the other, so that durations add up; latencies do not.
        let sum = |of: fn(&Summary) -> Option<f64>| totals.kinds.values().map(of).sum::<Option<f64>>();
        if let Some(only) = totals.kinds.values().next().filter(|_| totals.kinds.len() == 1) {
            totals.overall = *only;
        } else if !totals.kinds.is_empty() {
            let operations = sum(|kind| kind.operations);
            let duration_s = sum(|kind| kind.duration_s);
            let both = operations.zip(duration_s).filter(|(_, duration_s)| *duration_s > 0.0);
            let operations_per_s = both.map(|(operations, duration_s)| operations / duration_s);
            totals.overall = Summary { operations, duration_s, operations_per_s, ..Summary::default() };
        }
    }
}

impl RedisBenchmark {
    /// `SET` and `77808.8 (overall: 77844.6) avg_msec=0.074 (overall: 0.074)`.
    fn tick(&mut self, name: &str, tick: &str, arrived_s: f64, findings: &mut Findings) {
        let Some(rate_per_s) = first_number(tick) else {
            findings.totals.unread_rows += 1;
            return;
        };
        let mean = tick.split_once("avg_msec=").and_then(|(_, rest)| first_number(rest));
        let latency = Latency { mean, ..Latency::default() };
        let name = shortened(name);
        let same = self.test.take().filter(|test| test.name == name);
        let mut test = same.unwrap_or(Test { name, operations: 0.0, seconds: 0.0 });
        let previous_end_s = match self.end_s {
            // The very first one comes when the first test begins, and says nothing yet.
            None if rate_per_s <= 0.0 => {
                self.end_s = Some(arrived_s);
                self.test = Some(test);
                return;
            }
            previous => previous.unwrap_or_default(),
        };
        let (begin_s, end_s, operations) = if test.seconds > 0.0 {
            let end_s = arrived_s.max(previous_end_s + TICK_S);
            (previous_end_s, end_s, rate_per_s * (end_s - previous_end_s))
        } else {
            // The tick began before the test, which the rate over the test tells.
            let operations = rate_per_s * TICK_S;
            let overall_per_s =
                tick.split_once("(overall: ").and_then(|(_, rest)| number(rest.split(')').next()?));
            let length_s = overall_per_s.filter(|rate| *rate > 0.0).map_or(TICK_S, |rate| operations / rate);
            let end_s = arrived_s.max(previous_end_s + length_s);
            (end_s - length_s, end_s, operations)
        };
        test.operations += operations;
        test.seconds += end_s - begin_s;
        self.end_s = Some(end_s);
        let kind = Some(test.name.clone());
        self.test = Some(test);
        let clock = Clock::Command;
        findings.samples.push(Sample {
            begin_s,
            end_s,
            arrived_s,
            clock,
            operations,
            errors: 0.0,
            latency,
            kind,
        });
    }

    fn report_line(&mut self, text: &str, arrived_s: f64, findings: &mut Findings) {
        let Some(name) = self.report.clone() else { return };
        let words: Vec<&str> = text.split_whitespace().collect();
        if let [operations, "requests", "completed", "in", seconds, "seconds", ..] = words.as_slice() {
            let (Some(operations), Some(seconds)) = (number(operations), number(seconds)) else { return };
            self.remainder(&name, operations, seconds, arrived_s, findings);
            if let Some(summary) = findings.totals.kind(&name) {
                *summary = Summary {
                    operations: Some(operations),
                    duration_s: Some(seconds),
                    operations_per_s: (seconds > 0.0).then(|| operations / seconds),
                    ..Summary::default()
                };
            }
            return;
        }
        let Some(summary) = findings.totals.kind(&name) else { return };
        if let ["throughput", "summary:", rate, ..] | [rate, "requests", "per", "second"] = words.as_slice() {
            summary.operations_per_s = number(rate);
        } else if let Some((percent, rest)) = text.split_once("% <= ") {
            // The finer distribution comes first, and its first value at or above is the percentile.
            if summary.latency.p999.is_none() && number(percent).is_some_and(|percent| percent >= 99.9) {
                summary.latency.p999 = first_number(rest);
            }
        } else if words.contains(&"p50") && words.contains(&"max") {
            self.latency_columns = words.iter().map(|word| (*word).to_owned()).collect();
        } else if !self.latency_columns.is_empty() && words.len() == self.latency_columns.len() {
            for (column, cell) in std::mem::take(&mut self.latency_columns).iter().zip(words) {
                set_latency(&mut summary.latency, column, number(cell));
            }
        }
    }

    /// What the report of a test has and the rows had not: the time after the last of them.
    fn remainder(
        &mut self,
        name: &str,
        operations: f64,
        seconds: f64,
        arrived_s: f64,
        findings: &mut Findings,
    ) {
        let Some(test) = self.test.take().filter(|test| test.name == name) else { return };
        let operations = operations - test.operations;
        if operations <= 0.0 {
            return;
        }
        let begin_s = self.end_s.unwrap_or(arrived_s);
        let end_s = begin_s + (seconds - test.seconds).max(0.0);
        self.end_s = Some(end_s);
        findings.samples.push(Sample::of_operations(begin_s, end_s, arrived_s, operations, test.name));
    }

    /// Versions before 7 print a test and its rate, without a header.
    fn csv(&mut self, text: &str, findings: &mut Findings) {
        let cells: Vec<&str> = text.split("\",\"").map(|cell| cell.trim_matches('"')).collect();
        let Some((name, values)) = cells.split_first() else { return };
        if *name == "test" {
            self.csv_columns = values.iter().map(|cell| (*cell).to_owned()).collect();
            return;
        }
        let Some(summary) = findings.totals.kind(name) else { return };
        if self.csv_columns.is_empty() {
            summary.operations_per_s = values.first().and_then(|cell| number(cell));
        }
        for (column, cell) in self.csv_columns.iter().zip(values) {
            match column.strip_suffix("_latency_ms") {
                Some(column) => set_latency(&mut summary.latency, column, number(cell)),
                None if column == "rps" => summary.operations_per_s = number(cell),
                None => {}
            }
        }
    }
}

fn set_latency(latency: &mut Latency, column: &str, milliseconds: Option<f64>) {
    match column {
        "avg" => latency.mean = milliseconds,
        "max" => latency.max = milliseconds,
        _ => {
            if let Some(percent) = column.strip_prefix('p').and_then(number) {
                latency.set_percentile(percent, milliseconds);
            }
        }
    }
}

/// `SET` and `75187.97 requests per second, p50=0.071 msec`.
fn quiet_report(text: &str) -> Option<(&str, &str)> {
    let (before, _) = text.split_once(" requests per second")?;
    let (name, rate) = before.rsplit_once(": ")?;
    number(rate).filter(|_| !name.ends_with("throughput summary"))?;
    text.get(name.len() + 2..).map(|rest| (name, rest))
}

fn quiet(name: &str, rest: &str, findings: &mut Findings) {
    let Some(summary) = findings.totals.kind(name) else { return };
    *summary = Summary { operations_per_s: first_number(rest), ..Summary::default() };
    summary.latency.p50 = rest.split_once("p50=").and_then(|(_, rest)| first_number(rest));
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next().and_then(number)
}
