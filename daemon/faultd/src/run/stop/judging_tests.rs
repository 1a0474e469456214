//! Tests of the judge: hand-made seconds.

use super::*;

use Phase::{Baseline, Injection, Recovery, WarmUp};

fn row(t_s: i64, phase: Phase, ops: u64, errors: u64) -> Row {
    Row { t_s, phase, ops, errors, latency: None, stalled: ops == 0 }
}

fn judge(condition: &str) -> Judge {
    Judge::new(&[condition.parse().unwrap()])
}

/// The second after which it holds, and why; the seconds count from 0.
fn after(judge: &mut Judge, rows: &[Row]) -> Option<(i64, String)> {
    let told = |row: &Row| {
        let answers = &BTreeMap::new();
        let held = judge.second(&Observed { row, phase: row.phase, leader_changes: 0, answers })?;
        Some((row.t_s, held.reason.reason))
    };
    rows.iter().find_map(told)
}

fn rows(seconds: &[(Phase, u64, u64)]) -> Vec<Row> {
    (0..).zip(seconds).map(|(t_s, (phase, ops, errors))| row(t_s, *phase, *ops, *errors)).collect()
}

#[test]
fn throughput_below_a_share_of_the_baseline_holds_after_its_time() {
    let mut seconds = vec![(Baseline, 90, 0), (Baseline, 110, 0)];
    seconds.extend([(Injection, 19, 0), (Injection, 20, 0), (Injection, 0, 0), (Injection, 19, 0)]);
    seconds.extend([(Injection, 3, 0), (Injection, 0, 0)]);
    let (second, why) = after(&mut judge("throughput<20% for 3s"), &rows(&seconds)).unwrap();
    assert_eq!(second, 6, "20 is not below 20");
    assert_eq!(why, "throughput is 3 ops/s, below 20.0 (20% of 100.0 before the fault), since 4 s");
    assert_eq!(after(&mut judge("throughput<20% for 5s"), &rows(&seconds)), None);
}

#[test]
fn nothing_is_judged_where_no_fault_is_injected() {
    let seconds = [
        (WarmUp, 0, 9),
        (Baseline, 0, 9),
        (Injection, 0, 0),
        (Recovery, 0, 9),
        (Injection, 0, 0),
        (Recovery, 0, 9),
    ];
    for condition in ["throughput<5/s for 2s", "latency(p99)>1ms for 2s", "errors>5% for 2s", "errors>26"] {
        assert_eq!(after(&mut judge(condition), &rows(&seconds)), None, "{condition}");
    }
    let (second, why) = after(&mut judge("throughput<5/s"), &rows(&seconds)).unwrap();
    assert_eq!((second, why.as_str()), (2, "throughput is 0 ops/s, below 5, since 2 s"));
}

#[test]
fn errors_count_over_the_measured_time() {
    let seconds = [(WarmUp, 9, 50), (Baseline, 9, 2), (Injection, 9, 2), (Injection, 9, 2)];
    let (second, why) = after(&mut judge("errors>5"), &rows(&seconds)).unwrap();
    assert_eq!((second, why.as_str()), (3, "6 operations have failed, more than 5"));
    assert_eq!(after(&mut judge("errors>6"), &rows(&seconds)), None);
}

#[test]
fn seconds_between_time_outs_do_not_break_a_share_of_errors() {
    let seconds = [(Injection, 0, 5), (Injection, 0, 0), (Injection, 0, 0), (Injection, 0, 5)];
    let (second, why) = after(&mut judge("errors>5% for 4s"), &rows(&seconds)).unwrap();
    assert_eq!((second, why.as_str()), (3, "100% of the operations fail, more than 5%, since 0 s"));
    let seconds = [(Injection, 95, 5), (Injection, 94, 6)];
    assert_eq!(after(&mut judge("errors>5%"), &rows(&seconds)).unwrap().0, 1);
}

#[test]
fn a_latency_is_above_its_limit_where_nothing_succeeds_and_unknown_where_it_is_not_told() {
    let slow = |t_s, p99| {
        let latency = LatencyMilliseconds { p99, ..LatencyMilliseconds::default() };
        Row { latency: Some(latency), ..row(t_s, Injection, 7, 0) }
    };
    let seconds = [slow(0, Some(200.0)), slow(1, Some(200.5)), row(2, Injection, 0, 0)];
    let (second, why) = after(&mut judge("latency(p99)>200ms for 2s"), &seconds).unwrap();
    assert_eq!(second, 2);
    assert_eq!(why, "no operation succeeds, so that p99 latency is above 200 ms, since 1 s");
    let (_, why) = after(&mut judge("latency(p99)>200ms"), &seconds).unwrap();
    assert_eq!(why, "p99 latency is 200.5 ms, above 200 ms, since 1 s");

    let untold: Vec<Row> = (0..20).map(|t_s| slow(t_s, Some(1.0))).collect();
    let (second, why) = after(&mut judge("latency(max)>1s"), &untold).unwrap();
    assert_eq!(second, 9);
    assert_eq!(why, "it cannot be judged: the load does not tell its max latency, since 0 s");
}

#[test]
fn a_share_of_nothing_cannot_be_judged() {
    let seconds = [(Injection, 5, 0); 12];
    let (second, why) = after(&mut judge("throughput<20% for 1s"), &rows(&seconds)).unwrap();
    assert_eq!(second, 9);
    assert!(why.starts_with("it cannot be judged: there was no throughput before the fault"), "{why}");
}

#[test]
fn changes_of_the_leader_count_while_a_fault_is_injected() {
    let told = |judge: &mut Judge, phase, leader_changes| {
        let (row, answers) = (row(5, phase, 1, 0), BTreeMap::new());
        judge.second(&Observed { row: &row, phase, leader_changes, answers: &answers })
    };
    let mut any = judge("leader-change");
    assert_eq!(told(&mut any, Injection, 0), None);
    assert_eq!(told(&mut any, Recovery, 1), None);
    let held = told(&mut any, Injection, 1).unwrap();
    assert_eq!(held.reason.reason, "the leader has changed once since the fault began");
    assert_eq!((held.word, held.reason.t_s), ("leader-change", 6.0));
    let mut many = judge("leader-change>3");
    assert_eq!(told(&mut many, Injection, 3), None);
    let why = told(&mut many, Injection, 4).unwrap().reason.reason;
    assert_eq!(why, "the leader has changed 4 times since the fault began, more than 3");
}

/// Tells of one second; `answer` is that of Prometheus to the expression `x`.
fn asked(judge: &mut Judge, t_s: i64, phase: Phase, answer: Answer) -> Option<String> {
    let (row, answers) = (row(t_s, phase, 1, 0), [("x".to_owned(), answer)].into());
    let held = judge.second(&Observed { row: &row, phase, leader_changes: 0, answers: &answers })?;
    Some(held.reason.reason)
}

#[test]
fn an_answer_of_prometheus_holds_where_any_series_does() {
    let mut judge = judge("promql(x)>0.5 for 2s");
    let mut told =
        |t_s, phase, values: &[f64]| asked(&mut judge, t_s, phase, Answer::Values(values.to_vec()));
    assert_eq!(told(0, Baseline, &[9.0]), None);
    assert_eq!(told(1, Injection, &[0.1, 0.75]), None);
    assert_eq!(told(2, Injection, &[]), None);
    assert_eq!(told(3, Injection, &[0.75, f64::NAN]), None);
    let why = told(4, Injection, &[f64::NAN, 0.75]).unwrap();
    assert_eq!(why, "Prometheus says 0.75, above 0.5, since 3 s");
    assert_eq!(told(5, Recovery, &[0.75]), None);
}

#[test]
fn a_prometheus_that_is_silent_for_ten_seconds_counts_as_held() {
    let silence = || Answer::Silence("connection refused".to_owned());
    let mut judge = judge("promql(x)>0.5 for 3s");
    for t_s in 0..9 {
        assert_eq!(asked(&mut judge, t_s, Injection, silence()), None);
    }
    // One answer in between, and it begins anew.
    assert_eq!(asked(&mut judge, 9, Injection, Answer::Values(vec![0.75])), None);
    // One that is late breaks no time.
    assert_eq!(asked(&mut judge, 10, Injection, silence()), None);
    let why = asked(&mut judge, 11, Injection, Answer::Values(vec![0.75])).unwrap();
    assert_eq!(why, "Prometheus says 0.75, above 0.5, since 9 s");
    let mut held = (12..30).find_map(|t_s| Some((t_s, asked(&mut judge, t_s, Baseline, silence())?)));
    let (second, why) = held.take().unwrap();
    assert_eq!(second, 21);
    assert_eq!(why, "it cannot be judged: Prometheus does not answer (connection refused), since 12 s");
    assert!((30..60).all(|t_s| asked(&mut judge, t_s, Recovery, silence()).is_none()));
}

#[test]
fn the_first_of_several_conditions_is_named() {
    let conditions = ["errors>1000", "throughput<5/s", "errors>0"].map(|text| text.parse().unwrap());
    let mut judge = Judge::new(&conditions);
    let seconds = row(0, Injection, 1, 1);
    let answers = BTreeMap::new();
    let observed = Observed { row: &seconds, phase: Injection, leader_changes: 0, answers: &answers };
    assert_eq!(judge.second(&observed).unwrap().reason.condition, "throughput<5/s for 1s");
}
