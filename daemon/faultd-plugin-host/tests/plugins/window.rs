//! The schedule `window`, as a component.

use std::time::Duration;

use faultd_plugin_host::{Direction, Effect, Observation, Plan, PluginEngine, Rule, Schedule};

use crate::built::shipped;

fn rules() -> Vec<Rule> {
    let effects = vec![Effect::Delay(Duration::from_millis(50)), Effect::Loss(0.25)];
    vec![Rule { target: "leader".to_owned(), direction: Direction::Both, effects }]
}

fn plan(inject_at: Option<u64>, hold_for: Option<u64>, rules: Vec<Rule>) -> Plan {
    Plan {
        duration: Duration::from_secs(30),
        inject_at: inject_at.map(Duration::from_secs),
        hold_for: hold_for.map(Duration::from_secs),
        rules,
        settings: Vec::new(),
        seed: 1,
    }
}

async fn start(plan: Plan) -> Schedule {
    let plugin = PluginEngine::new().unwrap().load_schedule("window", &shipped("window")).unwrap();
    plugin.start(plan).await.unwrap()
}

/// At `second`: do exactly the rules of the plan hold, and when is the plugin asked again?
async fn decide(schedule: &mut Schedule, second: u64) -> (bool, Option<u64>) {
    let decision = schedule
        .decide(Observation { now: Duration::from_secs(second), ..Default::default() })
        .await
        .unwrap();
    assert!(decision.active.is_empty() || decision.active == rules(), "{decision:?}");
    (!decision.active.is_empty(), decision.ask_again_at.map(|time| time.as_secs()))
}

#[tokio::test]
async fn windows_begin_and_end_as_asked() {
    type Row = (Option<u64>, Option<u64>, [(u64, bool, Option<u64>); 3]);
    let table: [Row; 4] = [
        (Some(10), Some(10), [(0, false, Some(10)), (10, true, Some(20)), (20, false, None)]),
        (Some(10), None, [(0, false, Some(10)), (10, true, None), (29, true, None)]),
        (None, Some(10), [(0, true, Some(10)), (9, true, Some(10)), (10, false, None)]),
        (None, None, [(0, true, None), (15, true, None), (29, true, None)]),
    ];
    for (inject_at, hold_for, expected) in table {
        let mut schedule = start(plan(inject_at, hold_for, rules())).await;
        for (second, active, again) in expected {
            let found = decide(&mut schedule, second).await;
            assert_eq!(found, (active, again), "{inject_at:?} {hold_for:?} at {second}");
        }
    }
}

#[tokio::test]
async fn a_plan_without_rules_is_a_baseline() {
    let mut schedule = start(plan(Some(10), Some(10), Vec::new())).await;
    assert_eq!(decide(&mut schedule, 15).await, (false, None));
}

#[tokio::test]
async fn a_plan_that_cannot_be_is_refused_in_the_words_of_the_plugin() {
    let plugin = PluginEngine::new().unwrap().load_schedule("window", &shipped("window")).unwrap();
    let refused = plugin.start(plan(Some(30), None, rules())).await.err().unwrap();
    assert_eq!(
        refused.to_string(),
        "plugin window cannot start: the fault would begin after the end of the run: inject it earlier"
    );
}
