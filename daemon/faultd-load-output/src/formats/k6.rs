//! `k6` 0.x to 2.x: the progress of iterations while it runs without a terminal, and the summary.
//!
//! Sources: k6's `execution/scheduler.go`, `internal/js/summary.js`. With HTTP an operation of the summary is a
//! request, otherwise an iteration; the series is of iterations.

use crate::formats::{Findings, Format, Line};
use crate::numbers::{milliseconds, number};
use crate::sample::{Clock, Latency, Sample};
use crate::timeline::{Counter, Intervals, ToolClock};

#[derive(Debug, Default)]
pub(crate) struct K6 {
    complete: Counter,
    interrupted: Counter,
    clock: ToolClock,
    intervals: Intervals,
    has_requests: bool,
}

impl Format for K6 {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        let text = line.text.trim();
        if text.ends_with(" interrupted iterations") {
            if self.progress(text, line.arrived_s, findings).is_none() {
                findings.totals.unread_rows += 1;
            }
        } else if let Some((name, values)) = text.split_once(": ") {
            self.metric(name.trim_end_matches('.'), values, findings);
        }
    }
}

impl K6 {
    /// `running (0m05.0s), 10/10 VUs, 123 complete and 0 interrupted iterations`; the time is longer for longer runs.
    fn progress(&mut self, text: &str, arrived_s: f64, findings: &mut Findings) -> Option<()> {
        let (_, rest) = text.split_once('(')?;
        let (time, rest) = rest.split_once(')')?;
        let (before, after) = rest.split_once(" complete and ")?;
        let complete = number(before.rsplit(' ').next()?)?;
        let interrupted = number(after.split(' ').next()?)?;
        let end_s = self.clock.place(milliseconds(time)? / 1e3, arrived_s);
        let (begin_s, end_s) = self.intervals.next(end_s, 0.0, None);
        findings.samples.push(Sample {
            begin_s,
            end_s,
            arrived_s,
            clock: Clock::Tool,
            operations: self.complete.difference(complete),
            errors: self.interrupted.difference(interrupted),
            latency: Latency::default(),
            kind: None,
        });
        Some(())
    }

    fn metric(&mut self, name: &str, values: &str, findings: &mut Findings) {
        let overall = &mut findings.totals.overall;
        let words: Vec<&str> = values.split_whitespace().collect();
        match name {
            "http_reqs" | "iterations" if name == "http_reqs" || !self.has_requests => {
                self.has_requests |= name == "http_reqs";
                overall.operations = words.first().and_then(|count| number(count));
                overall.operations_per_s =
                    words.get(1).and_then(|rate| rate.strip_suffix("/s")).and_then(number);
            }
            "http_req_duration" => overall.latency = latency(&words),
            "iteration_duration" if overall.latency.is_empty() => overall.latency = latency(&words),
            "http_req_failed" => overall.errors = failed(&words),
            _ => {}
        }
    }
}

/// `avg=34.8ms min=5.54ms med=20.97ms max=925.05ms p(90)=27.68ms p(95)=31.5ms`
fn latency(words: &[&str]) -> Latency {
    let mut latency = Latency::default();
    for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
        let value = milliseconds(value);
        match name {
            "avg" => latency.mean = value,
            "med" => latency.p50 = value,
            "max" => latency.max = value,
            _ => {
                let percent =
                    name.strip_prefix("p(").and_then(|name| name.strip_suffix(')')).and_then(number);
                if let Some(percent) = percent {
                    latency.set_percentile(percent, value);
                }
            }
        }
    }
    latency
}

/// `6.75% 10 out of 148`, or before 1.0 `6.75% ✓ 10 ✗ 138`, where the mark of success is for requests that failed.
fn failed(words: &[&str]) -> Option<f64> {
    match words {
        [_, failed, "out", "of", ..] | [_, "\u{2713}", failed, ..] => number(failed),
        _ => None,
    }
}
