//! What a search has found out, as figures and as lines for people; the same whether it is made within one run or
//! over many.

use crate::GRID_SECONDS;
use crate::search::{Level, Reached, Search};

/// What is known worse, to more than a factor of two up or down, is no finding.
const MOST_UNCERTAIN: f64 = 0.7;

/// A parameter of the fault that follows the severity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// What it is called, as `delay`.
    pub name: &'static str,
    /// What it is at severity 1.
    pub at_full: f64,
    /// Its unit, as `ms`.
    pub unit: &'static str,
}

impl Scale {
    /// The severity itself.
    pub const SEVERITY: Self = Self { name: "severity", at_full: 1.0, unit: "" };

    /// A delay, in milliseconds at severity 1.
    #[must_use]
    pub fn delay(ms: f64) -> Self {
        Self { name: "delay", at_full: ms, unit: "ms" }
    }

    /// A share of packets that is lost, 0 to 1 at severity 1.
    #[must_use]
    pub fn loss(ratio: f64) -> Self {
        Self { name: "loss", at_full: ratio * 100.0, unit: "%" }
    }
}

/// Something that was found out, with its 95 % confidence interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is, as `delay at 10 % degradation`.
    pub name: String,
    /// How much of it.
    pub value: f64,
    /// It lies from here...
    pub low: f64,
    /// ...to here; the same as `low` where there is no doubt.
    pub high: f64,
    /// Of what, as `ms`.
    pub unit: &'static str,
}

/// Everything that is known now, and what it cost.
#[must_use]
pub fn findings(search: &Search, scales: &[Scale], run_seconds: u32) -> Vec<Finding> {
    let levels = search.estimates().into_iter().filter_map(|(level, reached)| match reached {
        Reached::At(estimate) if estimate.uncertainty() <= MOST_UNCERTAIN => Some((level, estimate)),
        _ => None,
    });
    let at_level = |(level, estimate): (Level, crate::Estimate)| {
        scales.iter().map(move |scale| Finding {
            name: format!("{} at {} degradation", scale.name, percent(level)),
            value: estimate.severity * scale.at_full,
            low: estimate.low * scale.at_full,
            high: estimate.high * scale.at_full,
            unit: scale.unit,
        })
    };
    let mut findings: Vec<Finding> = levels.flat_map(at_level).collect();
    let used = f64::from(run_seconds);
    findings.push(exact("run-seconds used", used, "s"));
    findings.push(exact("share of a 37-level grid", used / f64::from(GRID_SECONDS) * 100.0, "%"));
    findings
}

fn exact(name: &str, value: f64, unit: &'static str) -> Finding {
    Finding { name: name.to_owned(), value, low: value, high: value, unit }
}

fn percent(level: Level) -> String {
    format!("{:.0} %", level.degradation() * 100.0)
}

/// What there is to be said at the end that no finding says: one line for each level that is not known well.
#[must_use]
pub fn remarks(search: &Search) -> Vec<String> {
    if search.probes() == 0 {
        return vec!["no probe was made: there was no throughput to compare with, or no time".to_owned()];
    }
    search.estimates().into_iter().filter_map(|(level, reached)| remark(search, level, reached)).collect()
}

fn remark(search: &Search, level: Level, reached: Reached) -> Option<String> {
    let text = match reached {
        Reached::At(_) if search.is_precise(level) => return None,
        Reached::At(estimate) if estimate.uncertainty() <= MOST_UNCERTAIN => {
            let known_to = estimate.uncertainty() * 100.0;
            format!("is known to {known_to:.0} % only: a longer search or less noise would tell more")
        }
        Reached::Never => {
            "is not reached by the fault as it was asked for: there is no such severity".to_owned()
        }
        Reached::BelowLowest => "is already exceeded at the lowest severity: look at lower ones".to_owned(),
        Reached::Unclear => {
            "cannot be told from no degradation or more of it: there is too much noise".to_owned()
        }
        Reached::At(_) | Reached::Unknown => "was not found in the time there was".to_owned(),
    };
    Some(format!("degradation of {} {text}", percent(level)))
}
