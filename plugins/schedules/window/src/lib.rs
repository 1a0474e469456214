//! The schedule `window`: the rules of the plan hold from one time on, for as long as asked.
//! No start means from the beginning, no length means to the end, no rules are a baseline run.

use faultd_plugin_sdk::schedule::{Decision, Observation, Plan, Rule, Schedule};
use faultd_plugin_sdk::{export_schedule, settings};

/// One window in which all the rules hold.
struct Window {
    begin_ns: u64,
    /// The first nanosecond after the window; missing means that the end of the run ends it.
    end_ns: Option<u64>,
    rules: Vec<Rule>,
}

export_schedule!(Window);

impl Schedule for Window {
    fn start(plan: Plan) -> Result<Self, String> {
        let [] = settings::read(&plan.settings, [])?;
        let begin_ns = plan.inject_at_ns.unwrap_or(0);
        if begin_ns >= plan.duration_ns && !plan.rules.is_empty() {
            return Err("the fault would begin after the end of the run: inject it earlier".to_owned());
        }
        if plan.hold_for_ns == Some(0) {
            return Err("the fault would hold for no time at all".to_owned());
        }
        let end_ns = plan.hold_for_ns.map(|length| begin_ns.saturating_add(length));
        Ok(Self { begin_ns, end_ns: end_ns.filter(|end| *end < plan.duration_ns), rules: plan.rules })
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        let now_ns = observation.now_ns;
        if self.rules.is_empty() || self.end_ns.is_some_and(|end| now_ns >= end) {
            return Decision::nothing(None);
        }
        if now_ns < self.begin_ns {
            return Decision::nothing(Some(self.begin_ns));
        }
        Decision::hold(self.rules.clone(), self.end_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultd_plugin_sdk::schedule::{Direction, Effect};

    fn plan(inject_at_ns: Option<u64>, hold_for_ns: Option<u64>) -> Plan {
        let rule = Rule {
            target: "leader".to_owned(),
            direction: Direction::Egress,
            effects: vec![Effect::Delay(5)],
        };
        Plan { duration_ns: 100, inject_at_ns, hold_for_ns, rules: vec![rule], settings: Vec::new() }
    }

    /// For each time: does the fault hold, and when is the plugin asked again?
    fn decisions(plan: Plan, times: &[u64]) -> Vec<(bool, Option<u64>)> {
        let mut window = Window::start(plan).map_err(|error| panic!("{error}")).unwrap();
        let observation = |now_ns| Observation { now_ns, members: vec![], seconds: vec![], counters: vec![] };
        let decide = |time: &u64| window.decide(&observation(*time));
        times.iter().map(decide).map(|answer| (!answer.active.is_empty(), answer.ask_again_at_ns)).collect()
    }

    #[test]
    fn a_window_begins_and_ends_to_the_nanosecond() {
        assert_eq!(
            decisions(plan(Some(30), Some(20)), &[0, 29, 30, 49, 50, 99]),
            [
                (false, Some(30)),
                (false, Some(30)),
                (true, Some(50)),
                (true, Some(50)),
                (false, None),
                (false, None)
            ]
        );
    }

    #[test]
    fn without_a_length_the_fault_holds_until_the_end() {
        assert_eq!(
            decisions(plan(Some(30), None), &[0, 30, 99]),
            [(false, Some(30)), (true, None), (true, None)]
        );
    }

    #[test]
    fn without_a_start_the_fault_holds_from_the_beginning() {
        assert_eq!(decisions(plan(None, None), &[0, 99]), [(true, None), (true, None)]);
        assert_eq!(decisions(plan(None, Some(10)), &[0, 10]), [(true, Some(10)), (false, None)]);
    }

    #[test]
    fn no_rules_are_a_baseline() {
        let baseline = Plan { rules: Vec::new(), ..plan(Some(30), Some(20)) };
        assert_eq!(decisions(baseline, &[0, 30, 60]), [(false, None); 3]);
    }

    #[test]
    fn a_window_longer_than_the_run_ends_with_it() {
        assert_eq!(decisions(plan(Some(30), Some(u64::MAX)), &[30, 99]), [(true, None), (true, None)]);
    }

    #[test]
    fn a_window_that_cannot_be_is_refused() {
        assert!(Window::start(plan(Some(100), None)).is_err_and(|error| error.contains("after the end")));
        assert!(Window::start(plan(None, Some(0))).is_err_and(|error| error.contains("no time")));
        let settings = vec![("x".to_owned(), "y".to_owned())];
        assert!(Window::start(Plan { settings, ..plan(None, None) }).is_err());
    }
}
