//! A plugin in another language: the schedule in JavaScript decides as the one in Rust.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of it is test code, also what is outside of the test functions"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use faultd_plugin_host::{
    Decision, Direction, Effect, Observation, Plan, PluginEngine, PluginError, Problem, Rule, SchedulePlugin,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn load(file: &str, name: &str) -> SchedulePlugin {
    let file = repository().join("target").join(file);
    let bytes = std::fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask plugins` first", file.display()));
    PluginEngine::new().unwrap().load_schedule(name, &bytes).unwrap()
}

/// Builds it, unless it is there and no older than its sources.
#[expect(clippy::disallowed_methods, reason = "tests may start processes")]
fn in_javascript() -> SchedulePlugin {
    let script = repository().join("plugins/languages/javascript/build.sh");
    let built = Command::new(&script).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    load("plugins-javascript/flap-js.wasm", "flap-js")
}

fn plan(settings: &[(&str, &str)], inject_at: Option<u64>, hold_for: Option<u64>) -> Plan {
    let effects = vec![
        Effect::Delay(Duration::from_millis(50)),
        Effect::Jitter(Duration::from_nanos(1)),
        Effect::Loss(0.1),
        Effect::Duplicate(1.0),
        Effect::Corrupt(1e-9),
        Effect::Rate(u64::MAX),
    ];
    let rule =
        |target: &str, direction| Rule { target: target.to_owned(), direction, effects: effects.clone() };
    Plan {
        duration: Duration::from_secs(60),
        inject_at: inject_at.map(Duration::from_secs),
        hold_for: hold_for.map(Duration::from_secs),
        rules: vec![rule("leader", Direction::Egress), rule("größte-1", Direction::Both)],
        settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        seed: 1,
    }
}

/// The times at which it was asked, as it wanted, and what it decided.
async fn decisions(plugin: &SchedulePlugin, plan: &Plan) -> Result<Vec<(Duration, Decision)>, PluginError> {
    let mut schedule = plugin.start(plan.clone()).await?;
    let mut decisions = Vec::new();
    let mut next = Some(Duration::ZERO);
    while let Some(now) = next {
        let decision = schedule.decide(Observation { now, ..Observation::default() }).await?;
        // Times that no period of the plans knows: a schedule may be asked at any of them.
        let early = decision.ask_again_at.filter(|at| decisions.len() % 3 == 2 && *at > now);
        next = early.map_or(decision.ask_again_at, |at| Some(now + (at - now) / 3));
        decisions.push((now, decision));
    }
    Ok(decisions)
}

#[tokio::test]
#[ignore = "optional: needs Node.js and npm, which `make test-javascript` fetches"]
async fn a_schedule_in_javascript_decides_as_the_one_in_rust() {
    let (javascript, rust) = (in_javascript(), load("plugins/flap.wasm", "flap"));
    let imports = javascript.facts().imports.clone();
    assert!(imports.iter().all(|import| import.starts_with("faultd:plugin/")), "{imports:?}");
    let plans = [
        plan(&[], None, None),
        plan(&[("period", "4s"), ("duty", "25%")], Some(10), Some(30)),
        plan(&[("period", "1.5s"), ("duty", "0.333")], Some(1), None),
        plan(&[("period", "70ms")], None, Some(5)),
        Plan { rules: Vec::new(), ..plan(&[], Some(10), None) },
    ];
    for plan in plans {
        let expected = decisions(&rust, &plan).await.unwrap();
        let began = Instant::now();
        let found = decisions(&javascript, &plan).await.unwrap();
        println!("{} decisions in {:?}", found.len(), began.elapsed());
        assert_eq!(found, expected, "{:?}", plan.settings);
    }
    for settings in [&[("period", "15ms")][..], &[("duty", "100%")], &[("period", "soon")], &[("duty", "-1")]]
    {
        refused_by_both(&javascript, &rust, &plan(settings, None, None)).await;
    }
    refused_by_both(&javascript, &rust, &plan(&[], Some(60), None)).await;
    refused_by_both(&javascript, &rust, &plan(&[], None, Some(0))).await;
}

/// Both refuse the plan in the same words.
async fn refused_by_both(javascript: &SchedulePlugin, rust: &SchedulePlugin, plan: &Plan) {
    let words = |error: PluginError| match error {
        PluginError::Plugin { problem: Problem::Failed { message, .. }, .. } => message,
        other => panic!("{other}"),
    };
    let found = words(javascript.start(plan.clone()).await.err().unwrap());
    assert_eq!(found, words(rust.start(plan.clone()).await.err().unwrap()));
}
