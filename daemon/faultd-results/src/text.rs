//! The summary for the terminal.

use std::fmt::Write as _;

use crate::{
    metadata::Metadata,
    phase::Phase,
    summary::{Finding, PhaseSummary, ProcessProof, Status, Summary},
    timeseries::LatencyMilliseconds,
};

/// The phases as the person who reads the table thinks of them.
const TABLE: [(Phase, &str); 3] =
    [(Phase::Baseline, "before"), (Phase::Injection, "during"), (Phase::Recovery, "after")];

/// The summary of a run, some 15 lines without colour. `folder` is where its files are.
#[must_use]
pub fn summary(metadata: &Metadata, summary: &Summary, folder: &str) -> String {
    let mut text = format!("{}: {}\n", metadata.label, summary.status.name());
    if let Some(reason) = &summary.tainted {
        line(&mut text, "tainted", reason);
    }
    if let Some(stopped) = &summary.stopped {
        line(&mut text, "stopped", &format!("by {}: {}", stopped.condition, stopped.reason));
    }
    line(&mut text, "fault", &metadata.faults_in_words());
    for (backend, reason) in metadata.backends() {
        line(&mut text, "backend", &format!("{backend} ({reason})"));
    }
    line(&mut text, "output", folder);
    text.push('\n');
    line(&mut text, "latency", &latency_in_words(summary.totals.latency.as_ref()));
    line(&mut text, "operations", &operations_in_words(summary));
    line(&mut text, "throughput", &format!("{:.1} ops/s mean", summary.totals.mean_ops_per_s));
    text.push('\n');
    phase_table(&mut text, summary);
    text.push('\n');
    effect_lines(&mut text, summary);
    for proof in &summary.processes {
        line(&mut text, "measured", &process_proof(proof));
    }
    if let Some(changes) = leader_changes(summary) {
        line(&mut text, "leader", &changes);
    }
    for found in &summary.findings {
        line(&mut text, "found", &finding(found));
    }
    text
}

/// What was measured of a fault on processes, such as `20 pauses, 4.01 s in all, on etcd/etcd1`.
fn process_proof(proof: &ProcessProof) -> String {
    let ProcessProof {
        target,
        pauses,
        paused_s,
        unconfirmed_pauses,
        periods,
        throttled_periods,
        throttled_s,
        ..
    } = proof;
    if proof.kind == "pause" {
        let pause = if *pauses == 1 { "pause" } else { "pauses" };
        let unconfirmed = match unconfirmed_pauses {
            0 => String::new(),
            count => format!(" ({count} more were not confirmed)"),
        };
        return format!("{pauses} {pause}, {paused_s:.2} s in all, on {target}{unconfirmed}");
    }
    format!("held back in {throttled_periods} of {periods} periods, {throttled_s:.2} s in all, on {target}")
}

/// Who came to lead and when: `etcd2 from 21.5 s, etcd0 from 40.0 s`, the first few of many.
fn leader_changes(summary: &Summary) -> Option<String> {
    const SHOWN: usize = 4;
    let changes = &summary.leader_changes;
    let shown: Vec<String> = changes
        .iter()
        .take(SHOWN)
        .map(|change| format!("{} from {:.1} s", change.member, change.t_s))
        .collect();
    let more = match changes.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more times another"),
    };
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}

/// A finding, such as `delay at 10 % degradation: 0.52 ms (0.49 to 0.55)`.
#[must_use]
pub fn finding(found: &Finding) -> String {
    let Finding { name, value, low, high, unit } = found;
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    format!("{name}: {}{unit} ({} to {})", digits(*value), digits(*low), digits(*high))
}

/// Three digits that say something, without an exponent.
fn digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let before_point = value.abs().log10().floor();
    // Between 0 and 12 places: the cast cannot lose anything.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to small whole numbers"
    )]
    let places = (2.0 - before_point).clamp(0.0, 12.0) as usize;
    format!("{value:.places$}")
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "  {name:<12} {value}");
}

fn latency_in_words(latency: Option<&LatencyMilliseconds>) -> String {
    latency.map_or_else(
        || "none: no operation succeeded".to_owned(),
        |l| {
            let known = [("p50", l.p50), ("p95", l.p95), ("p99", l.p99), ("max", l.max)].into_iter();
            let known = known.filter_map(|(name, value)| Some(format!("{name} {:.1} ms", value?)));
            known.collect::<Vec<_>>().join(", ")
        },
    )
}

fn operations_in_words(summary: &Summary) -> String {
    let totals = &summary.totals;
    format!("{} in {} s (errors: {})", totals.operations, totals.elapsed_s, totals.errors)
}

fn phase_table(text: &mut String, summary: &Summary) {
    let _ = writeln!(
        text,
        "  {:<7} {:>7} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>8}",
        "", "seconds", "ops/s", "sd", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors", "stalled"
    );
    for (phase, name) in TABLE {
        if let Some(phase) = summary.phase(phase) {
            phase_line(text, name, phase);
        }
    }
}

fn phase_line(text: &mut String, name: &str, phase: &PhaseSummary) {
    let latency = |value: fn(&LatencyMilliseconds) -> Option<f64>| {
        phase.latency.as_ref().and_then(value).map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
    };
    let _ = writeln!(
        text,
        "  {name:<7} {:>7} {:>9.1} {:>8.1} {:>8} {:>8} {:>8} {:>8} {:>7} {:>8}",
        phase.seconds,
        phase.mean_ops_per_s,
        phase.sd_ops_per_s,
        latency(|l| l.p50),
        latency(|l| l.p95),
        latency(|l| l.p99),
        latency(|l| l.max),
        phase.errors,
        phase.stalled_seconds,
    );
}

fn effect_lines(text: &mut String, summary: &Summary) {
    let Some(window) = &summary.fault_window else {
        return line(text, "degradation", "no fault");
    };
    let effect = &summary.effect;
    let no_baseline = "unknown: the run has no throughput before the fault to compare with";
    let percent = |share: Option<f64>, what: &str| {
        share.map_or_else(|| no_baseline.to_owned(), |share| format!("{:.1} % {what}", share * 100.0))
    };
    line(text, "degradation", &percent(effect.degradation, "of the throughput before"));
    if summary.phase(Phase::Recovery).is_some() {
        line(text, "residual", &percent(effect.residual, "of the throughput before"));
        line(text, "recovery", &recovery_in_words(summary));
    }
    match window.time_to_effect_s() {
        Some(seconds) => line(text, "in effect", &format!("{:.1} ms after the command", seconds * 1e3)),
        None => line(text, "in effect", "never: the fault did not take hold"),
    }
}

fn recovery_in_words(summary: &Summary) -> String {
    match summary.effect.recovery_time_s {
        Some(seconds) if seconds < 1.0 => "within 1 s after the fault was cleared".to_owned(),
        Some(seconds) => format!("{seconds:.1} s after the fault was cleared"),
        None if summary.effect.residual.is_none() => "unknown".to_owned(),
        None if summary.status == Status::Done => "not before the end of the run".to_owned(),
        None => "not while it was measured".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::FaultWindow,
        metadata::tests::slow_leader,
        recorder::PhaseLatencies,
        summary::{Measurement, tests::rows},
    };
    use Phase::{Baseline, Injection, Recovery};

    fn latency(p50: f64, max: f64) -> LatencyMilliseconds {
        let [mean, p50, p95, p99, p999, max] = [p50, p50, p50 + 1.0, p50 + 2.0, p50 + 3.0, max].map(Some);
        LatencyMilliseconds { mean, p50, p95, p99, p999, max }
    }

    fn measured(seconds: &[(Phase, u64)], fault_window: Option<FaultWindow>) -> Summary {
        let phases = [(Baseline, latency(7.0, 12.0)), (Injection, latency(206.5, 1030.0))];
        Summary::of(Measurement {
            status: Status::Done,
            tainted: None,
            rows: &rows(0, seconds),
            latencies: &PhaseLatencies { measured: Some(latency(7.25, 1030.0)), phases: phases.into() },
            fault_window,
            rules: Vec::new(),
            findings: Vec::new(),
        })
    }

    const WINDOW: FaultWindow = FaultWindow {
        commanded_s: 2.0,
        effective_s: Some(2.0025),
        clear_commanded_s: Some(4.0),
        cleared_s: Some(4.001),
    };

    #[test]
    fn findings_are_told_with_three_digits() {
        let found =
            |value| Finding { name: "x".into(), value, low: 0.000_49, high: 1234.5, unit: "ms".into() };
        assert_eq!(finding(&found(0.523_4)), "x: 0.523 ms (0.000490 to 1234)");
        assert_eq!([digits(0.0), digits(12.34), digits(-1.0)], ["0", "12.3", "-1.00"]);
    }

    #[test]
    fn a_run_with_a_fault_is_told_on_one_screen() {
        let seconds = [
            (Baseline, 1300),
            (Baseline, 1320),
            (Injection, 48),
            (Injection, 0),
            (Recovery, 900),
            (Recovery, 1310),
        ];
        let expected = "\
leader_delay100_mid: done
  fault        delay 100 ms on leader (etcd2), egress
  backend      relay (the kernel has neither fq nor netem)
  output       outputs/20260304_050607_leader_delay100_mid

  latency      p50 7.2 ms, p95 8.2 ms, p99 9.2 ms, max 1030.0 ms
  operations   4878 in 6 s (errors: 1)
  throughput   813.0 ops/s mean

          seconds     ops/s       sd   p50 ms   p95 ms   p99 ms   max ms  errors  stalled
  before        2    1310.0     14.1      7.0      8.0      9.0     12.0       0        0
  during        2      24.0     33.9    206.5    207.5    208.5   1030.0       1        1
  after         2    1105.0    289.9        -        -        -        -       0        0

  degradation  98.2 % of the throughput before
  residual     84.4 % of the throughput before
  recovery     within 1 s after the fault was cleared
  in effect    2.5 ms after the command
";
        let folder = "outputs/20260304_050607_leader_delay100_mid";
        assert_eq!(summary(&slow_leader(), &measured(&seconds, Some(WINDOW)), folder), expected);
    }

    #[test]
    fn a_baseline_has_one_line_and_no_effect() {
        let mut metadata = slow_leader();
        metadata.faults.clear();
        metadata.label = "baseline".into();
        let text = summary(&metadata, &measured(&[(Baseline, 5), (Baseline, 5)], None), "x");
        assert!(text.contains("  fault        no fault\n"), "{text}");
        assert!(text.ends_with("       0        0\n\n  degradation  no fault\n"), "{text}");
        assert!(!text.contains("during") && !text.contains("backend"), "{text}");
    }

    #[test]
    fn what_was_measured_of_processes_is_told() {
        let proof = ProcessProof {
            fault: "f1".into(),
            target: "etcd/etcd2".into(),
            kind: "pause".into(),
            pauses: 20,
            paused_s: 4.012,
            unconfirmed_pauses: 0,
            periods: 0,
            throttled_periods: 0,
            throttled_s: 0.0,
        };
        let mut measured = measured(&[(Baseline, 5), (Injection, 1)], Some(WINDOW));
        let cpu = ProcessProof {
            kind: "cpu".into(),
            periods: 90,
            throttled_periods: 80,
            throttled_s: 6.5,
            ..proof.clone()
        };
        measured.processes = vec![ProcessProof { unconfirmed_pauses: 2, ..proof.clone() }, proof, cpu];
        let text = summary(&slow_leader(), &measured, "x");
        assert!(
            text.contains(
                "  measured     20 pauses, 4.01 s in all, on etcd/etcd2 (2 more were not confirmed)\n"
            ),
            "{text}"
        );
        assert!(text.contains("  measured     20 pauses, 4.01 s in all, on etcd/etcd2\n"), "{text}");
        assert!(
            text.contains("  measured     held back in 80 of 90 periods, 6.50 s in all, on etcd/etcd2\n"),
            "{text}"
        );
    }

    #[test]
    fn a_full_run_says_why_it_has_no_degradation() {
        let text = summary(&slow_leader(), &measured(&[(Injection, 5)], Some(WINDOW)), "x");
        assert!(text.contains("degradation  unknown: the run has no throughput before"), "{text}");
        assert!(!text.contains("recovery"), "{text}");
    }

    #[test]
    fn a_run_that_was_stopped_says_why() {
        let mut measured = measured(&[(Baseline, 5), (Injection, 1)], Some(WINDOW));
        let (condition, reason) = ("errors>5".into(), "there were 6 errors".into());
        measured.stopped = Some(crate::summary::StopReason { condition, reason, t_s: 3.0 });
        measured.status = Status::Stopped;
        let text = summary(&slow_leader(), &measured, "x");
        let first = "leader_delay100_mid: stopped\n  stopped      by errors>5: there were 6 errors\n";
        assert!(text.starts_with(first), "{text}");
    }

    #[test]
    fn a_run_that_is_not_to_be_trusted_says_so_first() {
        let mut measured = measured(&[(Baseline, 5), (Recovery, 1)], Some(WINDOW));
        measured.tainted = Some("the lease ended early".into());
        measured.status = Status::Interrupted;
        let text = summary(&slow_leader(), &measured, "x");
        let first = "leader_delay100_mid: interrupted\n  tainted      the lease ended early\n";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("recovery     not while it was measured\n"), "{text}");
    }
}
