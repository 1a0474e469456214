//! The schedule `steps`: the fault at one severity after another, each for the same time.
//!
//! Settings: `levels`, shares of the fault separated by commas (required), and `each`, how long one lasts (the
//! window divided by the number of levels, unless given). After the last level the fault is gone.

use faultd_plugin_sdk::schedule::{Decision, Observation, Plan, Rule, Schedule};
use faultd_plugin_sdk::shape::{self, Moment, SHORTEST_NS, Window};
use faultd_plugin_sdk::{export_schedule, settings};

/// One level after another.
struct Steps {
    window: Window,
    rules: Vec<Rule>,
    levels: Vec<f64>,
    each_ns: u64,
}

export_schedule!(Steps);

impl Schedule for Steps {
    fn start(plan: Plan) -> Result<Self, String> {
        let [levels, each] = settings::read(&plan.settings, ["levels", "each"])?;
        let levels =
            levels_of(levels.as_deref().ok_or("setting levels is missing: for example 10%,50%,100%")?)?;
        let window = Window::of(&plan)?;
        let shared_ns = window.length_ns() / u64::try_from(levels.len()).unwrap_or(u64::MAX).max(1);
        let each_ns = shape::length_ns("each", each.as_deref(), shared_ns.max(1))?;
        if each_ns < SHORTEST_NS && !plan.rules.is_empty() {
            return Err("so many levels would each hold for less than 10ms: give fewer".to_owned());
        }
        Ok(Self { window, rules: plan.rules, levels, each_ns })
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        self.window.play_severity(&self.rules, observation.now_ns, |elapsed_ns| self.moment(elapsed_ns))
    }
}

impl Steps {
    fn moment(&self, elapsed_ns: u64) -> Moment {
        let number = elapsed_ns / self.each_ns;
        let level = usize::try_from(number).ok().and_then(|number| self.levels.get(number));
        let until_ns = level.map(|_| (number + 1).saturating_mul(self.each_ns));
        Moment { severity: level.copied().unwrap_or(0.0), until_ns }
    }
}

fn levels_of(text: &str) -> Result<Vec<f64>, String> {
    let wrong = |part: &str| format!("setting levels is shares such as 10%,50%,100%, not {:?}", part.trim());
    text.split(',').map(|part| settings::parse_share(part).ok_or_else(|| wrong(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultd_plugin_sdk::shape::SECOND_NS;
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

    /// For each second: the severity and the second in which the plugin is asked again.
    fn decisions(plan: Plan, seconds: &[u64]) -> Vec<(f64, Option<u64>)> {
        let mut steps = Steps::start(plan).unwrap();
        let mut decide = |second| {
            let (loss, again) = testing::answer_at_second(&mut steps, second);
            (loss.expect("one loss"), again)
        };
        seconds.iter().map(|second| decide(*second)).collect()
    }

    #[test]
    fn levels_share_the_window() {
        assert_eq!(
            decisions(plan(&[("levels", "10%, 0.5,100%")]), &[0, 10, 29, 30, 50, 69, 70]),
            [
                (0.0, Some(10)),
                (0.1, Some(30)),
                (0.1, Some(30)),
                (0.5, Some(50)),
                (1.0, Some(70)),
                (1.0, Some(70)),
                (0.0, None)
            ]
        );
    }

    #[test]
    fn after_the_last_level_the_fault_is_gone() {
        assert_eq!(
            decisions(plan(&[("levels", "10%,20%"), ("each", "5s")]), &[10, 15, 20, 60]),
            [(0.1, Some(15)), (0.2, Some(20)), (0.0, Some(70)), (0.0, Some(70))]
        );
    }

    #[test]
    fn no_rules_are_a_baseline() {
        let baseline = Plan { rules: Vec::new(), ..plan(&[("levels", "10%")]) };
        assert_eq!(decisions(baseline, &[0, 10]), [(0.0, None); 2]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |pairs: &[(&str, &str)]| Steps::start(plan(pairs)).err().unwrap();
        assert!(refused(&[]).contains("missing"));
        assert!(refused(&[("levels", "10%,,5%")]).contains("shares"));
        assert!(refused(&[("levels", "10%"), ("each", "1ms")]).contains("10ms"));
        assert!(refused(&[("level", "10%")]).contains("unknown"));
    }
}
