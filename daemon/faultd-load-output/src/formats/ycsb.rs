//! YCSB: the status lines of `-s`, and the summary of its text exporter.
//!
//! Sources: YCSB's `StatusThread.java`, `OneMeasurementHdrHistogram.java`, `TextMeasurementsExporter.java`. The status
//! counts all operations since the start, failed ones along; a bracket for each kind is about the interval. Latencies
//! are in microseconds. No number has thousands, so that a comma is a decimal comma.

use crate::formats::{Findings, Format, Line};
use crate::numbers::{hours_minutes_seconds, number_without_thousands};
use crate::parser::Stream;
use crate::sample::{Clock, Latency, Sample};
use crate::timeline::{Counter, Intervals, ToolClock};
use crate::totals::{MOST_NAMES, shortened};

const FAILED: &str = "-FAILED";
const DAY_S: f64 = 86_400.0;

#[derive(Debug, Default)]
pub(crate) struct Ycsb {
    counter: Counter,
    clock: ToolClock,
    intervals: Intervals,
    anchor: Option<Anchor>,
    /// The status may be printed to both, and those of standard output come later.
    status_on_error: bool,
}

/// A status line by which wall-clock times become times since the start.
#[derive(Debug)]
struct Anchor {
    of_day_s: f64,
    time_s: f64,
}

/// What a bracket of a status line says.
struct Kind {
    name: String,
    count: f64,
    latency: Latency,
}

impl Format for Ycsb {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        let text = line.text.trim();
        if let Some(rest) = text.strip_prefix('[') {
            summary(rest, findings);
        } else if let Some((before, status)) = text.split_once(" sec: ") {
            self.status_on_error |= line.stream == Stream::Error;
            if self.status_on_error == (line.stream == Stream::Error) {
                self.status(before, status, line.arrived_s, findings);
            }
        }
    }
}

impl Ycsb {
    /// `2020-01-10 16:21:40:213 10` and `15451 operations; 1545.1 current ops/sec; est … [INSERT: …]`. The first line
    /// has no rate, and versions before 0.2 no date.
    fn status(&mut self, before: &str, status: &str, arrived_s: f64, findings: &mut Findings) {
        let mut words = before.split_whitespace().rev();
        let elapsed_s = words.next().and_then(number_without_thousands);
        let of_day_s = words.next().and_then(time_of_day_s);
        let count = status.split_once(" operations").and_then(|(count, _)| number_without_thousands(count));
        let (Some(elapsed_s), Some(count)) = (elapsed_s, count) else {
            findings.totals.unread_rows += 1;
            return;
        };
        let time_s = self.precise_s(elapsed_s, of_day_s);
        let end_s = self.clock.place(time_s, arrived_s);
        let counted = self.counter.difference(count);
        let (begin_s, end_s) = self.intervals.next(end_s, counted, None);
        let kinds = kinds(status);
        let errors: f64 =
            kinds.iter().filter(|kind| kind.name.ends_with(FAILED)).map(|kind| kind.count).sum();
        let sample = |operations: f64, errors: f64, latency: Latency, kind: Option<String>| Sample {
            begin_s,
            end_s,
            arrived_s,
            clock: Clock::Tool,
            operations,
            errors,
            latency,
            kind,
        };
        let latency = together(&kinds);
        if counted > 0.0 || errors > 0.0 || end_s > begin_s {
            findings.samples.push(sample((counted - errors).max(0.0), errors, latency, None));
        }
        for kind in kinds {
            let sample = match kind.name.strip_suffix(FAILED) {
                Some(name) => sample(0.0, kind.count, Latency::default(), Some(name.to_owned())),
                None => sample(kind.count, 0.0, kind.latency, Some(kind.name)),
            };
            findings.samples.push(sample);
        }
    }

    /// The time since the start is printed in whole seconds, rounded down, so that two lines a second apart may be
    /// zero or two seconds apart in it. The wall clock has milliseconds, and is taken as long as it agrees.
    fn precise_s(&mut self, elapsed_s: f64, of_day_s: Option<f64>) -> f64 {
        let Some(of_day_s) = of_day_s else { return elapsed_s };
        if let Some(anchor) = &self.anchor {
            let precise_s = anchor.time_s + (of_day_s - anchor.of_day_s).rem_euclid(DAY_S);
            let whole_days_s = ((elapsed_s - precise_s) / DAY_S).round() * DAY_S;
            let precise_s = precise_s + whole_days_s;
            if (precise_s - elapsed_s).abs() <= 1.0 {
                return precise_s;
            }
        }
        self.anchor = Some(Anchor { of_day_s, time_s: elapsed_s });
        elapsed_s
    }
}

/// `16:21:40:213`
fn time_of_day_s(text: &str) -> Option<f64> {
    let (clock, milliseconds) = text.rsplit_once(':')?;
    if clock.matches(':').count() != 2 {
        return None;
    }
    Some(hours_minutes_seconds(clock)? + number_without_thousands(milliseconds)? / 1e3)
}

/// `[READ: Count=452553, Max=2329, Min=1, Avg=19,59, 90=45, 99=69, 99.9=108, 99.99=602] [UPDATE: …]`
fn kinds(status: &str) -> Vec<Kind> {
    let brackets =
        status.split('[').skip(1).filter_map(|part| part.split_once(']')).map(|(bracket, _)| bracket);
    brackets.filter_map(kind).take(MOST_NAMES).collect()
}

fn kind(bracket: &str) -> Option<Kind> {
    let (name, fields) = bracket.split_once(": ")?;
    let mut kind = Kind { name: shortened(name), count: 0.0, latency: Latency::default() };
    for (name, value) in fields.split(", ").filter_map(|field| field.split_once('=')) {
        let value = number_without_thousands(value);
        let milliseconds = value.map(|microseconds| microseconds / 1e3);
        match name {
            "Count" => kind.count = value?,
            "Max" => kind.latency.max = milliseconds,
            "Avg" => kind.latency.mean = milliseconds,
            _ => {
                if let Some(percent) = number_without_thousands(name) {
                    kind.latency.set_percentile(percent, milliseconds);
                }
            }
        }
    }
    // A kind without an operation has the largest and smallest numbers of Java as its minimum and maximum.
    if kind.count <= 0.0 {
        kind.latency = Latency::default();
    }
    Some(kind)
}

/// Whether a kind is of the workload, and not counted within another one.
fn is_operation(name: &str) -> bool {
    !(name.ends_with(FAILED)
        || name.starts_with("Intended-")
        || matches!(name, "CLEANUP" | "READ-MODIFY-WRITE"))
}

/// The latency of all kinds: percentiles only if there is just one.
fn together(kinds: &[Kind]) -> Latency {
    let kinds: Vec<&Kind> =
        kinds.iter().filter(|kind| is_operation(&kind.name) && kind.count > 0.0).collect();
    if let [kind] = kinds.as_slice() {
        return kind.latency;
    }
    let count: f64 = kinds.iter().map(|kind| kind.count).sum();
    let sum: Option<f64> = kinds.iter().map(|kind| kind.latency.mean.map(|mean| mean * kind.count)).sum();
    let max = kinds.iter().filter_map(|kind| kind.latency.max).reduce(f64::max);
    Latency { mean: sum.filter(|_| count > 0.0).map(|sum| sum / count), max, ..Latency::default() }
}

/// `OVERALL], Throughput(ops/sec), 9777.99`
fn summary(line: &str, findings: &mut Findings) {
    let Some((kind, rest)) = line.split_once("], ") else { return };
    let Some((name, value)) = rest.split_once(", ") else { return };
    let value = number_without_thousands(value);
    let milliseconds = value.map(|microseconds| microseconds / 1e3);
    let overall = &mut findings.totals.overall;
    if kind == "OVERALL" {
        match name {
            "RunTime(ms)" => overall.duration_s = milliseconds,
            "Throughput(ops/sec)" => overall.operations_per_s = value,
            _ => {}
        }
        return;
    }
    if kind.starts_with("TOTAL_GC") || kind == "CLEANUP" {
        return;
    }
    if is_operation(kind) {
        match name {
            "Operations" => *overall.operations.get_or_insert_default() += value.unwrap_or_default(),
            _ if name.starts_with("Return=") && name != "Return=OK" => {
                *overall.errors.get_or_insert_default() += value.unwrap_or_default();
            }
            _ => {}
        }
    }
    let Some(summary) = findings.totals.kind(kind) else { return };
    match name {
        "Operations" => summary.operations = value,
        "AverageLatency(us)" => summary.latency.mean = milliseconds,
        "MaxLatency(us)" => summary.latency.max = milliseconds,
        "Return=OK" => {}
        _ if name.starts_with("Return=") => {
            *summary.errors.get_or_insert_default() += value.unwrap_or_default();
        }
        _ => {
            let percent =
                name.strip_suffix("PercentileLatency(us)").map(|percent| percent.trim_end_matches("th"));
            if let Some(percent) = percent.and_then(number_without_thousands) {
                summary.latency.set_percentile(percent, milliseconds);
            }
        }
    }
}
