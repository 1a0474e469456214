//! The search for a danger zone: the severities of a fault at which the degradation of throughput,
//! (normal − slow) / normal, reaches 10 % and 50 %.
//!
//! [`Search`] is the core: it names the next severity to be probed, takes what was measured, and estimates from
//! all probes together. It knows nothing of how a probe is made, so that probes can be parts of one run
//! ([`OneRun`] plays them) or runs of their own. First it bisects the logarithm of the severity until the zone
//! is roughly known; then it probes near the level that is known worst, and fits a curve to everything, together
//! with a baseline that may drift.

mod fit;
mod matrix;
mod noise;
mod one_run;
mod report;
mod search;

pub use one_run::{Action, OneRun, Timing};
pub use report::{Finding, Scale, findings, remarks};
pub use search::{Estimate, Level, Options, Reached, Samples, Search};

/// What the same costs when it is looked at level by level: 37 levels of 150 seconds each.
pub const GRID_SECONDS: u32 = 37 * 150;

#[cfg(test)]
mod tests;
