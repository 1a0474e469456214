//! Plays a schedule without a cluster: time jumps from decision to decision, and a simulated system answers.
//!
//! The system has three members, `node0` to `node2`; `node0` leads in the first half, `node1` in the second.
//! Throughput is 1000 operations a second without a fault and falls as the logistic of the severity's
//! logarithm: 10 % less at a severity of 5 %, 50 % less at 20 %. Every second varies by about 1 %.

use std::time::Duration;

use faultd_api::{
    plugin::{CheckRequest, DryChange, DryRule, DryRun},
    units::{duration_text, nanoseconds, share_text},
};
use faultd_plugin_host::{
    ClusterMember, Counters, Decision, Effect, Finding, Latency, Observation, Plan, PluginError, Role, Rule,
    SchedulePlugin, Second,
};

use crate::run::injection::{direction, for_schedules};

/// A schedule is asked at most so often in a dry run.
const MOST_DECISIONS: u64 = 100_000;
/// The most changes that are told.
const MOST_CHANGES: usize = 10_000;
const MEMBERS: [&str; 3] = ["node0", "node1", "node2"];
const NORMAL_OPERATIONS: f64 = 1000.0;
/// Severity at which half of the throughput is left.
const HALF_AT: f64 = 0.2;
/// 10 % less at a severity of 5 %: ln(9) / ln(0.2 / 0.05).
const STEEPNESS: f64 = 1.585;
/// Simulated time between two looks, as a run has it at least.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Plays the schedule from the beginning to the end of the request.
///
/// # Errors
/// The plugin refused the plan, or broke its limits.
pub async fn play(plugin: &SchedulePlugin, request: &CheckRequest) -> Result<DryRun, PluginError> {
    let plan = plan(request);
    let end = plan.duration;
    let mut system = System::new(plan.clone());
    let mut schedule = plugin.start(plan).await?;
    let needs = schedule.needs();
    let mut run = DryRun::default();
    let mut now = Duration::ZERO;
    loop {
        let observation = system.observation(now, needs.seconds, needs.counters);
        let decision = schedule.decide(observation).await?;
        run.decisions += 1;
        system.hold(now, &decision.active);
        note(&mut run, now, &system, &decision);
        let again = decision.ask_again_at.map(|at| at.max(now + SHORTEST_WAIT));
        // As in a run, a change of leader is told at once.
        let change = (now < end / 2).then_some(end / 2);
        let next = [again, change].into_iter().flatten().min().unwrap_or(end);
        if decision.end_run || next >= end || run.decisions >= MOST_DECISIONS {
            run.duration_ns = nanoseconds(if decision.end_run { now } else { end });
            return Ok(run);
        }
        now = next;
    }
}

fn plan(request: &CheckRequest) -> Plan {
    let effects = [
        request.delay_ns.map(|ns| Effect::Delay(Duration::from_nanos(ns))),
        request.loss_ratio.map(Effect::Loss),
    ];
    let effects: Vec<Effect> = effects.into_iter().flatten().collect();
    let rule = Rule { target: request.target.clone(), direction: for_schedules(request.direction), effects };
    Plan {
        duration: Duration::from_nanos(request.duration_ns),
        inject_at: request.inject_at_ns.map(Duration::from_nanos),
        hold_for: request.hold_for_ns.map(Duration::from_nanos),
        rules: if rule.effects.is_empty() { Vec::new() } else { vec![rule] },
        settings: request.settings.clone().into_iter().collect(),
        seed: request.seed,
    }
}

fn note(run: &mut DryRun, now: Duration, system: &System, decision: &Decision) {
    let active: Vec<DryRule> = decision.active.iter().map(|rule| system.dry_rule(rule)).collect();
    let is_new = run.changes.last().is_none_or(|last| last.active != active);
    if is_new && run.changes.len() < MOST_CHANGES {
        run.changes.push(DryChange { at_ns: nanoseconds(now), active });
    }
    if !decision.findings.is_empty() {
        run.findings = decision.findings.iter().map(finding_text).collect();
    }
}

fn finding_text(finding: &Finding) -> String {
    let Finding { name, value, low, high, unit } = finding;
    format!("{name}: {value:.4} {unit} ({low:.4} to {high:.4})").replace(char::is_control, " ")
}

/// The simulated system.
struct System {
    plan: Plan,
    /// The highest severity of the rules that hold.
    severity: f64,
    active: Vec<Rule>,
    /// Operations of the second under way, so far.
    operations: f64,
    /// Up to when the system has been simulated.
    simulated: Duration,
    ended: Vec<Second>,
    noise: u64,
}

impl System {
    fn new(plan: Plan) -> Self {
        let noise = plan.seed | 1;
        Self {
            plan,
            severity: 0.0,
            active: Vec::new(),
            operations: 0.0,
            simulated: Duration::ZERO,
            ended: Vec::new(),
            noise,
        }
    }

    fn hold(&mut self, now: Duration, active: &[Rule]) {
        self.go_on_until(now);
        self.severity = active.iter().map(|rule| self.severity_of(rule)).fold(0.0, f64::max);
        self.active = active.to_vec();
    }

    fn observation(&mut self, now: Duration, seconds: bool, counters: bool) -> Observation {
        self.go_on_until(now);
        let leader = usize::from(now >= self.plan.duration / 2);
        let member = |(place, name): (usize, &&str)| ClusterMember {
            name: (*name).to_owned(),
            role: if place == leader { Role::Leader } else { Role::Follower },
            serves_clients: true,
        };
        let ended = std::mem::take(&mut self.ended);
        Observation {
            now,
            members: MEMBERS.iter().enumerate().map(member).collect(),
            seconds: if seconds { ended } else { Vec::new() },
            counters: if counters { self.active.iter().map(counted).collect() } else { Vec::new() },
        }
    }

    fn go_on_until(&mut self, now: Duration) {
        while self.simulated < now {
            let number = self.simulated.as_secs();
            let end_of_second = Duration::from_secs(number + 1);
            let step = end_of_second.min(now);
            let left = NORMAL_OPERATIONS * (1.0 - degradation(self.severity));
            self.operations += left * (step - self.simulated).as_secs_f64();
            self.simulated = step;
            if step == end_of_second {
                let second = self.close_second(number);
                self.ended.push(second);
            }
        }
    }

    fn close_second(&mut self, number: u64) -> Second {
        let operations = std::mem::take(&mut self.operations) * (1.0 + 0.02 * (self.uniform() - 0.5));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1010")]
        let operations = operations.round() as u64;
        let mean = Duration::from_millis(10_000 / operations.max(1));
        let latency =
            Latency { mean, p50: mean, p95: mean * 2, p99: mean * 3, p999: mean * 4, max: mean * 5 };
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Second { number, operations, failures: 0, latency: (operations > 0).then_some(latency) }
    }

    /// From 0 to 1: a small generator is enough for noise.
    fn uniform(&mut self) -> f64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
        let uniform = (self.noise >> 11) as f64 / (1_u64 << 53) as f64;
        uniform
    }

    /// How much of the fault that was asked for a rule is.
    fn severity_of(&self, rule: &Rule) -> f64 {
        let asked = self.plan.rules.first().map(|rule| rule.effects.as_slice()).unwrap_or_default();
        let share = |effect: &Effect| {
            let part = asked.iter().find_map(|asked| match (effect, asked) {
                (Effect::Delay(part), Effect::Delay(whole)) => Some(part.as_secs_f64() / whole.as_secs_f64()),
                (Effect::Loss(part), Effect::Loss(whole)) => Some(part / whole),
                _ => None,
            });
            part.filter(|share| share.is_finite()).unwrap_or(1.0)
        };
        rule.effects.iter().map(share).fold(0.0, f64::max)
    }

    fn dry_rule(&self, rule: &Rule) -> DryRule {
        DryRule {
            target: rule.target.replace(char::is_control, " "),
            direction: direction(rule.direction).text().to_owned(),
            severity: self.severity_of(rule),
            text: rule.effects.iter().map(effect_text).collect::<Vec<_>>().join(", "),
        }
    }
}

fn degradation(severity: f64) -> f64 {
    if severity <= 0.0 { 0.0 } else { 1.0 / (1.0 + (HALF_AT / severity).powf(STEEPNESS)) }
}

fn counted(rule: &Rule) -> Counters {
    Counters {
        target: rule.target.clone(),
        direction: rule.direction,
        matched: 1000,
        delayed: 1000,
        dropped: 0,
        unintended: 0,
    }
}

fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::Delay(delay) => format!("delay {}", duration_text(nanoseconds(*delay))),
        Effect::Jitter(jitter) => format!("jitter {}", duration_text(nanoseconds(*jitter))),
        Effect::Loss(ratio) => format!("loss {}", share_text(*ratio)),
        Effect::Duplicate(ratio) => format!("duplicate {}", share_text(*ratio)),
        Effect::Corrupt(ratio) => format!("corrupt {}", share_text(*ratio)),
        Effect::Rate(bytes) => format!("rate {bytes} B/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> CheckRequest {
        CheckRequest { delay_ns: Some(100_000_000), ..CheckRequest::default() }
    }

    #[test]
    fn the_simulated_zone_is_where_the_documentation_says() {
        assert!((degradation(0.05) - 0.1).abs() < 0.001);
        assert!((degradation(0.2) - 0.5).abs() < 1e-9);
        assert!(degradation(0.0).abs() < 1e-9);
    }

    #[test]
    fn seconds_are_whole_and_tell_what_held_in_them() {
        let mut system = System::new(plan(&request()));
        let rule = system.plan.rules[0].clone();
        let at = Duration::from_millis;
        assert!(system.observation(at(500), true, false).seconds.is_empty());
        system.hold(at(1500), &[Rule { effects: vec![Effect::Delay(at(20))], ..rule }]);
        let seconds = system.observation(at(3200), true, false).seconds;
        let operations: Vec<u64> = seconds.iter().map(|second| second.operations).collect();
        let expected = [1000, 750, 500];
        let near = operations.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 12);
        assert!(operations.len() == 3 && near, "{operations:?}");
    }

    #[test]
    fn the_leader_changes_in_the_middle() {
        let mut system = System::new(plan(&request()));
        let mut leader = |second| {
            let members = system.observation(Duration::from_secs(second), false, false).members;
            members.iter().position(|member| member.role == Role::Leader)
        };
        assert_eq!([leader(29), leader(30)], [Some(0), Some(1)]);
    }
}
