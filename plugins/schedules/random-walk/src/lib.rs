//! The schedule `random-walk`: the severity of the fault wanders at random.
//!
//! Settings: `step` (1s), `size` (10%), by how much one step changes the severity at most, either way, and
//! `start` (50%). Where the walk would leave 0 or 1, it is turned back.

use faultd_plugin_sdk::random::Random;
use faultd_plugin_sdk::schedule::{Decision, Observation, Plan, Rule, Schedule};
use faultd_plugin_sdk::shape::{self, Moment, SECOND_NS, Window};
use faultd_plugin_sdk::{export_schedule, settings};

/// A walk within the window.
struct RandomWalk {
    window: Window,
    rules: Vec<Rule>,
    step_ns: u64,
    walk: Walk,
}

/// Where the walk has come to.
struct Walk {
    size: f64,
    random: Random,
    steps: u64,
    severity: f64,
}

export_schedule!(RandomWalk);

impl Schedule for RandomWalk {
    fn start(plan: Plan) -> Result<Self, String> {
        Self::with_random(plan, Random::from_host)
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        let (walk, step_ns) = (&mut self.walk, self.step_ns);
        self.window.play_severity(&self.rules, observation.now_ns, |elapsed_ns| {
            let steps = elapsed_ns / step_ns;
            let until_ns = Some((steps + 1).saturating_mul(step_ns));
            Moment { severity: walk.after(steps), until_ns }
        })
    }
}

impl RandomWalk {
    fn with_random(plan: Plan, random: impl FnOnce() -> Random) -> Result<Self, String> {
        let [step, size, start] = settings::read(&plan.settings, ["step", "size", "start"])?;
        let step_ns = shape::length_ns("step", step.as_deref(), SECOND_NS)?;
        let size = settings::share("size", size.as_deref(), 0.1)?;
        if size == 0.0 {
            return Err("setting size is above 0%: a walk without steps goes nowhere".to_owned());
        }
        let severity = settings::share("start", start.as_deref(), 0.5)?;
        let window = Window::of(&plan)?;
        let walk = Walk { size, random: random(), steps: 0, severity };
        Ok(Self { window, rules: plan.rules, step_ns, walk })
    }
}

impl Walk {
    /// The severity after so many steps. Each step draws one number, also those that the host did not ask for,
    /// so that the walk does not depend on how busy the host was.
    fn after(&mut self, steps: u64) -> f64 {
        while self.steps < steps {
            self.steps += 1;
            let change = self.size * (2.0 * self.uniform() - 1.0);
            self.severity = reflected(self.severity + change);
        }
        self.severity
    }

    /// A number from 0 to 1.
    fn uniform(&mut self) -> f64 {
        const PARTS: u64 = 1 << 53;
        self.random.below(PARTS) as f64 / PARTS as f64
    }
}

/// A severity that left 0 to 1 by at most 1, turned back at the end where it left.
fn reflected(severity: f64) -> f64 {
    let positive = severity.abs();
    if positive > 1.0 { 2.0 - positive } else { positive }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultd_plugin_sdk::testing;

    fn plan(pairs: &[(&str, &str)]) -> Plan {
        let plan =
            testing::plan_of(testing::total_loss_on("n1"), 10_000 * SECOND_NS, Some(10 * SECOND_NS), None);
        Plan { settings: testing::settings(pairs), ..plan }
    }

    fn walk(plan: Plan, seed: u64) -> Result<RandomWalk, String> {
        RandomWalk::with_random(plan, || Random::from_seed(seed))
    }

    fn decide(walk: &mut RandomWalk, second: u64) -> (f64, Option<u64>) {
        let (loss, again) = testing::answer_at_second(walk, second);
        (loss.expect("one loss"), again)
    }

    fn path(seed: u64, seconds: impl Iterator<Item = u64>) -> Vec<f64> {
        let mut walk = walk(plan(&[("size", "20%")]), seed).unwrap();
        seconds.map(|second| decide(&mut walk, second).0).collect()
    }

    #[test]
    fn the_walk_begins_at_its_start_and_takes_a_step_a_time() {
        let mut walk = walk(plan(&[("step", "5s"), ("start", "30%")]), 1).unwrap();
        assert_eq!(decide(&mut walk, 0), (0.0, Some(10)));
        assert_eq!(decide(&mut walk, 10), (0.3, Some(15)));
        assert_eq!(decide(&mut walk, 14), (0.3, Some(15)));
        let (severity, again) = decide(&mut walk, 15);
        assert!(severity != 0.3 && (severity - 0.3).abs() <= 0.1 && again == Some(20), "{severity}");
    }

    #[test]
    fn no_step_is_too_large_and_all_of_the_range_is_reached() {
        let path = path(7, 10..9000);
        assert!(path.windows(2).all(|pair| (pair[1] - pair[0]).abs() <= 0.2 + 1e-12));
        assert!(path.iter().all(|severity| (0.0..=1.0).contains(severity)));
        assert!(path.iter().any(|severity| *severity < 0.05) && path.iter().any(|severity| *severity > 0.95));
    }

    #[test]
    fn the_same_seed_walks_the_same_way_however_often_it_is_asked() {
        let (often, rarely) = (path(3, 10..100), path(3, (10..100).step_by(9)));
        assert_eq!(often.iter().step_by(9).copied().collect::<Vec<f64>>(), rarely);
        assert_ne!(often, path(4, 10..100));
    }

    #[test]
    fn a_walk_is_turned_back_at_its_ends() {
        assert_eq!(
            [reflected(-0.25), reflected(1.25), reflected(0.5), reflected(2.0)],
            [0.25, 0.75, 0.5, 0.0]
        );
    }

    #[test]
    fn no_rules_are_a_baseline() {
        let mut walk = walk(Plan { rules: Vec::new(), ..plan(&[]) }, 1).unwrap();
        assert_eq!(decide(&mut walk, 10), (0.0, None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |pairs: &[(&str, &str)]| walk(plan(pairs), 1).err().unwrap();
        assert!(refused(&[("size", "0")]).contains("size"));
        assert!(refused(&[("step", "1ms")]).contains("10ms"));
        assert!(refused(&[("begin", "1")]).contains("unknown"));
    }
}
