//! Holds a schedule to its manifest: what it proposes is compared with what it asked to be allowed, before
//! anybody else sees it.

use std::time::Duration;

use faultd_plugin_manifest::{EffectKind, FaultLimits};

use crate::schedule::{Decision, Effect, Finding, Rule};

/// The most findings at once.
const MOST_FINDINGS: usize = 32;
/// The longest name and unit of a finding, in characters.
const LONGEST_NAME: usize = 64;

/// What one schedule may still propose.
#[derive(Debug)]
pub(crate) struct ProposalGuard {
    limits: FaultLimits,
    /// Targets that the operator allows.
    policy: FaultLimits,
    /// When the run is over.
    end: Duration,
    /// For how long faults have held, up to the last call.
    held: Duration,
    last_call: Duration,
    holds: bool,
}

impl ProposalGuard {
    pub(crate) fn new(limits: FaultLimits, policy: FaultLimits, end: Duration) -> Self {
        Self { limits, policy, end, held: Duration::ZERO, last_call: Duration::ZERO, holds: false }
    }

    /// Refuses what goes beyond the limits. A decision under which faults would hold for too long is made to
    /// ask again when the time is up.
    pub(crate) fn check(&mut self, now: Duration, decision: &mut Decision) -> Result<(), String> {
        if self.holds {
            self.held += now.saturating_sub(self.last_call);
        }
        self.last_call = now;
        self.holds = !decision.active.is_empty();
        let most = usize::try_from(self.limits.most_at_once).unwrap_or(usize::MAX);
        if decision.active.len() > most {
            return Err(format!("{} faults at once, at most {most}", decision.active.len()));
        }
        decision.active.iter().try_for_each(|rule| self.check_rule(rule))?;
        if decision.findings.len() > MOST_FINDINGS {
            return Err(format!("{} findings, at most {MOST_FINDINGS}", decision.findings.len()));
        }
        decision.findings.iter().try_for_each(check_finding)?;
        if !self.holds {
            return Ok(());
        }
        let longest = Duration::try_from_secs_f64(self.limits.longest_s).unwrap_or(Duration::MAX);
        let left = longest.saturating_sub(self.held);
        if left.is_zero() {
            return Err(format!("faults for more than {} s in all", self.limits.longest_s));
        }
        let up = now.saturating_add(left);
        decision.ask_again_at = match decision.ask_again_at {
            Some(at) => Some(at.min(up)),
            None => (up < self.end).then_some(up),
        };
        Ok(())
    }

    fn check_rule(&self, rule: &Rule) -> Result<(), String> {
        if !self.limits.allows_target(&rule.target) || !self.policy.allows_target(&rule.target) {
            let target: String = rule.target.chars().filter(|c| !c.is_control()).take(80).collect();
            return Err(format!("a fault on {target:?}, which is not among its targets"));
        }
        // The list is as long as the plugin likes; there are but a few kinds.
        let mut seen = Vec::new();
        for effect in &rule.effects {
            self.check_effect(effect)?;
            let kind = kind(effect);
            if seen.contains(&kind) {
                return Err(format!("{} twice in one rule", kind.name()));
            }
            seen.push(kind);
        }
        Ok(())
    }

    fn check_effect(&self, effect: &Effect) -> Result<(), String> {
        let kind = kind(effect);
        let name = kind.name();
        if !self.limits.effects.contains(&kind) {
            return Err(format!("{name}, which is not among its effects"));
        }
        match effect {
            Effect::Delay(time) | Effect::Jitter(time) => {
                let (given, most) = (time.as_secs_f64() * 1e3, self.limits.longest_delay_ms);
                within(name, given, most, "ms")
            }
            Effect::Loss(ratio) | Effect::Duplicate(ratio) | Effect::Corrupt(ratio) => {
                within(name, ratio * 100.0, self.limits.most_loss * 100.0, "%")
            }
            Effect::Rate(bytes) if *bytes < self.limits.least_rate => {
                Err(format!("a rate of {bytes} bytes a second, at least {}", self.limits.least_rate))
            }
            Effect::Rate(_) => Ok(()),
        }
    }
}

fn kind(effect: &Effect) -> EffectKind {
    match effect {
        Effect::Delay(_) => EffectKind::Delay,
        Effect::Jitter(_) => EffectKind::Jitter,
        Effect::Loss(_) => EffectKind::Loss,
        Effect::Duplicate(_) => EffectKind::Duplicate,
        Effect::Corrupt(_) => EffectKind::Corrupt,
        Effect::Rate(_) => EffectKind::Rate,
    }
}

/// Not a number is within nothing.
fn within(name: &str, given: f64, most: f64, unit: &str) -> Result<(), String> {
    if given >= 0.0 && given <= most {
        Ok(())
    } else {
        Err(format!("{name} of {given} {unit}, at most {most} {unit}"))
    }
}

fn check_finding(finding: &Finding) -> Result<(), String> {
    let Finding { name, value, low, high, unit } = finding;
    if [name, unit].into_iter().any(|text| text.chars().nth(LONGEST_NAME).is_some()) {
        return Err(format!("a finding whose name or unit has more than {LONGEST_NAME} characters"));
    }
    if ![value, low, high].into_iter().all(|number| number.is_finite()) {
        return Err(format!("the finding {name:?}, which is no finite number"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Direction;

    const END: Duration = Duration::from_secs(1000);

    fn decision(target: &str, effects: Vec<Effect>) -> Decision {
        let rule = Rule { target: target.to_owned(), direction: Direction::Egress, effects };
        Decision { active: vec![rule], ask_again_at: None, end_run: false, findings: Vec::new() }
    }

    fn limits() -> FaultLimits {
        FaultLimits {
            effects: vec![EffectKind::Delay, EffectKind::Loss],
            longest_delay_ms: 100.0,
            most_loss: 0.5,
            longest_s: 10.0,
            targets: vec!["etcd*".to_owned(), "leader".to_owned()],
            most_at_once: 2,
            ..FaultLimits::default()
        }
    }

    fn refusal(mut decision: Decision) -> String {
        let mut guard = ProposalGuard::new(limits(), FaultLimits::widest(), END);
        guard.check(Duration::ZERO, &mut decision).unwrap_err()
    }

    #[test]
    fn what_is_within_the_manifest_passes() {
        let mut guard = ProposalGuard::new(limits(), FaultLimits::widest(), END);
        let effects = vec![Effect::Delay(Duration::from_millis(100)), Effect::Loss(0.5)];
        assert_eq!(guard.check(Duration::ZERO, &mut decision("leader", effects)), Ok(()));
    }

    #[test]
    fn what_goes_beyond_it_is_named() {
        assert!(refusal(decision("redis0", vec![])).contains("\"redis0\", which is not among its targets"));
        let long = refusal(decision("leader", vec![Effect::Delay(Duration::from_millis(101))]));
        assert_eq!(long, "delay of 101 ms, at most 100 ms");
        assert!(refusal(decision("leader", vec![Effect::Loss(f64::NAN)])).contains("loss of NaN"));
        assert!(refusal(decision("leader", vec![Effect::Loss(-0.1)])).contains("loss of -10"));
        assert!(refusal(decision("leader", vec![Effect::Loss(1e300)])).contains("at most 50 %"));
        assert!(refusal(decision("leader", vec![Effect::Rate(5)])).contains("rate, which is not among"));
        let mut many = decision("leader", vec![]);
        many.active = vec![many.active[0].clone(); 3];
        assert_eq!(refusal(many), "3 faults at once, at most 2");
    }

    #[test]
    fn the_operator_may_allow_fewer_targets() {
        let policy = FaultLimits { targets: vec!["etcd0".to_owned()], ..FaultLimits::widest() };
        let mut guard = ProposalGuard::new(limits(), policy, END);
        assert!(guard.check(Duration::ZERO, &mut decision("etcd1", vec![])).is_err());
        assert!(guard.check(Duration::ZERO, &mut decision("etcd0", vec![])).is_ok());
    }

    #[test]
    fn faults_hold_no_longer_than_the_manifest_says_all_in_all() {
        let seconds = Duration::from_secs;
        let mut guard = ProposalGuard::new(limits(), FaultLimits::widest(), END);
        let mut first = decision("leader", vec![]);
        guard.check(seconds(0), &mut first).unwrap();
        assert_eq!(first.ask_again_at, Some(seconds(10)));
        let mut nothing = Decision { active: vec![], ..decision("leader", vec![]) };
        guard.check(seconds(4), &mut nothing).unwrap();
        assert_eq!(nothing.ask_again_at, None);
        let mut second = Decision { ask_again_at: Some(seconds(100)), ..decision("leader", vec![]) };
        guard.check(seconds(50), &mut second).unwrap();
        assert_eq!(second.ask_again_at, Some(seconds(56)));
        assert!(
            guard.check(seconds(56), &mut decision("leader", vec![])).unwrap_err().contains("more than 10 s")
        );
    }

    #[test]
    fn an_effect_comes_once_in_a_rule() {
        let twice = decision("leader", vec![Effect::Loss(0.1), Effect::Loss(0.2)]);
        assert_eq!(refusal(twice), "loss twice in one rule");
    }

    #[test]
    fn findings_are_few_short_and_finite() {
        let found = |name: &str, value| {
            let (name, unit) = (name.to_owned(), "ms".to_owned());
            Decision {
                findings: vec![Finding { name, value, low: 0.0, high: 1.0, unit }],
                ..decision("leader", vec![])
            }
        };
        assert!(refusal(found("x", f64::NAN)).contains("\"x\", which is no finite number"));
        assert!(refusal(found("x", f64::INFINITY)).contains("\"x\", which is no finite number"));
        assert!(refusal(found(&"x".repeat(65), 0.0)).contains("more than 64 characters"));
        let mut guard = ProposalGuard::new(limits(), FaultLimits::widest(), END);
        let mut many = found("x", 1.0);
        many.findings = vec![many.findings.remove(0); 32];
        guard.check(Duration::ZERO, &mut many).unwrap();
        many.findings.extend(found("x", 1.0).findings);
        assert_eq!(guard.check(Duration::ZERO, &mut many).unwrap_err(), "33 findings, at most 32");
    }
}
