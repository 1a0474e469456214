//! The schedule `sine`: the severity of the fault goes up and down in a wave.
//!
//! Settings: `period` (60s), `low` (0%), `high` (100%), `step` (1s). The wave begins at `low`.

use faultd_plugin_sdk::schedule::{Decision, Observation, Plan, Rule, Schedule};
use faultd_plugin_sdk::shape::{self, Moment, SECOND_NS, Window};
use faultd_plugin_sdk::{export_schedule, settings};

/// A wave, played in steps.
struct Sine {
    window: Window,
    rules: Vec<Rule>,
    period_ns: u64,
    low: f64,
    high: f64,
    step_ns: u64,
}

export_schedule!(Sine);

impl Schedule for Sine {
    fn start(plan: Plan) -> Result<Self, String> {
        let known = ["period", "low", "high", "step"];
        let [period, low, high, step] = settings::read(&plan.settings, known)?;
        let period_ns = shape::length_ns("period", period.as_deref(), 60 * SECOND_NS)?;
        let step_ns = shape::length_ns("step", step.as_deref(), SECOND_NS)?;
        let low = settings::share("low", low.as_deref(), 0.0)?;
        let high = settings::share("high", high.as_deref(), 1.0)?;
        if low >= high {
            return Err("setting low is below setting high".to_owned());
        }
        // With fewer steps a wave is not to be recognised.
        if period_ns / 4 < step_ns {
            return Err(
                "a period has at least four steps: make step shorter, or the period longer".to_owned()
            );
        }
        Ok(Self { window: Window::of(&plan)?, rules: plan.rules, period_ns, low, high, step_ns })
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        self.window.play_severity(&self.rules, observation.now_ns, |elapsed_ns| self.moment(elapsed_ns))
    }
}

impl Sine {
    fn moment(&self, elapsed_ns: u64) -> Moment {
        let step_begin_ns = elapsed_ns - elapsed_ns % self.step_ns;
        // The rest first: a float loses nanoseconds of long runs.
        let turn = (step_begin_ns % self.period_ns) as f64 / self.period_ns as f64;
        let share = (1.0 - (turn * std::f64::consts::TAU).cos()) / 2.0;
        let severity = self.low + (self.high - self.low) * share;
        Moment { severity, until_ns: Some(step_begin_ns.saturating_add(self.step_ns)) }
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
            Some(60 * SECOND_NS),
        );
        Plan { settings: testing::settings(pairs), ..plan }
    }

    /// For each second: the severity in percent and the second in which the plugin is asked again.
    fn decisions(plan: Plan, seconds: &[u64]) -> Vec<(f64, Option<u64>)> {
        let mut sine = Sine::start(plan).unwrap();
        let mut decide = |second| {
            let (loss, again) = testing::answer_at_second(&mut sine, second);
            ((loss.expect("one loss") * 100.0).round(), again)
        };
        seconds.iter().map(|second| decide(*second)).collect()
    }

    #[test]
    fn the_wave_goes_from_low_to_high_and_back() {
        let settings = [("period", "20s"), ("low", "20%"), ("high", "80%"), ("step", "5s")];
        assert_eq!(
            decisions(plan(&settings), &[0, 10, 14, 15, 20, 25, 30, 69, 70]),
            [
                (0.0, Some(10)),
                (20.0, Some(15)),
                (20.0, Some(15)),
                (50.0, Some(20)),
                (80.0, Some(25)),
                (50.0, Some(30)),
                (20.0, Some(35)),
                (50.0, Some(70)),
                (0.0, None)
            ]
        );
    }

    #[test]
    fn no_rules_are_a_baseline() {
        assert_eq!(decisions(Plan { rules: Vec::new(), ..plan(&[]) }, &[0, 10]), [(0.0, None); 2]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |pairs: &[(&str, &str)]| Sine::start(plan(pairs)).err().unwrap();
        assert!(refused(&[("low", "80%"), ("high", "20%")]).contains("below"));
        assert!(refused(&[("period", "3s")]).contains("four steps"));
        assert!(refused(&[("amplitude", "1")]).contains("unknown"));
    }
}
