//! `kafka-producer-perf-test`: a row about every five seconds, and a total.
//!
//! Source: Kafka's `tools/…/ProducerPerformance.java`, `printWindow` and `printTotal`. There is no time in a row, but
//! records divided by rate is how long it covers. A row is only printed when a record is done, so that one that covers
//! a stall is longer; failed records are stack traces in between.

use crate::formats::{Findings, Format, Line};
use crate::numbers::number;
use crate::sample::{Clock, Latency, Sample};
use crate::timeline::{Intervals, PrintedRate};
use crate::totals::Summary;

/// Rates of rows are printed with one decimal.
const RATE_STEP: f64 = 0.1;

#[derive(Debug, Default)]
pub(crate) struct KafkaProducerPerfTest {
    intervals: Intervals,
    records: f64,
    seconds: f64,
    errors: f64,
    errors_of_row: f64,
}

struct Row {
    records: f64,
    rate_per_s: f64,
    latency: Latency,
    is_total: bool,
}

impl Format for KafkaProducerPerfTest {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        let text = line.text.trim();
        // The first line of a stack trace; causes are indented or begin with `Caused by`.
        if let Some(error) = line.text.strip_prefix("org.apache.kafka.common.errors.") {
            self.errors_of_row += 1.0;
            self.errors += 1.0;
            findings.totals.error_message(error.split(':').next().unwrap_or(error), 1);
            findings.totals.overall.errors = Some(self.errors);
        } else if text.contains(" records sent, ") {
            match row(text) {
                Some(row) if row.is_total => self.total(&row, line.arrived_s, findings),
                Some(row) => self.take(&row, line.arrived_s, findings),
                None => findings.totals.unread_rows += 1,
            }
        }
    }
}

impl KafkaProducerPerfTest {
    fn take(&mut self, row: &Row, arrived_s: f64, findings: &mut Findings) {
        let length_s = if row.rate_per_s > 0.0 { row.records / row.rate_per_s } else { 0.0 };
        // Output that comes all at once has no arrivals to go by.
        let end_s = arrived_s.max(self.intervals.previous_end_s() + length_s);
        let rate = PrintedRate { per_s: row.rate_per_s, step: RATE_STEP };
        let (begin_s, end_s) = self.intervals.next(end_s, row.records, Some(rate));
        self.records += row.records;
        self.seconds += end_s - begin_s;
        self.push(row.records, row.latency, (begin_s, end_s), arrived_s, findings);
    }

    /// The last window is not printed as a row; it is what the total has and the rows had not.
    fn total(&mut self, row: &Row, arrived_s: f64, findings: &mut Findings) {
        let duration_s = (row.rate_per_s > 0.0).then(|| row.records / row.rate_per_s);
        let errors = findings.totals.overall.errors;
        findings.totals.overall = Summary {
            operations: Some(row.records),
            errors,
            duration_s,
            operations_per_s: Some(row.rate_per_s),
            latency: row.latency,
        };
        let remainder_s = duration_s.map_or(0.0, |duration_s| (duration_s - self.seconds).max(0.0));
        let records = row.records - self.records;
        if records > 0.0 {
            let end_s = arrived_s.max(self.intervals.previous_end_s() + remainder_s);
            let begin_s = end_s - remainder_s;
            self.intervals.next(end_s, records, None);
            self.push(records, Latency::default(), (begin_s, end_s), arrived_s, findings);
        }
        // Another run may follow.
        (self.records, self.seconds) = (0.0, 0.0);
    }

    fn push(
        &mut self,
        records: f64,
        latency: Latency,
        (begin_s, end_s): (f64, f64),
        arrived_s: f64,
        findings: &mut Findings,
    ) {
        findings.samples.push(Sample {
            begin_s,
            end_s,
            arrived_s,
            clock: Clock::Command,
            operations: records,
            errors: std::mem::take(&mut self.errors_of_row),
            latency,
            kind: None,
        });
    }
}

/// `501 records sent, 100.2 records/sec (0.01 MB/sec), 4.1 ms avg latency, 284.0 ms max latency.` and in the total
/// `…, 590 ms 50th, 1010 ms 95th, 1150 ms 99th, 1200 ms 99.9th.` Old versions print no unit for the maximum.
fn row(text: &str) -> Option<Row> {
    let mut row = Row { records: 0.0, rate_per_s: 0.0, latency: Latency::default(), is_total: false };
    for part in text.trim_end_matches('.').split(", ") {
        let (value, what) = part.trim().split_once(' ')?;
        let what = what.strip_prefix("ms ").unwrap_or(what);
        match what {
            "records sent" => row.records = number(value)?,
            "avg latency" => row.latency.mean = number(value),
            "max latency" => row.latency.max = number(value),
            _ if what.starts_with("records/sec") => row.rate_per_s = number(value)?,
            _ => {
                if let Some(percent) = what.strip_suffix("th").and_then(number) {
                    row.is_total = true;
                    row.latency.set_percentile(percent, number(value));
                }
            }
        }
    }
    Some(row)
}
