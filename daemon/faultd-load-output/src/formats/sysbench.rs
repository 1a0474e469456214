//! `sysbench` 0.5 to 1.1: the rows of `--report-interval`, and the report. An operation is an event, which is a
//! transaction where there are any.
//!
//! Sources: sysbench's `src/sysbench.c`, `src/lua/internal/sysbench.lua`.

use crate::formats::{Findings, Format, Line};
use crate::numbers::{milliseconds, number};
use crate::sample::{Clock, Latency, Sample};
use crate::timeline::{Intervals, ToolClock};

#[derive(Debug, Default)]
pub(crate) struct Sysbench {
    clock: ToolClock,
    intervals: Intervals,
}

impl Format for Sysbench {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        let text = line.text.trim();
        if let Some((time, row)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            let (Some(milliseconds), Some(rate_per_s)) =
                (milliseconds(time), field(row, "tps:").or_else(|| field(row, "eps:")))
            else {
                // Other lines in brackets are none of its rows.
                findings.totals.unread_rows += u64::from(row.contains("ps:"));
                return;
            };
            self.take(milliseconds / 1e3, rate_per_s, row, line.arrived_s, findings);
        } else if text == "Threads started!" {
            self.clock.begin_anew();
        } else if let Some((label, value)) = text.split_once(':') {
            report(label, value, findings);
        }
    }
}

impl Sysbench {
    fn take(&mut self, time_s: f64, rate_per_s: f64, row: &str, arrived_s: f64, findings: &mut Findings) {
        let end_s = self.clock.place(time_s, arrived_s);
        let (begin_s, end_s) = self.intervals.next(end_s, 0.0, None);
        let length_s = end_s - begin_s;
        // Of ignored errors the transaction is repeated, so that it is not counted with them.
        let errors_per_s = field(row, "err/s:").or_else(|| field(row, "errors:")).unwrap_or_default();
        findings.samples.push(Sample {
            begin_s,
            end_s,
            arrived_s,
            clock: Clock::Tool,
            operations: rate_per_s * length_s,
            errors: errors_per_s * length_s,
            latency: latency(row),
            kind: None,
        });
    }
}

/// `thds: 2 eps: 8122.46 lat (ms,95%): 0.29`: the number behind a label.
fn field(row: &str, label: &str) -> Option<f64> {
    let (_, rest) = row.split_once(label)?;
    number(rest.split_whitespace().next()?.trim_end_matches(','))
}

/// `lat (ms,95%): 0.29`, or in older versions `response time: 41.85ms (95%)`.
fn latency(row: &str) -> Latency {
    let mut latency = Latency::default();
    let found = row
        .split_once("lat (ms,")
        .and_then(|(_, rest)| rest.split_once("%): "))
        .map(|(percent, rest)| (percent, rest.split_whitespace().next().and_then(number)));
    let found = found.or_else(|| {
        let (value, rest) = row.split_once("response time:")?.1.split_once('(')?;
        Some((rest.split_once('%')?.0, milliseconds(value)))
    });
    if let Some((percent, value)) = found
        && let Some(percent) = number(percent)
    {
        latency.set_percentile(percent, value);
    }
    latency
}

fn report(label: &str, value: &str, findings: &mut Findings) {
    let overall = &mut findings.totals.overall;
    let first = value.split_whitespace().next().and_then(number);
    let per_s = value.split_once('(').and_then(|(_, rest)| number(rest.split_whitespace().next()?));
    let duration_s = || milliseconds(value).map(|milliseconds| milliseconds / 1e3);
    match label.trim() {
        "events per second" | "events/s (eps)" => overall.operations_per_s = first,
        "transactions" => (overall.operations, overall.operations_per_s) = (first, per_s),
        "total number of events" if overall.operations.is_none() => overall.operations = first,
        "ignored errors" => overall.errors = first,
        "total time" | "time elapsed" => overall.duration_s = duration_s(),
        "avg" => overall.latency.mean = average(value),
        "max" => overall.latency.max = average(value),
        label => {
            let percent = label.split_once("th percentile").or_else(|| label.split_once(" percentile"));
            let percent =
                percent.and_then(|(percent, _)| number(percent.trim_start_matches("approx.").trim()));
            if let Some(percent) = percent {
                overall.latency.set_percentile(percent, average(value));
            }
        }
    }
}

/// Older versions print a unit, newer ones milliseconds without.
fn average(value: &str) -> Option<f64> {
    milliseconds(value).or_else(|| number(value))
}
