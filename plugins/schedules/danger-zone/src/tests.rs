//! The danger zone of a simulated system, found by the schedule as a run plays it.
use super::*;
use faultd_plugin_sdk::random::Random;
use faultd_plugin_sdk::schedule::{Direction, Effect, Second};

fn plan(pairs: &[(&str, &str)]) -> Plan {
    let effects = vec![Effect::Delay(100_000_000)];
    let rule = Rule { target: "leader".to_owned(), direction: Direction::Egress, effects };
    Plan {
        duration_ns: 600 * SECOND_NS,
        inject_at_ns: Some(5 * SECOND_NS),
        hold_for_ns: None,
        rules: vec![rule],
        settings: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

struct Outcome {
    findings: Vec<Finding>,
    lines: Vec<String>,
    ended_at: Option<u64>,
}

/// Plays the schedule against a system whose throughput is a function of the delay in milliseconds.
fn play(plan: Plan, noise: f64, throughput: impl Fn(f64) -> f64) -> Outcome {
    let duration_ns = plan.duration_ns;
    let mut schedule = DangerZone::start(plan).unwrap();
    let mut random = Random::from_seed(1);
    let mut outcome = Outcome { findings: Vec::new(), lines: Vec::new(), ended_at: None };
    let (mut now_ns, mut told, mut delay_ms) = (0, 0, 0.0);
    loop {
        let ended = u32::try_from(now_ns / SECOND_NS).unwrap();
        let mut second = |number| {
            let uniform = (0..12).map(|_| random.below(1 << 32) as f64 / 4_294_967_296.0).sum::<f64>() - 6.0;
            let operations = (throughput(delay_ms) * (1.0 + noise * uniform)).max(0.0).round();
            Second {
                number,
                operations: format!("{operations}").parse().unwrap(),
                failures: 0,
                latency: None,
            }
        };
        let seconds = (told..ended).map(&mut second).collect();
        told = ended;
        let observation = Observation { now_ns, members: vec![], seconds, counters: vec![] };
        let (decision, lines) = schedule.decide_and_say(&observation);
        outcome.lines.extend(lines);
        if !decision.findings.is_empty() {
            outcome.findings = decision.findings;
        }
        if decision.end_run {
            outcome.ended_at = Some(now_ns / SECOND_NS);
            return outcome;
        }
        delay_ms = decision.active.first().map_or(0.0, |rule| match rule.effects.as_slice() {
            [Effect::Delay(ns)] => *ns as f64 / 1e6,
            other => panic!("{other:?}"),
        });
        match decision.ask_again_at_ns {
            Some(again_ns) => {
                assert!(again_ns >= now_ns + 10_000_000 && again_ns < duration_ns, "{now_ns} {again_ns}");
                now_ns = again_ns;
            }
            None => return outcome,
        }
    }
}

fn finding<'a>(outcome: &'a Outcome, name: &str) -> Option<&'a Finding> {
    outcome.findings.iter().find(|finding| finding.name == name)
}

#[test]
fn both_ends_are_found_and_the_run_ends() {
    // 50 % at 8 ms and 10 % at a third of that.
    let outcome = play(plan(&[]), 0.02, |delay_ms| 1300.0 / (1.0 + (delay_ms / 8.0).powi(2)));
    for (level, truth) in [("10 %", 8.0 / 3.0), ("50 %", 8.0)] {
        let delay = finding(&outcome, &format!("delay at {level} degradation")).unwrap();
        assert!((delay.value / truth - 1.0).abs() < 0.05 && delay.unit == "ms", "{delay:?}");
        assert!(delay.low < delay.value && delay.value < delay.high, "{delay:?}");
        let severity = finding(&outcome, &format!("severity at {level} degradation")).unwrap();
        assert!((severity.value * 100.0 - delay.value).abs() < 1e-9, "{severity:?}");
    }
    assert!(finding(&outcome, "loss at 10 % degradation").is_none());
    let used = finding(&outcome, "run-seconds used").unwrap().value;
    assert!(used < 555.0 && outcome.ended_at.is_some_and(|second| second < 560), "{used}");
    assert!((finding(&outcome, "share of a 37-level grid").unwrap().value - used / 55.5).abs() < 1e-9);
    assert!(outcome.lines.is_empty(), "{:?}", outcome.lines);
}

#[test]
fn a_fault_that_does_no_harm_is_told() {
    let outcome = play(plan(&[]), 0.02, |_| 1300.0);
    assert!(finding(&outcome, "severity at 10 % degradation").is_none());
    assert_eq!(outcome.lines.len(), 2);
    assert!(outcome.lines.iter().all(|line| line.contains("not reached")), "{:?}", outcome.lines);
    assert!(outcome.ended_at.is_some_and(|second| second < 60));
}

#[test]
fn noise_and_missing_throughput_are_told_and_the_run_ends() {
    let noisy = play(plan(&[]), 0.6, |delay_ms| 1300.0 / (1.0 + delay_ms / 8.0));
    assert!(noisy.ended_at.is_some() && !noisy.lines.is_empty(), "{:?}", noisy.lines);
    let dead = play(plan(&[]), 0.0, |_| 0.0);
    assert!(dead.lines.iter().any(|line| line.contains("no throughput")), "{:?}", dead.lines);
    assert!(dead.ended_at.is_some_and(|second| second < 20));
}

#[test]
fn no_rules_are_a_baseline() {
    let outcome = play(Plan { rules: Vec::new(), ..plan(&[]) }, 0.02, |_| 1300.0);
    assert!(outcome.ended_at.is_none() && outcome.findings.is_empty());
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |pairs: &[(&str, &str)]| DangerZone::start(plan(pairs)).err().unwrap();
    assert!(refused(&[("lowest", "0")]).contains("lowest"));
    assert!(refused(&[("baseline", "1s")]).contains("baseline"));
    assert!(refused(&[("shortest", "30s")]).contains("longest"));
    assert!(refused(&[("level", "10%")]).contains("unknown"));
    let short = Plan { hold_for_ns: Some(10 * SECOND_NS), ..plan(&[]) };
    assert!(DangerZone::start(short).err().unwrap().contains("too short"));
}
