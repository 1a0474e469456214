//! Tests of the summary: hand-made runs whose numbers one can check in the head.

use super::*;

/// Rows from `first_second` on, given as phase and operations.
pub(crate) fn rows(first_second: i64, seconds: &[(Phase, u64)]) -> Vec<Row> {
    let row = |(t_s, &(phase, ops)): (i64, &(Phase, u64))| Row {
        t_s,
        phase,
        ops,
        errors: u64::from(ops == 0),
        latency: None,
        stalled: ops == 0,
    };
    (first_second..).zip(seconds).map(row).collect()
}

fn window(effective_s: f64, cleared_s: Option<f64>) -> Option<FaultWindow> {
    Some(FaultWindow {
        commanded_s: effective_s - 0.25,
        effective_s: Some(effective_s),
        clear_commanded_s: None,
        cleared_s,
    })
}

fn summary(rows: &[Row], fault_window: Option<FaultWindow>) -> Summary {
    let latencies = PhaseLatencies::default();
    Summary::of(Measurement {
        status: Status::Done,
        tainted: None,
        rows,
        latencies: &latencies,
        fault_window,
        rules: Vec::new(),
        findings: Vec::new(),
    })
}

use Phase::{Baseline, Injection, Recovery, WarmUp};

#[test]
fn a_fault_in_the_middle_has_degradation_residual_and_recovery_time() {
    let seconds = [
        (WarmUp, 5000),
        (Baseline, 90),
        (Baseline, 110),
        (Injection, 0),
        (Injection, 40),
        (Recovery, 50),
        (Recovery, 80),
        (Recovery, 95),
        (Recovery, 115),
    ];
    let summary = summary(&rows(-1, &seconds), window(2.0, Some(4.02)));

    assert_eq!((summary.totals.operations, summary.totals.errors, summary.totals.elapsed_s), (580, 1, 8));
    assert_eq!(summary.totals.mean_ops_per_s, 72.5);
    let normal = summary.phase(Baseline).unwrap();
    assert_eq!((normal.seconds, normal.operations, normal.mean_ops_per_s), (2, 200, 100.0));
    assert!((normal.sd_ops_per_s - 200f64.sqrt()).abs() < 1e-9, "sample deviation of 90 and 110");
    assert_eq!(summary.phase(Injection).unwrap().stalled_seconds, 1);

    let effect = summary.effect;
    assert_eq!((effect.degradation, effect.residual), (Some(0.8), Some(0.85)));
    assert!((effect.recovery_time_s.unwrap() - 1.98).abs() < 1e-9, "95 in second 6 is above 100 - 14.1");
    assert_eq!(effect.time_to_effect_s, Some(0.25));
}

#[test]
fn a_cluster_that_is_back_at_once_recovers_within_the_resolution() {
    let rows = rows(0, &[(Baseline, 100), (Injection, 10), (Recovery, 100)]);
    assert_eq!(summary(&rows, window(1.0, Some(2.01))).effect.recovery_time_s, Some(0.0));
}

#[test]
fn a_second_of_which_the_fault_held_a_good_part_is_no_recovery() {
    let rows = rows(0, &[(Baseline, 100), (Injection, 10), (Recovery, 100), (Recovery, 100)]);
    assert_eq!(summary(&rows, window(1.0, Some(2.5))).effect.recovery_time_s, Some(0.5));
}

#[test]
fn without_a_fault_there_is_no_effect() {
    let summary = summary(&rows(0, &[(Baseline, 100), (Baseline, 100)]), None);
    assert_eq!(summary.effect, Effect::default());
    assert_eq!(summary.totals.mean_ops_per_s, 100.0);
}

#[test]
fn a_fault_for_the_full_run_has_nothing_to_be_compared_with() {
    let summary = summary(&rows(0, &[(Injection, 10), (Injection, 12)]), window(0.0, None));
    assert_eq!(summary.effect, Effect { time_to_effect_s: Some(0.25), ..Effect::default() });
    assert_eq!(summary.phase(Injection).unwrap().mean_ops_per_s, 11.0);
}

#[test]
fn a_run_interrupted_in_the_window_has_degradation_only() {
    let summary = summary(&rows(0, &[(Baseline, 100), (Injection, 25)]), window(1.0, Some(2.0)));
    let effect = summary.effect;
    assert_eq!((effect.degradation, effect.residual, effect.recovery_time_s), (Some(0.75), None, None));
}

#[test]
fn a_cluster_that_does_not_come_back_has_no_recovery_time() {
    let rows = rows(0, &[(Baseline, 100), (Injection, 25), (Recovery, 30)]);
    let effect = summary(&rows, window(1.0, Some(2.0))).effect;
    assert_eq!((effect.residual, effect.recovery_time_s), (Some(0.3), None));
}

#[test]
fn a_cluster_that_never_answered_has_neither_numbers_nor_a_division_by_zero() {
    let rows = rows(0, &[(Baseline, 0), (Injection, 0), (Recovery, 0)]);
    let summary = summary(&rows, window(1.0, Some(2.0)));
    assert_eq!(summary.effect, Effect { time_to_effect_s: Some(0.25), ..Effect::default() });
    assert_eq!((summary.totals.operations, summary.totals.mean_ops_per_s), (0, 0.0));
    assert_eq!(summary.totals.errors, 3);
}

#[test]
fn a_run_without_a_second_has_zeros() {
    let summary = summary(&[], None);
    assert_eq!((summary.totals.elapsed_s, summary.totals.mean_ops_per_s, summary.phases.len()), (0, 0.0, 0));
}

#[test]
fn json_is_read_back_and_has_numbers_only() {
    let rows = rows(0, &[(Baseline, 0), (Injection, 0), (Recovery, 0)]);
    let written = summary(&rows, window(1.0, None));
    let json = serde_json::to_string(&written).unwrap();
    assert!(json.starts_with(r#"{"schema":"faultd/v1/summary","status":"done","tainted":null,"#), "{json}");
    assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), written);
}
