//! `wrk` and `wrk2`: a summary and no series.
//!
//! Source: wrk's `src/wrk.c`, `src/units.c`.

use crate::formats::{Findings, Format, Line};
use crate::numbers::{milliseconds, number, number_with_magnitude};

#[derive(Debug, Default)]
pub(crate) struct Wrk;

impl Format for Wrk {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        let overall = &mut findings.totals.overall;
        let words: Vec<&str> = line.text.split_whitespace().collect();
        match words.as_slice() {
            ["Latency", "Distribution", ..] => {}
            ["Latency", mean, _, max, ..] => {
                (overall.latency.mean, overall.latency.max) = (milliseconds(mean), milliseconds(max));
            }
            [percent, value] if percent.ends_with('%') => {
                if let Some(percent) = number(percent.trim_end_matches('%')) {
                    overall.latency.set_percentile(percent, milliseconds(value));
                }
            }
            [operations, "requests", "in", duration, ..] => {
                overall.operations = number_with_magnitude(operations);
                let duration = milliseconds(duration.trim_end_matches(','));
                overall.duration_s = duration.map(|milliseconds| milliseconds / 1e3);
            }
            ["Requests/sec:", rate] => overall.operations_per_s = number(rate),
            ["Socket", "errors:", counts @ ..] => {
                for (what, count) in counts.iter().zip(counts.iter().skip(1)).step_by(2) {
                    add_errors(what, count.trim_end_matches(','), findings);
                }
            }
            ["Non-2xx", "or", "3xx", "responses:", count] => {
                add_errors("Non-2xx or 3xx responses", count, findings);
            }
            _ => {}
        }
    }
}

fn add_errors(what: &str, count: &str, findings: &mut Findings) {
    let Ok(count) = count.parse::<u32>() else { return };
    *findings.totals.overall.errors.get_or_insert_default() += f64::from(count);
    if count > 0 {
        findings.totals.error_message(what, count.into());
    }
}
