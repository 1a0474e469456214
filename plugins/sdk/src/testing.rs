//! What the tests of a schedule need: a plan, what it is told, and what its answer comes to.

use crate::schedule::{Decision, Direction, Effect, Member, Observation, Plan, Rule, Schedule};
use crate::shape::SECOND_NS;

/// Settings as a plan has them.
#[must_use]
pub fn settings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A rule that loses everything, both ways, so that the loss of a decision is its severity.
#[must_use]
pub fn total_loss_on(target: &str) -> Rule {
    Rule { target: target.to_owned(), direction: Direction::Both, effects: vec![Effect::Loss(1.0)] }
}

/// A plan of that one rule, without settings; times in nanoseconds.
#[must_use]
pub fn plan_of(rule: Rule, duration_ns: u64, inject_at_ns: Option<u64>, hold_for_ns: Option<u64>) -> Plan {
    Plan { duration_ns, inject_at_ns, hold_for_ns, rules: vec![rule], settings: Vec::new() }
}

/// A time, with these members and nothing measured.
#[must_use]
pub fn observation(now_ns: u64, members: Vec<Member>) -> Observation {
    Observation { now_ns, members, seconds: Vec::new(), counters: Vec::new() }
}

/// The severity of a decision about [`total_loss_on`]; 0 where nothing holds, none where the first rule is
/// anything but one loss.
#[must_use]
pub fn severity(decision: &Decision) -> Option<f64> {
    let Some(rule) = decision.active.first() else { return Some(0.0) };
    match rule.effects.as_slice() {
        [Effect::Loss(loss)] => Some(*loss),
        _ => None,
    }
}

/// What a schedule of [`total_loss_on`] answers at a second: its severity, as [`severity`] says it, and the second in
/// which it wants to be asked again.
pub fn answer_at_second(schedule: &mut impl Schedule, second: u64) -> (Option<f64>, Option<u64>) {
    let decision = schedule.decide(&observation(second * SECOND_NS, Vec::new()));
    (severity(&decision), decision.ask_again_at_ns.map(|at_ns| at_ns / SECOND_NS))
}
