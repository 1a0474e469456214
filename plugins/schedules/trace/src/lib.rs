//! The schedule `trace`: the severity of the fault follows a table of times.
//!
//! Settings: `csv`, lines of `time,severity` (required), and `repeat`. A time has a unit (`1.5s`) or is in
//! seconds, and counts from the start of the window; a severity is a share. A severity holds until the next
//! time, the last one until the window ends. With `repeat=true` the last time is where the trace begins again,
//! so that the severity beside it never holds. Lines end with a newline or with `;`; the first may be a header.

mod table;

use faultd_plugin_sdk::schedule::{Decision, Observation, Plan, Rule, Schedule};
use faultd_plugin_sdk::shape::{Moment, SHORTEST_NS, Window};
use faultd_plugin_sdk::{export_schedule, settings};
use table::Point;

/// A table and the window it is played in.
struct Trace {
    window: Window,
    rules: Vec<Rule>,
    points: Vec<Point>,
    /// After this long it begins again; missing means never.
    length_ns: Option<u64>,
}

export_schedule!(Trace);

impl Schedule for Trace {
    fn start(plan: Plan) -> Result<Self, String> {
        let [csv, repeat] = settings::read(&plan.settings, ["csv", "repeat"])?;
        let points = table::parse(&csv.ok_or("setting csv is missing: lines of time,severity")?)?;
        let length_ns = if settings::flag("repeat", repeat.as_deref())? {
            let last_ns = points.last().map_or(0, |point| point.at_ns);
            if last_ns < SHORTEST_NS {
                return Err("a trace that repeats is at least 10ms long".to_owned());
            }
            Some(last_ns)
        } else {
            None
        };
        Ok(Self { window: Window::of(&plan)?, rules: plan.rules, points, length_ns })
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        self.window.play_severity(&self.rules, observation.now_ns, |elapsed_ns| self.moment(elapsed_ns))
    }
}

impl Trace {
    fn moment(&self, elapsed_ns: u64) -> Moment {
        let in_trace_ns = self.length_ns.map_or(elapsed_ns, |length_ns| elapsed_ns % length_ns);
        let begun_ns = elapsed_ns - in_trace_ns;
        let next = self.points.partition_point(|point| point.at_ns <= in_trace_ns);
        let current = next.checked_sub(1).and_then(|index| self.points.get(index));
        let until_ns = self.points.get(next).map(|point| begun_ns.saturating_add(point.at_ns));
        Moment { severity: current.map_or(0.0, |point| point.severity), until_ns }
    }
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
        let mut trace = Trace::start(plan).unwrap();
        let mut decide = |second| {
            let (loss, again) = testing::answer_at_second(&mut trace, second);
            (loss.expect("one loss"), again)
        };
        seconds.iter().map(|second| decide(*second)).collect()
    }

    #[test]
    fn each_severity_holds_until_the_next_time() {
        assert_eq!(
            decisions(plan(&[("csv", "5,0.5;10,0;20,1")]), &[0, 10, 15, 20, 30, 70]),
            [
                (0.0, Some(10)),
                (0.0, Some(15)),
                (0.5, Some(20)),
                (0.0, Some(30)),
                (1.0, Some(70)),
                (0.0, None)
            ]
        );
    }

    #[test]
    fn a_trace_that_repeats_begins_again_at_its_last_time() {
        assert_eq!(
            decisions(plan(&[("csv", "0,0.5;5,1;10,0"), ("repeat", "true")]), &[10, 15, 20, 26]),
            [(0.5, Some(15)), (1.0, Some(20)), (0.5, Some(25)), (1.0, Some(30))]
        );
    }

    #[test]
    fn no_rules_are_a_baseline() {
        let baseline = Plan { rules: Vec::new(), ..plan(&[("csv", "0,1")]) };
        assert_eq!(decisions(baseline, &[0, 10]), [(0.0, None); 2]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |pairs: &[(&str, &str)]| Trace::start(plan(pairs)).err().unwrap();
        assert!(refused(&[]).contains("missing"));
        assert!(refused(&[("csv", "0,1"), ("repeat", "true")]).contains("10ms"));
        assert!(refused(&[("csv", "0,1"), ("file", "x")]).contains("unknown"));
    }
}
