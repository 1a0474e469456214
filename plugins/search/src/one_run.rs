//! The search within one run: a baseline, then probe after probe with time to settle and to recover.

use crate::noise::median;
use crate::search::{Samples, Search};

/// A system that did not recover in time is given so many more seconds to be back at half of what was normal;
/// after that, what it does is the new normal.
const PATIENCE: u32 = 60;

/// How long the parts of a probe are, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Normal seconds that are measured first.
    pub baseline: u32,
    /// Seconds that are dropped after a severity was applied.
    pub settle: u32,
    /// Most seconds that the system is given to recover.
    pub recovery: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self { baseline: 10, settle: 2, recovery: 10 }
    }
}

/// What is to hold now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// No fault.
    Normal,
    /// The fault at this severity.
    Fault(f64),
    /// No fault, and there is no more to be found out.
    End,
}

/// What the search is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Measures what is normal, before the first probe or after a system that did not recover in time.
    Baseline { waited: u32 },
    /// Measures a severity.
    Probe { severity: f64 },
    /// Waits until throughput is normal again.
    Recovery { severity: f64, waited: u32 },
    /// Measures what is normal now.
    Normal { severity: f64 },
    /// Does nothing any more.
    Ended,
}

/// A search within one run. It is told the seconds of the run, one by one.
#[derive(Debug, Clone)]
pub struct OneRun {
    search: Search,
    timing: Timing,
    phase: Phase,
    /// Seconds before this one saw something else that held.
    first_clean: u32,
    samples: Samples,
    /// The normal seconds that were measured last.
    normal: Vec<f64>,
    used: u32,
}

impl OneRun {
    /// A run whose seconds from `first_second` on are used.
    #[must_use]
    pub fn new(search: Search, timing: Timing, first_second: u32) -> Self {
        let (samples, normal) = (Samples::default(), Vec::new());
        Self {
            search,
            timing,
            phase: Phase::Baseline { waited: 0 },
            first_clean: first_second,
            samples,
            normal,
            used: 0,
        }
    }

    /// What has been found out so far.
    #[must_use]
    pub fn search(&self) -> &Search {
        &self.search
    }

    /// Seconds of the run that were used.
    #[must_use]
    pub fn seconds_used(&self) -> u32 {
        self.used
    }

    /// Takes a second that has ended: its number and its throughput. `next_second` is the number of the first
    /// second that begins after what this answers has been applied.
    pub fn second(&mut self, number: u32, throughput: f64, next_second: u32) -> Action {
        if self.phase != Phase::Ended {
            self.used = self.used.saturating_add(1);
        }
        if number >= self.first_clean {
            self.clean_second(throughput, next_second);
        }
        self.action()
    }

    /// What is to hold now.
    #[must_use]
    pub fn action(&self) -> Action {
        match self.phase {
            Phase::Baseline { .. } | Phase::Recovery { .. } | Phase::Normal { .. } => Action::Normal,
            Phase::Probe { severity } => Action::Fault(severity),
            Phase::Ended => Action::End,
        }
    }

    fn clean_second(&mut self, throughput: f64, next_second: u32) {
        match self.phase {
            Phase::Baseline { waited } => {
                let is_back = throughput >= median(self.normal.clone()) / 2.0;
                if !is_back && waited < PATIENCE {
                    self.samples.before.clear();
                } else {
                    self.samples.before.push(throughput);
                }
                self.phase = Phase::Baseline { waited: waited.saturating_add(1) };
                if self.samples.before.len() >= to_size(self.timing.baseline) {
                    self.normal.clone_from(&self.samples.before);
                    self.begin_probe(next_second);
                }
            }
            Phase::Probe { severity } => {
                self.samples.slow.push(throughput);
                if self.search.has_enough(severity, &self.normal, &self.samples.slow) {
                    self.first_clean = next_second;
                    self.phase = Phase::Recovery { severity, waited: 0 };
                }
            }
            Phase::Recovery { severity, waited } => {
                let waited = waited + 1;
                // The second that shows the recovery is not measured: it was chosen for being high.
                if throughput >= least_normal(&self.normal) {
                    self.phase = Phase::Normal { severity };
                } else if waited >= self.timing.recovery {
                    self.begin_anew(severity, next_second);
                } else {
                    self.phase = Phase::Recovery { severity, waited };
                }
            }
            Phase::Normal { severity } => {
                self.samples.after.push(throughput);
                if self.samples.after.len() >= self.search.normal_seconds_after(self.samples.slow.len()) {
                    let samples = std::mem::take(&mut self.samples);
                    self.search.record(severity, &samples);
                    self.normal = samples.after;
                    self.begin_probe(next_second);
                }
            }
            Phase::Ended => {}
        }
    }

    /// The system does not work as it did before: what is normal now is measured as if this were another run.
    fn begin_anew(&mut self, severity: f64, next_second: u32) {
        let samples = std::mem::take(&mut self.samples);
        self.search.record(severity, &samples);
        self.first_clean = next_second;
        self.phase =
            if self.search.next_probe().is_some() { Phase::Baseline { waited: 0 } } else { Phase::Ended };
    }

    fn begin_probe(&mut self, next_second: u32) {
        // With a baseline of nothing there is nothing to compare with.
        let has_baseline = median(self.normal.clone()) > 0.0;
        self.phase = match self.search.next_probe().filter(|_| has_baseline) {
            Some(severity) => Phase::Probe { severity },
            None => Phase::Ended,
        };
        self.first_clean = next_second.saturating_add(self.timing.settle);
    }
}

fn to_size(seconds: u32) -> usize {
    usize::try_from(seconds).unwrap_or(usize::MAX)
}

/// Mean less one standard deviation.
fn least_normal(seconds: &[f64]) -> f64 {
    let count = (seconds.len() as f64).max(1.0);
    let mean = seconds.iter().sum::<f64>() / count;
    let variance = seconds.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    mean - variance.sqrt()
}
