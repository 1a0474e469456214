//! What schedules share that play a shape: a severity over time within the window that the user asked for.

use crate::schedule::{Decision, Plan, Rule};
use crate::settings;

/// No schedule asks to be asked again sooner than after this long.
pub const SHORTEST_NS: u64 = 10_000_000;

/// One second, the usual step of a shape that changes continuously.
pub const SECOND_NS: u64 = 1_000_000_000;

/// The window in which a shape is played: from `inject_at_ns` on, for `hold_for_ns` or until the run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    begin_ns: u64,
    /// The first nanosecond after the window.
    end_ns: u64,
    duration_ns: u64,
}

/// Where a time lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the window.
    Before,
    /// In it, so many nanoseconds after its start.
    Within(u64),
    /// After it.
    After,
}

/// The severity from a time on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// A share of the fault, 0 to 1.
    pub severity: f64,
    /// When it may change, in nanoseconds from the start of the window; missing means that it stays.
    pub until_ns: Option<u64>,
}

impl Window {
    /// The window that the plan asks for.
    ///
    /// # Errors
    /// Says why there is no such window. A plan without rules has one always.
    pub fn of(plan: &Plan) -> Result<Self, String> {
        let begin_ns = plan.inject_at_ns.unwrap_or(0);
        if begin_ns >= plan.duration_ns && !plan.rules.is_empty() {
            return Err("the fault would begin after the end of the run: inject it earlier".to_owned());
        }
        if plan.hold_for_ns == Some(0) {
            return Err("the fault would hold for no time at all".to_owned());
        }
        let end_ns = plan.hold_for_ns.map_or(plan.duration_ns, |length| begin_ns.saturating_add(length));
        Ok(Self { begin_ns, end_ns: end_ns.min(plan.duration_ns), duration_ns: plan.duration_ns })
    }

    /// When it begins, on the clock of the run.
    #[must_use]
    pub fn begin_ns(&self) -> u64 {
        self.begin_ns
    }

    /// How long it is.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.begin_ns)
    }

    /// Where a time on the clock of the run lies.
    #[must_use]
    pub fn phase(&self, now_ns: u64) -> Phase {
        if now_ns < self.begin_ns {
            Phase::Before
        } else if now_ns >= self.end_ns {
            Phase::After
        } else {
            Phase::Within(now_ns - self.begin_ns)
        }
    }

    /// When to be asked again if something may change `until_ns` after the start of the window: not too soon,
    /// not after the window, and not at all if the run ends first.
    #[must_use]
    pub fn ask_again_at_ns(&self, now_ns: u64, until_ns: Option<u64>) -> Option<u64> {
        let change_ns = until_ns.map_or(u64::MAX, |until| self.begin_ns.saturating_add(until));
        let ask_ns = change_ns.min(self.end_ns).max(now_ns.saturating_add(SHORTEST_NS));
        (ask_ns < self.duration_ns).then_some(ask_ns)
    }

    /// What holds now. Within the window that is what `within` says: it is told the nanoseconds since the start
    /// of the window, and answers with the rules and when they may change, on the same clock.
    pub fn play(&self, now_ns: u64, within: impl FnOnce(u64) -> (Vec<Rule>, Option<u64>)) -> Decision {
        match self.phase(now_ns) {
            Phase::Before => Decision::nothing(Some(self.begin_ns)),
            Phase::After => Decision::nothing(None),
            Phase::Within(elapsed_ns) => {
                let (active, until_ns) = within(elapsed_ns);
                Decision::hold(active, self.ask_again_at_ns(now_ns, until_ns))
            }
        }
    }

    /// What holds now of rules whose severity has a shape. `severity` is told the nanoseconds since the start of
    /// the window. Without rules nothing ever holds.
    pub fn play_severity(
        &self,
        rules: &[Rule],
        now_ns: u64,
        severity: impl FnOnce(u64) -> Moment,
    ) -> Decision {
        if rules.is_empty() {
            return Decision::nothing(None);
        }
        self.play(now_ns, |elapsed_ns| {
            let moment = severity(elapsed_ns);
            (at_severity(rules, moment.severity), moment.until_ns)
        })
    }
}

/// The rules at a share of what they are, 0 to 1. At 0 there are none.
#[must_use]
pub fn at_severity(rules: &[Rule], share: f64) -> Vec<Rule> {
    if share > 0.0 { rules.iter().map(|rule| rule.at_severity(share.min(1.0))).collect() } else { Vec::new() }
}

/// A setting that is a length of time of at least [`SHORTEST_NS`]; missing is `default_ns`, which is not
/// checked.
///
/// # Errors
/// Says what is no length of time, or too short.
pub fn length_ns(name: &str, value: Option<&str>, default_ns: u64) -> Result<u64, String> {
    let length_ns = settings::duration_ns(name, value, default_ns)?;
    if value.is_some() && length_ns < SHORTEST_NS {
        return Err(format!("setting {name} is at least 10ms"));
    }
    Ok(length_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Direction, Effect};

    fn plan(inject_at_ns: Option<u64>, hold_for_ns: Option<u64>) -> Plan {
        let effects = vec![Effect::Loss(0.5)];
        let rule = Rule { target: "leader".to_owned(), direction: Direction::Egress, effects };
        let duration_ns = 100 * SECOND_NS;
        Plan { duration_ns, inject_at_ns, hold_for_ns, rules: vec![rule], settings: Vec::new() }
    }

    #[test]
    fn a_window_is_within_the_run() {
        let window = Window::of(&plan(Some(30 * SECOND_NS), Some(90 * SECOND_NS))).unwrap();
        assert_eq!((window.begin_ns(), window.length_ns()), (30 * SECOND_NS, 70 * SECOND_NS));
        let phases = [29, 30, 99, 100].map(|second| window.phase(second * SECOND_NS));
        let expected = [Phase::Before, Phase::Within(0), Phase::Within(69 * SECOND_NS), Phase::After];
        assert_eq!(phases, expected);
    }

    #[test]
    fn a_window_that_cannot_be_is_refused() {
        assert!(Window::of(&plan(Some(100 * SECOND_NS), None)).is_err_and(|error| error.contains("after")));
        assert!(Window::of(&plan(None, Some(0))).is_err_and(|error| error.contains("no time")));
        let baseline = Plan { rules: Vec::new(), ..plan(Some(100 * SECOND_NS), None) };
        assert!(Window::of(&baseline).is_ok());
    }

    #[test]
    fn nobody_is_asked_too_soon_nor_after_the_run() {
        let window = Window::of(&plan(None, Some(50 * SECOND_NS))).unwrap();
        assert_eq!(window.ask_again_at_ns(7, Some(8)), Some(7 + SHORTEST_NS));
        assert_eq!(window.ask_again_at_ns(7, Some(SECOND_NS)), Some(SECOND_NS));
        assert_eq!(window.ask_again_at_ns(7, None), Some(50 * SECOND_NS));
        let to_the_end = Window::of(&plan(None, None)).unwrap();
        assert_eq!(to_the_end.ask_again_at_ns(7, Some(u64::MAX)), None);
    }

    #[test]
    fn rules_are_scaled_within_the_window_and_gone_at_severity_0() {
        let plan = plan(Some(SECOND_NS), Some(SECOND_NS));
        let window = Window::of(&plan).unwrap();
        let decide = |now_ns, severity| {
            window.play_severity(&plan.rules, now_ns, |_| Moment { severity, until_ns: None }).active
        };
        assert_eq!(decide(SECOND_NS, 0.5).first().unwrap().effects, [Effect::Loss(0.25)]);
        assert!(decide(SECOND_NS, 0.0).is_empty() && decide(0, 1.0).is_empty());
        assert!(decide(2 * SECOND_NS, 1.0).is_empty());
        let baseline = window.play_severity(&[], 0, |_| Moment { severity: 1.0, until_ns: None });
        assert_eq!(baseline, Decision::nothing(None));
    }

    #[test]
    fn short_lengths_are_refused() {
        assert_eq!(length_ns("step", None, SECOND_NS), Ok(SECOND_NS));
        assert_eq!(length_ns("step", Some("10ms"), SECOND_NS), Ok(SHORTEST_NS));
        assert!(length_ns("step", Some("9ms"), SECOND_NS).is_err());
    }
}
