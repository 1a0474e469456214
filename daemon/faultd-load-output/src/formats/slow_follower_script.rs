//! The summary of `run_slowfollower.sh` and its kin, in both spellings. They print no series.

use crate::formats::{Findings, Format, Line};
use crate::numbers::{milliseconds, number};

#[derive(Debug, Default)]
pub(crate) struct SlowFollowerScript;

impl Format for SlowFollowerScript {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        let Some((label, value)) = line.text.split_once(" : ") else { return };
        let overall = &mut findings.totals.overall;
        match label.trim() {
            "Latency median (p50)" => overall.latency.p50 = milliseconds(value),
            "Latency max" => overall.latency.max = milliseconds(value),
            "Total puts" => overall.operations = number(value),
            "Elapsed (ms)" => overall.duration_s = number(value).map(|milliseconds| milliseconds / 1e3),
            "Avg throughput (ops/sec)" | "Throughput (ops/sec)" => overall.operations_per_s = number(value),
            label => {
                let percent =
                    label.strip_prefix("Latency ").and_then(|label| label.strip_suffix("th percentile"));
                if let Some(percent) = percent.and_then(number) {
                    overall.latency.set_percentile(percent, milliseconds(value));
                }
            }
        }
    }
}
