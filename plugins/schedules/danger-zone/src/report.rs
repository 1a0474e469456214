//! What the search has found out, as findings and as lines of the log.

use faultd_danger_zone_search::{Estimate, GRID_SECONDS, Level, OneRun, Reached};
use faultd_plugin_sdk::schedule::{Effect, Finding, Rule};

/// Everything that is known now.
pub(crate) fn findings(run: &OneRun, rules: &[Rule]) -> Vec<Finding> {
    let levels = run.search().estimates().into_iter().filter_map(|(level, reached)| match reached {
        Reached::At(estimate) => Some((level, estimate)),
        _ => None,
    });
    let mut findings: Vec<Finding> =
        levels.flat_map(|(level, estimate)| at_level(level, estimate, rules)).collect();
    let used = f64::from(run.seconds_used());
    findings.push(exact("run-seconds used", used, "s"));
    findings.push(exact("share of a 37-level grid", used / f64::from(GRID_SECONDS) * 100.0, "%"));
    findings
}

fn at_level(level: Level, estimate: Estimate, rules: &[Rule]) -> Vec<Finding> {
    let effects = || rules.iter().flat_map(|rule| rule.effects.iter());
    let delay_ms = effects().find_map(|effect| match effect {
        Effect::Delay(ns) => Some(*ns as f64 / 1e6),
        _ => None,
    });
    let loss_percent = effects().find_map(|effect| match effect {
        Effect::Loss(ratio) => Some(ratio * 100.0),
        _ => None,
    });
    let full = [("severity", Some(1.0), ""), ("delay", delay_ms, "ms"), ("loss", loss_percent, "%")];
    let scaled = |(what, full, unit): (&str, Option<f64>, &str)| {
        let full = full?;
        Some(Finding {
            name: format!("{what} at {} degradation", percent(level)),
            value: estimate.severity * full,
            low: estimate.low * full,
            high: estimate.high * full,
            unit: unit.to_owned(),
        })
    };
    full.into_iter().filter_map(scaled).collect()
}

fn exact(name: &str, value: f64, unit: &str) -> Finding {
    Finding { name: name.to_owned(), value, low: value, high: value, unit: unit.to_owned() }
}

fn percent(level: Level) -> String {
    format!("{:.0} %", level.degradation() * 100.0)
}

/// What there is to be said at the end that no finding says: one line for each level that is not known well.
pub(crate) fn lines(run: &OneRun) -> Vec<String> {
    if run.search().probes() == 0 {
        return vec!["no probe was made: there was no throughput to compare with, or no time".to_owned()];
    }
    run.search().estimates().into_iter().filter_map(|(level, reached)| line(run, level, reached)).collect()
}

fn line(run: &OneRun, level: Level, reached: Reached) -> Option<String> {
    let level_text = percent(level);
    let text = match reached {
        Reached::At(_) if run.search().is_precise(level) => return None,
        Reached::At(estimate) => {
            let known_to = estimate.uncertainty() * 100.0;
            format!("is known to {known_to:.0} % only: a longer run or less noise would tell more")
        }
        Reached::Never => {
            "is not reached by the fault as it was asked for: there is no such severity".to_owned()
        }
        Reached::BelowLowest => "is already exceeded at the lowest severity: look at lower ones".to_owned(),
        Reached::Unclear => {
            "cannot be told from no degradation or more of it: there is too much noise".to_owned()
        }
        Reached::Unknown => "was not found in the time there was".to_owned(),
    };
    Some(format!("degradation of {level_text} {text}"))
}
