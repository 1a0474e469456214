//! How fast a schedule can be asked, and how long it takes until it can.

use std::time::{Duration, Instant};

use faultd_plugin_host::{Direction, Effect, Observation, Plan, PluginEngine, Rule};

use crate::{Figure, built, tell};

/// How long a schedule is asked over and over.
const ASKED_FOR: Duration = Duration::from_secs(1);

pub(crate) async fn measure(figures: &mut Vec<Figure>) {
    let bytes = built::shipped("flap");
    let plugin = PluginEngine::new().expect("an engine").load_schedule("flap", &bytes);
    let plugin = plugin.expect("the schedule that ships");
    let rule = Rule {
        target: "leader".to_owned(),
        direction: Direction::Egress,
        effects: vec![Effect::Delay(Duration::from_millis(50))],
    };
    let plan = Plan {
        duration: Duration::from_secs(3600),
        inject_at: None,
        hold_for: None,
        rules: vec![rule],
        settings: Vec::new(),
        seed: 1,
    };
    let began = Instant::now();
    let mut schedule = plugin.start(plan).await.expect("a schedule");
    tell(figures, "flap is started in", began.elapsed().as_secs_f64() * 1e6, "us", None);
    let began = Instant::now();
    let mut calls = 0_u32;
    while began.elapsed() < ASKED_FOR {
        calls += 1;
        let now = Duration::from_micros(u64::from(calls));
        schedule.decide(Observation { now, ..Observation::default() }).await.expect("a decision");
    }
    let rate = f64::from(calls) / began.elapsed().as_secs_f64();
    tell(figures, "flap is asked", rate, "1/s", None);
}
