//! A schedule that breaks one rule each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faultd_plugin_host::{Decision, LogLevel, Problem, Refusal, Schedule};

use crate::support::{Lines, at, hostile_schedule, plan, problem, settings, while_others_go_on};

const FUEL: u64 = 200_000_000;

async fn schedule(mode: &str) -> Schedule {
    hostile_schedule().start(plan(settings(mode))).await.unwrap()
}

/// What the first decision of a mode breaks. After it the schedule cannot be asked any more, if it was stopped.
async fn misdeed(mode: &str) -> Problem {
    while_others_go_on(async {
        let mut schedule = schedule(mode).await;
        let found = problem(schedule.decide(at(0)).await.unwrap_err());
        if !matches!(found, Problem::BeyondManifest(_)) {
            assert_eq!(problem(schedule.decide(at(1)).await.unwrap_err()), Problem::Unusable);
        }
        found
    })
    .await
}

async fn beyond(mode: &str) -> String {
    match misdeed(mode).await {
        Problem::BeyondManifest(reason) => reason,
        other => panic!("{mode}: {other}"),
    }
}

async fn answer(mode: &str) -> Decision {
    schedule(mode).await.decide(at(0)).await.unwrap()
}

#[tokio::test]
async fn a_hostile_schedule_that_breaks_no_rule_is_a_schedule() {
    let decision = while_others_go_on(answer("good")).await;
    assert_eq!((decision.active.len(), decision.ask_again_at), (1, Some(Duration::from_secs(10))));
}

#[tokio::test]
async fn an_endless_loop_is_stopped_and_others_run_meanwhile() {
    let turns = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let stopped = misdeed("endless-loop").await;
    other.abort();
    assert_eq!(stopped, Problem::OutOfFuel { call: "decide", fuel: FUEL });
    assert!(turns.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn a_deep_recursion_ends_with_the_stack_of_the_plugin() {
    let found = misdeed("deep-recursion").await;
    // Whichever is used up first: the stack of the engine, or the one that the compiler keeps in the memory.
    let is_told = |trap: &str| trap.contains("call stack exhausted") || trap.contains("out of bounds");
    assert!(matches!(&found, Problem::Crashed { call: "decide", trap } if is_told(trap)), "{found}");
}

#[tokio::test]
async fn a_memory_bomb_is_stopped_at_the_limit() {
    assert_eq!(misdeed("memory-bomb").await, Problem::OutOfMemory { call: "decide", bytes: 64 << 20 });
}

#[tokio::test]
async fn the_message_of_a_panic_reaches_the_log() {
    for (mode, place) in [("panic", "decide"), ("start-panics", "start")] {
        let lines = Lines::default();
        let plugin = hostile_schedule().with_log(lines.sink());
        let found = while_others_go_on(async {
            match plugin.start(plan(settings(mode))).await {
                Ok(mut schedule) => schedule.decide(at(0)).await.unwrap_err(),
                Err(error) => error,
            }
        })
        .await;
        let found = problem(found);
        assert!(matches!(&found, Problem::Crashed { call, .. } if *call == place), "{found}");
        let [(LogLevel::Error, line)] = &lines.all()[..] else { panic!("{:?}", lines.all()) };
        assert!(line.contains(&format!("broken down on purpose in {place}")), "{line}");
    }
}

#[tokio::test]
async fn a_trap_is_told_without_a_message_of_the_plugin() {
    let found = misdeed("trap").await.to_string();
    assert_eq!(found, "crashed in decide: wasm trap: wasm `unreachable` instruction executed");
}

#[tokio::test]
async fn a_start_that_never_ends_is_stopped() {
    let plugin = hostile_schedule();
    let started = while_others_go_on(plugin.start(plan(settings("start-never-ends")))).await;
    assert_eq!(problem(started.err().unwrap()), Problem::OutOfFuel { call: "start", fuel: FUEL });
}

#[tokio::test]
async fn a_refusal_of_thousands_of_lines_is_cut_to_one() {
    let plugin = hostile_schedule();
    let started = while_others_go_on(plugin.start(plan(settings("start-refuses-at-length")))).await;
    let found = problem(started.err().unwrap());
    assert!(
        matches!(&found, Problem::Failed { call: "start", message } if message.starts_with("no no ")),
        "{found}"
    );
}

#[tokio::test]
async fn a_setting_that_is_not_in_the_manifest_never_reaches_the_plugin() {
    let plan = plan(vec![("modus".to_owned(), "panic".to_owned())]);
    let found = problem(while_others_go_on(hostile_schedule().start(plan)).await.err().unwrap());
    let expected = "unknown setting \"modus\": known are mode".to_owned();
    assert_eq!(found, Problem::UnknownSetting(expected));
}

#[tokio::test]
async fn a_call_that_is_dropped_in_the_middle_leaves_an_unusable_schedule() {
    while_others_go_on(async {
        let mut schedule = schedule("endless-loop").await;
        let dropped = tokio::time::timeout(Duration::from_millis(5), schedule.decide(at(0))).await;
        assert!(dropped.is_err());
        assert_eq!(problem(schedule.decide(at(1)).await.unwrap_err()), Problem::Unusable);
    })
    .await;
}

#[tokio::test]
async fn ten_million_log_lines_are_few_and_end_soon() {
    let lines = Lines::default();
    let plugin = hostile_schedule().with_log(lines.sink());
    let began = Instant::now();
    let found = while_others_go_on(async {
        let mut schedule = plugin.start(plan(settings("many-log-lines"))).await.unwrap();
        problem(schedule.decide(at(0)).await.unwrap_err())
    })
    .await;
    let of_fuel = found == Problem::OutOfFuel { call: "decide", fuel: FUEL };
    let refusal = Refusal::TooMuchLog(16 << 20);
    assert!(of_fuel || found == Problem::Refused { call: "decide", refusal }, "{found}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let lines = lines.all();
    assert_eq!(lines.len(), 101);
    assert!(lines[100].1.contains("too many lines"), "{:?}", lines[100]);
}

#[tokio::test]
async fn a_log_line_of_ten_megabytes_is_cut() {
    let lines = Lines::default();
    let plugin = hostile_schedule().with_log(lines.sink());
    while_others_go_on(async {
        let mut schedule = plugin.start(plan(settings("long-log-line"))).await.unwrap();
        schedule.decide(at(0)).await.unwrap();
    })
    .await;
    let [(LogLevel::Info, line)] = &lines.all()[..] else { panic!("{} lines", lines.all().len()) };
    assert!(line.chars().count() <= 500 && line.starts_with("long long "), "{line}");
}

#[tokio::test]
async fn long_log_lines_for_ever_are_stopped_at_the_second() {
    let refusal = Refusal::TooMuchLog(16 << 20);
    assert_eq!(misdeed("many-long-log-lines").await, Problem::Refused { call: "decide", refusal });
}

#[tokio::test]
async fn more_actions_than_the_manifest_says_are_refused() {
    assert_eq!(beyond("many-actions").await, "100000 faults at once, at most 4");
    assert_eq!(beyond("many-effects").await, "loss twice in one rule");
}

#[tokio::test]
async fn an_answer_larger_than_a_call_may_hand_over_is_not_taken() {
    assert_eq!(misdeed("huge-answer").await, Problem::TooMuchData { call: "decide", bytes: 16 << 20 });
}

#[tokio::test]
async fn numbers_that_are_no_share_are_refused() {
    for (number, told) in
        [("NaN", "NaN"), ("-0.1", "-10"), ("-inf", "-inf"), ("inf", "inf"), ("1e300", "1000"), ("0.51", "51")]
    {
        let reason = beyond(&format!("loss:{number}")).await;
        assert!(
            reason.starts_with(&format!("loss of {told}")) && reason.ends_with("at most 50 %"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_delay_beyond_the_manifest_is_refused() {
    assert_eq!(beyond("delay-ns:101000000").await, "delay of 101 ms, at most 100 ms");
    let reason = beyond(&format!("delay-ns:{}", u64::MAX)).await;
    assert!(reason.ends_with("at most 100 ms"), "{reason}");
}

#[tokio::test]
async fn findings_are_short_finite_and_few() {
    for number in ["NaN", "inf", "-inf"] {
        let reason = beyond(&format!("finding:{number}")).await;
        assert_eq!(reason, "the finding \"number\", which is no finite number");
    }
    assert_eq!(answer("finding:-1e300").await.findings.len(), 1);
    let reason = beyond("long-finding").await;
    assert_eq!(reason, "a finding whose name or unit has more than 64 characters");
    assert_eq!(beyond("many-findings").await, "33 findings, at most 32");
}

#[tokio::test]
async fn times_to_ask_again_are_no_later_than_faults_may_hold() {
    // Ten seconds is what the manifest says; a time that has passed is for the caller to wait a little at.
    let end = Some(Duration::from_secs(10));
    assert_eq!(answer(&format!("ask-again-at:{}", u64::MAX)).await.ask_again_at, end);
    let mut schedule = schedule("ask-again-at:1").await;
    assert_eq!(schedule.decide(at(5)).await.unwrap().ask_again_at, Some(Duration::from_nanos(1)));
}

#[tokio::test]
async fn targets_that_are_not_its_own_are_refused() {
    assert_eq!(beyond("foreign-target").await, "a fault on \"redis0\", which is not among its targets");
    assert_eq!(beyond("long-target").await, "a fault on \"\", which is not among its targets");
}

#[tokio::test]
async fn effects_that_are_not_its_own_are_refused() {
    assert_eq!(beyond("foreign-effect").await, "rate, which is not among its effects");
}

#[tokio::test]
async fn faults_hold_no_longer_than_the_manifest_says() {
    let found = while_others_go_on(async {
        let mut schedule = schedule("never-ends").await;
        for second in 0..10 {
            let decision = schedule.decide(at(second)).await.unwrap();
            assert_eq!(decision.ask_again_at, Some(Duration::from_secs(10)));
        }
        problem(schedule.decide(at(10)).await.unwrap_err())
    })
    .await;
    assert_eq!(found, Problem::BeyondManifest("faults for more than 10 s in all".to_owned()));
}
