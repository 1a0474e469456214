//! `etcdctl check perf`: a verdict. The load is limited to a fixed rate and only its progress in time is shown, so that
//! there is no series.
//!
//! Source: etcd's `etcdctl/ctlv3/command/check.go`.

use crate::formats::{Findings, Format, Line};
use crate::numbers::{milliseconds, number};

#[derive(Debug, Default)]
pub(crate) struct EtcdctlCheckPerf;

impl Format for EtcdctlCheckPerf {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        let text = line.text.trim();
        let (judgement, check) = text.split_once(": ").unwrap_or((text, ""));
        let passed = judgement == "PASS";
        match (judgement, check) {
            ("PASS" | "FAIL", "") => findings.totals.verdict.get_or_insert_default().passed = Some(passed),
            ("PASS" | "FAIL", check) => take(passed, check, findings),
            // This one and `Stddev too high` have been printed without FAIL.
            _ if text.starts_with("Slowest request took too long") || text.starts_with("Stddev too high") => {
                take(false, text, findings);
            }
            _ => {}
        }
    }
}

fn take(passed: bool, text: &str, findings: &mut Findings) {
    findings.totals.check(passed, text);
    let value =
        text.rsplit([' ', ':']).find(|word| !word.is_empty() && *word != "writes/s").unwrap_or_default();
    let overall = &mut findings.totals.overall;
    if text.starts_with("Throughput") {
        overall.operations_per_s = number(value);
    } else if text.starts_with("Slowest") {
        overall.latency.max = milliseconds(value);
    } else if let Some((message, count)) =
        text.strip_prefix("ERROR(").and_then(|text| text.rsplit_once(") -> "))
        && let Ok(count) = count.parse::<u32>()
    {
        *overall.errors.get_or_insert_default() += f64::from(count);
        findings.totals.error_message(message, count.into());
    }
}
