//! The schedule `flap`: the fault holds for a share of each period, again and again.
//!
//! Settings: `period` (10s), `duty` (50%), the share of each period at whose start the fault holds, and `jitter`
//! (0%): each period's length is drawn evenly from up to so much shorter to up to so much longer.

use faultd_plugin_sdk::random::Random;
use faultd_plugin_sdk::schedule::{Decision, Observation, Plan, Rule, Schedule};
use faultd_plugin_sdk::shape::{self, Moment, SECOND_NS, SHORTEST_NS, Window};
use faultd_plugin_sdk::{export_schedule, settings};

/// Periods of which a part has the fault.
struct Flap {
    window: Window,
    rules: Vec<Rule>,
    periods: Periods,
}

/// The period that was reached.
struct Periods {
    usual_ns: u64,
    duty: f64,
    jitter: f64,
    random: Random,
    /// Start of the current period, from the start of the window.
    begin_ns: u64,
    length_ns: u64,
}

export_schedule!(Flap);

impl Schedule for Flap {
    fn start(plan: Plan) -> Result<Self, String> {
        Self::with_random(plan, Random::from_host)
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        let periods = &mut self.periods;
        self.window.play_severity(&self.rules, observation.now_ns, |elapsed_ns| periods.moment(elapsed_ns))
    }
}

impl Flap {
    fn with_random(plan: Plan, random: impl FnOnce() -> Random) -> Result<Self, String> {
        let [period, duty, jitter] = settings::read(&plan.settings, ["period", "duty", "jitter"])?;
        let usual_ns = shape::length_ns("period", period.as_deref(), 10 * SECOND_NS)?;
        let duty = settings::share("duty", duty.as_deref(), 0.5)?;
        let jitter = settings::share("jitter", jitter.as_deref(), 0.0)?;
        if duty == 0.0 || duty == 1.0 {
            return Err("setting duty lies between 0% and 100%: there is no flapping at its ends".to_owned());
        }
        let shortest_part = usual_ns as f64 * (1.0 - jitter) * duty.min(1.0 - duty);
        if shortest_part < SHORTEST_NS as f64 {
            return Err("a part of a period would be shorter than 10ms: make the period longer".to_owned());
        }
        let window = Window::of(&plan)?;
        let periods = Periods::new(usual_ns, duty, jitter, random());
        Ok(Self { window, rules: plan.rules, periods })
    }
}

impl Periods {
    fn new(usual_ns: u64, duty: f64, jitter: f64, random: Random) -> Self {
        let mut periods = Self { usual_ns, duty, jitter, random, begin_ns: 0, length_ns: usual_ns };
        periods.length_ns = periods.draw_ns();
        periods
    }

    fn moment(&mut self, elapsed_ns: u64) -> Moment {
        while elapsed_ns >= self.end_ns() {
            self.begin_ns = self.end_ns();
            self.length_ns = self.draw_ns();
        }
        let clear_ns = self.begin_ns.saturating_add(part_of(self.length_ns, self.duty));
        if elapsed_ns < clear_ns {
            Moment { severity: 1.0, until_ns: Some(clear_ns) }
        } else {
            Moment { severity: 0.0, until_ns: Some(self.end_ns()) }
        }
    }

    fn end_ns(&self) -> u64 {
        self.begin_ns.saturating_add(self.length_ns)
    }

    /// The length of the next period. One number is drawn for each, so that a run can be replayed.
    fn draw_ns(&mut self) -> u64 {
        let reach_ns = part_of(self.usual_ns, self.jitter);
        let drawn_ns = self.random.below(reach_ns.saturating_mul(2).saturating_add(1));
        self.usual_ns.saturating_sub(reach_ns).saturating_add(drawn_ns)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length is a length"
)]
fn part_of(length_ns: u64, share: f64) -> u64 {
    (length_ns as f64 * share).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultd_plugin_sdk::testing;

    fn plan(pairs: &[(&str, &str)]) -> Plan {
        let plan = testing::plan_of(
            testing::total_loss_on("n1"),
            1000 * SECOND_NS,
            Some(10 * SECOND_NS),
            Some(500 * SECOND_NS),
        );
        Plan { settings: testing::settings(pairs), ..plan }
    }

    fn flap(plan: Plan, seed: u64) -> Result<Flap, String> {
        Flap::with_random(plan, || Random::from_seed(seed))
    }

    fn decide(flap: &mut Flap, now_ns: u64) -> (bool, Option<u64>) {
        let observation = testing::observation(now_ns, vec![]);
        let decision = flap.decide(&observation);
        (!decision.active.is_empty(), decision.ask_again_at_ns)
    }

    /// The times at which something changes until the schedule does not ask any more.
    fn changes(flap: &mut Flap) -> Vec<(u64, bool)> {
        let mut changes = Vec::new();
        let mut now = Some(0);
        while let Some(now_ns) = now {
            let (holds, again) = decide(flap, now_ns);
            changes.push((now_ns, holds));
            now = again;
        }
        changes
    }

    #[test]
    fn the_fault_holds_for_its_share_of_each_period() {
        let mut flap = flap(plan(&[("period", "4s"), ("duty", "25%")]), 1).unwrap();
        let seconds = [0, 10, 11, 14, 15, 18, 510].map(|second| decide(&mut flap, second * SECOND_NS));
        let expected = [
            (false, Some(10)),
            (true, Some(11)),
            (false, Some(14)),
            (true, Some(15)),
            (false, Some(18)),
            (true, Some(19)),
            (false, None),
        ];
        assert_eq!(seconds, expected.map(|(holds, again)| (holds, again.map(|second| second * SECOND_NS))));
    }

    #[test]
    fn jitter_draws_each_length_and_the_same_seed_the_same_ones() {
        let of_seed = |seed| changes(&mut flap(plan(&[("period", "10s"), ("jitter", "30%")]), seed).unwrap());
        assert_eq!(of_seed(1), of_seed(1));
        assert_ne!(of_seed(1), of_seed(2));
        let begins: Vec<u64> = of_seed(1).iter().filter(|(_, holds)| *holds).map(|(at, _)| *at).collect();
        let lengths: Vec<u64> = begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            lengths.iter().all(|length| (7 * SECOND_NS..=13 * SECOND_NS).contains(length)),
            "{lengths:?}"
        );
        let mean = lengths.iter().sum::<u64>() / u64::try_from(lengths.len()).unwrap();
        assert!((9 * SECOND_NS..11 * SECOND_NS).contains(&mean), "{mean}");
    }

    #[test]
    fn no_rules_are_a_baseline() {
        let mut flap = flap(Plan { rules: Vec::new(), ..plan(&[]) }, 1).unwrap();
        assert_eq!(decide(&mut flap, 10 * SECOND_NS), (false, None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |pairs: &[(&str, &str)]| flap(plan(pairs), 1).err().unwrap();
        assert!(refused(&[("duty", "0")]).contains("duty"));
        assert!(refused(&[("period", "15ms")]).contains("10ms"));
        assert!(refused(&[("period", "1s"), ("jitter", "100%")]).contains("10ms"));
        assert!(refused(&[("dutty", "1")]).contains("unknown"));
    }
}
