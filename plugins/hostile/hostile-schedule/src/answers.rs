//! Answers that are not allowed, by the mode that asks for them.

use faultd_plugin_sdk::schedule::{Decision, Direction, Effect, Finding, Rule};

pub(crate) fn answer(mode: &str) -> Decision {
    if let Some(number) = mode.strip_prefix("loss:") {
        return one_rule(Effect::Loss(number.parse().unwrap_or(f64::NAN)));
    }
    if let Some(number) = mode.strip_prefix("delay-ns:") {
        return one_rule(Effect::Delay(number.parse().unwrap_or(u64::MAX)));
    }
    if let Some(number) = mode.strip_prefix("ask-again-at:") {
        return Decision { ask_again_at_ns: number.parse().ok(), ..one_rule(Effect::Loss(0.5)) };
    }
    if let Some(number) = mode.strip_prefix("finding:") {
        return found("number", number.parse().unwrap_or(f64::NAN));
    }
    match mode {
        "many-actions" => Decision::hold(vec![rule("leader", Vec::new()); 100_000], None),
        "many-effects" => Decision::hold(vec![rule("leader", vec![Effect::Loss(0.1); 100_000])], None),
        "huge-answer" => found(&"x".repeat(20_000_000), 1.0),
        "long-finding" => found(&"x".repeat(65), 1.0),
        "many-findings" => many_findings(),
        "foreign-target" => Decision::hold(vec![rule("redis0", vec![Effect::Loss(0.5)])], None),
        "long-target" => Decision::hold(vec![rule(&"\n".repeat(1_000_000), Vec::new())], None),
        "foreign-effect" => one_rule(Effect::Rate(1_000)),
        "never-ends" => Decision { ask_again_at_ns: Some(u64::MAX), ..one_rule(Effect::Loss(0.5)) },
        _ => one_rule(Effect::Delay(1_000_000)),
    }
}

fn rule(target: &str, effects: Vec<Effect>) -> Rule {
    Rule { target: target.to_owned(), direction: Direction::Both, effects }
}

fn one_rule(effect: Effect) -> Decision {
    Decision::hold(vec![rule("leader", vec![effect])], None)
}

fn found(name: &str, value: f64) -> Decision {
    let finding = Finding { name: name.to_owned(), value, low: value, high: value, unit: "ms".to_owned() };
    Decision { findings: vec![finding], ..Decision::nothing(None) }
}

fn many_findings() -> Decision {
    let names = (0..33).map(|number| format!("finding {number}"));
    Decision {
        findings: names.flat_map(|name| found(&name, 1.0).findings).collect(),
        ..Decision::nothing(None)
    }
}
