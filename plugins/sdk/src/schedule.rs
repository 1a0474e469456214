//! The world `schedule` for guests: says which faults hold at which time of a run.

pub use crate::bindings::schedule::exports::faultd::plugin::scheduler::{
    Counters, Decision, Direction, Effect, Finding, Latency, Member, Needs, Observation, Plan, Role, Rule,
    Second,
};

/// The schedule of a run.
///
/// Its answers may depend on nothing but what it was told: the plan, the observations and the host's random
/// numbers. Then a run can be replayed.
pub trait Schedule: Sized {
    /// What it wants to be told in observations; nothing but the time and the members by default.
    const NEEDS: Needs = Needs { seconds: false, counters: false };

    /// Called once with what the user asked for.
    ///
    /// # Errors
    /// One line for the user, for example about a setting that is not known.
    fn start(plan: Plan) -> Result<Self, String>;

    /// What holds from now on.
    fn decide(&mut self, observation: &Observation) -> Decision;
}

impl Decision {
    /// These rules hold, and the schedule wants to be asked again then.
    #[must_use]
    pub fn hold(active: Vec<Rule>, ask_again_at_ns: Option<u64>) -> Self {
        Self { active, ask_again_at_ns, end_run: false, findings: Vec::new() }
    }

    /// No rule holds, and the schedule wants to be asked again then.
    #[must_use]
    pub fn nothing(ask_again_at_ns: Option<u64>) -> Self {
        Self::hold(Vec::new(), ask_again_at_ns)
    }
}

impl Rule {
    /// The same rule with each effect at a share of what it is, 0.0 (none) to 1.0 (as it is). A share of 0
    /// leaves a rule without effects; a rate is divided by the share, since less of it is worse.
    #[must_use]
    pub fn at_severity(&self, share: f64) -> Self {
        let effects = if share > 0.0 {
            self.effects.iter().map(|effect| scaled(*effect, share)).collect()
        } else {
            Vec::new()
        };
        Self { target: self.target.clone(), direction: self.direction, effects }
    }

    /// The same rule on another target.
    #[must_use]
    pub fn on(&self, target: &str) -> Self {
        Self { target: target.to_owned(), direction: self.direction, effects: self.effects.clone() }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shares are not negative, and `as` saturates"
)]
fn scaled(effect: Effect, share: f64) -> Effect {
    let nanoseconds = |ns: u64| (ns as f64 * share).round() as u64;
    match effect {
        Effect::Delay(ns) => Effect::Delay(nanoseconds(ns)),
        Effect::Jitter(ns) => Effect::Jitter(nanoseconds(ns)),
        Effect::Loss(ratio) => Effect::Loss(ratio * share),
        Effect::Duplicate(ratio) => Effect::Duplicate(ratio * share),
        Effect::Corrupt(ratio) => Effect::Corrupt(ratio * share),
        Effect::Rate(bytes) => Effect::Rate((bytes as f64 / share).round() as u64),
    }
}

/// Makes the crate a schedule plugin. Takes a type that implements [`Schedule`].
#[macro_export]
macro_rules! export_schedule {
    ($schedule:ty) => {
        const _: () = {
            use ::std::{cell::RefCell, string::String};
            use $crate::schedule::{Decision, Needs, Observation, Plan, Schedule};

            // An instance serves one run and has one thread.
            ::std::thread_local! {
                static SCHEDULE: RefCell<Option<$schedule>> = const { RefCell::new(None) };
            }

            struct Exported;

            impl $crate::bindings::schedule::exports::faultd::plugin::scheduler::Guest for Exported {
                fn start(plan: Plan) -> Result<Needs, String> {
                    $crate::log_panics();
                    let schedule = <$schedule as Schedule>::start(plan)?;
                    SCHEDULE.set(Some(schedule));
                    Ok(<$schedule as Schedule>::NEEDS)
                }

                fn decide(observation: Observation) -> Decision {
                    SCHEDULE.with_borrow_mut(|schedule| match schedule {
                        Some(schedule) => schedule.decide(&observation),
                        None => ::std::panic!("decide before start"),
                    })
                }
            }

            $crate::bindings::schedule::export_schedule_world!(
                Exported with_types_in $crate::bindings::schedule
            );
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        let effects = vec![Effect::Delay(100), Effect::Loss(0.5), Effect::Rate(1000)];
        Rule { target: "leader".to_owned(), direction: Direction::Both, effects }
    }

    #[test]
    fn severity_scales_each_effect_and_nothing_else() {
        let expected = vec![Effect::Delay(25), Effect::Loss(0.125), Effect::Rate(4000)];
        assert_eq!(rule().at_severity(0.25), Rule { effects: expected, ..rule() });
        assert_eq!(rule().at_severity(1.0), rule());
        assert_eq!(rule().at_severity(0.0).effects, []);
    }

    #[test]
    fn a_rule_can_be_moved_to_another_target() {
        assert_eq!(rule().on("etcd2"), Rule { target: "etcd2".to_owned(), ..rule() });
    }
}
