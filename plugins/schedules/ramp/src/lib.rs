//! The schedule `ramp`: the fault grows (or shrinks) evenly from one severity to another, and stays there.
//!
//! Settings: `from` (0%), `to` (100%), `over` (the window), `step` (1s). The ramp is played in steps of equal
//! height: the first is at `from`, the last at `to`.

use faultd_plugin_sdk::schedule::{Decision, Observation, Plan, Rule, Schedule};
use faultd_plugin_sdk::shape::{self, Moment, SECOND_NS, Window};
use faultd_plugin_sdk::{export_schedule, settings};

/// A ramp and the level after it.
struct Ramp {
    window: Window,
    rules: Vec<Rule>,
    from: f64,
    to: f64,
    step_ns: u64,
    /// How many steps there are, the first and the last included.
    steps: u64,
}

export_schedule!(Ramp);

impl Schedule for Ramp {
    fn start(plan: Plan) -> Result<Self, String> {
        let known = ["from", "to", "over", "step"];
        let [from, to, over, step] = settings::read(&plan.settings, known)?;
        let window = Window::of(&plan)?;
        let step_ns = shape::length_ns("step", step.as_deref(), SECOND_NS)?;
        let over_ns = shape::length_ns("over", over.as_deref(), window.length_ns())?;
        if over_ns / 2 < step_ns && !plan.rules.is_empty() {
            return Err("a ramp has at least two steps: make step shorter, or the ramp longer".to_owned());
        }
        let from = settings::share("from", from.as_deref(), 0.0)?;
        let to = settings::share("to", to.as_deref(), 1.0)?;
        Ok(Self { window, rules: plan.rules, from, to, step_ns, steps: over_ns.div_ceil(step_ns) })
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        self.window.play_severity(&self.rules, observation.now_ns, |elapsed_ns| self.moment(elapsed_ns))
    }
}

impl Ramp {
    fn moment(&self, elapsed_ns: u64) -> Moment {
        let number = elapsed_ns / self.step_ns;
        let last = self.steps.saturating_sub(1);
        if number >= last || self.from == self.to {
            return Moment { severity: self.to, until_ns: None };
        }
        let share = number as f64 / last as f64;
        let severity = self.from + (self.to - self.from) * share;
        Moment { severity, until_ns: Some((number + 1).saturating_mul(self.step_ns)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultd_plugin_sdk::testing;

    fn plan(pairs: &[(&str, &str)]) -> Plan {
        let plan = testing::plan_of(
            testing::total_loss_on("n1"),
            100 * SECOND_NS,
            Some(10 * SECOND_NS),
            Some(11 * SECOND_NS),
        );
        Plan { settings: testing::settings(pairs), ..plan }
    }

    /// For each second: the severity in percent and the second in which the plugin is asked again.
    fn decisions(plan: Plan, seconds: &[u64]) -> Vec<(f64, Option<u64>)> {
        let mut ramp = Ramp::start(plan).unwrap();
        let mut decide = |second| {
            let (loss, again) = testing::answer_at_second(&mut ramp, second);
            ((loss.expect("one loss") * 100.0).round(), again)
        };
        seconds.iter().map(|second| decide(*second)).collect()
    }

    #[test]
    fn the_window_goes_evenly_from_nothing_to_everything() {
        assert_eq!(
            decisions(plan(&[]), &[0, 10, 11, 15, 20, 21]),
            [
                (0.0, Some(10)),
                (0.0, Some(11)),
                (10.0, Some(12)),
                (50.0, Some(16)),
                (100.0, Some(21)),
                (0.0, None)
            ]
        );
    }

    #[test]
    fn a_shorter_ramp_stays_where_it_ends() {
        let settings = [("from", "80%"), ("to", "20%"), ("over", "4s"), ("step", "2s")];
        assert_eq!(
            decisions(plan(&settings), &[10, 11, 12, 20]),
            [(80.0, Some(12)), (80.0, Some(12)), (20.0, Some(21)), (20.0, Some(21))]
        );
    }

    #[test]
    fn a_level_ramp_changes_nothing() {
        assert_eq!(decisions(plan(&[("from", "1"), ("to", "1")]), &[10]), [(100.0, Some(21))]);
    }

    #[test]
    fn no_rules_are_a_baseline() {
        assert_eq!(decisions(Plan { rules: Vec::new(), ..plan(&[]) }, &[0, 10]), [(0.0, None); 2]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |pairs: &[(&str, &str)]| Ramp::start(plan(pairs)).err().unwrap();
        assert!(refused(&[("step", "6s")]).contains("two steps"));
        assert!(refused(&[("to", "110%")]).contains("share"));
        assert!(refused(&[("until", "5s")]).contains("unknown"));
    }
}
