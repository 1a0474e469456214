//! The schedule `danger-zone`: finds the severities of the fault at which throughput is degraded by 10 % and by
//! 50 %, in one run, and ends the run when they are known.
//!
//! It measures a baseline, then probes one severity after another, with normal seconds in between that keep the
//! baseline fresh. Which severity is probed, and what all of them say, is the matter of the search; intervals
//! are those of 95 % confidence. Settings: `lowest` (0.001) severity, `precision` (5%), `baseline` (10s),
//! `settle` (2s), `shortest` (3s) and `longest` (20s) probe, `recovery` (10s).

mod report;

use faultd_danger_zone_search::{Action, OneRun, Options, Search, Timing, remarks};
use faultd_plugin_sdk::schedule::{Decision, Finding, Needs, Observation, Plan, Rule, Schedule};
use faultd_plugin_sdk::shape::{Phase, SECOND_NS, Window, at_severity};
use faultd_plugin_sdk::{Level, export_schedule, log, settings};

/// The host needs a moment to count a second that has ended.
const AFTER_A_SECOND_NS: u64 = 50_000_000;

/// A change that comes so late in a second spoils it; one that comes earlier is covered by settling.
const EARLY_NS: u64 = 200_000_000;

/// A search that is played in the window.
struct DangerZone {
    window: Window,
    rules: Vec<Rule>,
    run: OneRun,
    /// How many probes the findings that were told last are from.
    probes_told: usize,
    is_over: bool,
}

export_schedule!(DangerZone);

impl Schedule for DangerZone {
    const NEEDS: Needs = Needs { seconds: true, counters: false };

    fn start(plan: Plan) -> Result<Self, String> {
        let known = ["lowest", "precision", "baseline", "settle", "shortest", "longest", "recovery"];
        let [lowest, precision, baseline, settle, shortest, longest, recovery] =
            settings::read(&plan.settings, known)?;
        let usual = Timing::default();
        let timing = Timing {
            baseline: whole_seconds("baseline", baseline.as_deref(), usual.baseline)?,
            settle: whole_seconds("settle", settle.as_deref(), usual.settle)?,
            recovery: whole_seconds("recovery", recovery.as_deref(), usual.recovery)?,
        };
        if timing.baseline < 3 {
            return Err("setting baseline is at least 3s".to_owned());
        }
        let usual = Options::default();
        let shortest = whole_seconds("shortest", shortest.as_deref(), 3)?;
        let longest = whole_seconds("longest", longest.as_deref(), 20)?;
        let search = Search::new(Options {
            lowest: settings::share("lowest", lowest.as_deref(), usual.lowest)?,
            precision: settings::share("precision", precision.as_deref(), usual.precision)?,
            shortest: usize::try_from(shortest).unwrap_or(usize::MAX),
            longest: usize::try_from(longest).unwrap_or(usize::MAX),
        })?;
        let window = Window::of(&plan)?;
        let least = u64::from(timing.baseline) + u64::from(timing.settle) + 2 * u64::from(shortest) + 2;
        if window.length_ns() / SECOND_NS < least && !plan.rules.is_empty() {
            return Err(format!("the fault's window is too short for a search: it takes at least {least} s"));
        }
        let run = OneRun::new(search, timing, first_second_after(window.begin_ns()));
        Ok(Self { window, rules: plan.rules, run, probes_told: 0, is_over: false })
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        let (decision, lines) = self.decide_and_say(observation);
        lines.iter().for_each(|line| log(Level::Info, line));
        decision
    }
}

impl DangerZone {
    /// What holds, and lines for the log.
    fn decide_and_say(&mut self, observation: &Observation) -> (Decision, Vec<String>) {
        let now_ns = observation.now_ns;
        if self.rules.is_empty() {
            return (Decision::nothing(None), Vec::new());
        }
        if self.window.phase(now_ns) == Phase::Before {
            return (Decision::nothing(Some(self.window.begin_ns())), Vec::new());
        }
        self.take_seconds(observation);
        // The host does not ask once more when the run is over: what there is to say is said a second before.
        let is_last = self.window.phase(now_ns.saturating_add(SECOND_NS)) == Phase::After;
        match self.run.action() {
            Action::End => self.end(),
            _ if is_last || self.is_over => self.end(),
            Action::Normal => (self.answer(Vec::new(), now_ns), Vec::new()),
            Action::Fault(severity) => (self.answer(at_severity(&self.rules, severity), now_ns), Vec::new()),
        }
    }

    fn take_seconds(&mut self, observation: &Observation) {
        let next_second = first_second_after(observation.now_ns.saturating_sub(EARLY_NS));
        let begin = first_second_after(self.window.begin_ns());
        for second in observation.seconds.iter().filter(|second| second.number >= begin && !self.is_over) {
            self.run.second(second.number, second.operations as f64, next_second);
        }
    }

    fn answer(&mut self, active: Vec<Rule>, now_ns: u64) -> Decision {
        let next_ns = (now_ns - now_ns % SECOND_NS).saturating_add(SECOND_NS + AFTER_A_SECOND_NS);
        let since_begin_ns = next_ns.saturating_sub(self.window.begin_ns());
        let again = self.window.ask_again_at_ns(now_ns, Some(since_begin_ns));
        Decision { findings: self.news(), ..Decision::hold(active, again) }
    }

    /// What is known now, if there was a probe since it was told last.
    fn news(&mut self) -> Vec<Finding> {
        let probes = self.run.search().probes();
        let is_news = std::mem::replace(&mut self.probes_told, probes) != probes;
        if is_news { report::findings(&self.run, &self.rules) } else { Vec::new() }
    }

    fn end(&mut self) -> (Decision, Vec<String>) {
        let was_over = std::mem::replace(&mut self.is_over, true);
        let lines = if was_over { Vec::new() } else { remarks(self.run.search()) };
        let findings = report::findings(&self.run, &self.rules);
        (Decision { end_run: true, findings, ..Decision::nothing(None) }, lines)
    }
}

/// The number of the first second that begins at or after a time.
fn first_second_after(time_ns: u64) -> u32 {
    u32::try_from(time_ns.div_ceil(SECOND_NS)).unwrap_or(u32::MAX)
}

/// A setting in seconds; parts of one count as a whole.
fn whole_seconds(name: &str, value: Option<&str>, default: u32) -> Result<u32, String> {
    let length_ns = settings::duration_ns(name, value, u64::from(default) * SECOND_NS)?;
    Ok(first_second_after(length_ns))
}

#[cfg(test)]
mod tests;
