//! What the search has found out, in the words of the contract.

use faultd_danger_zone_search::{OneRun, Scale, findings as found};
use faultd_plugin_sdk::schedule::{Effect, Finding, Rule};

/// Everything that is known now, as severity and as what the rules do at it.
pub(crate) fn findings(run: &OneRun, rules: &[Rule]) -> Vec<Finding> {
    let found = found(run.search(), &scales(rules), run.seconds_used()).into_iter();
    found
        .map(|finding| Finding {
            name: finding.name,
            value: finding.value,
            low: finding.low,
            high: finding.high,
            unit: finding.unit.to_owned(),
        })
        .collect()
}

fn scales(rules: &[Rule]) -> Vec<Scale> {
    let effects = || rules.iter().flat_map(|rule| rule.effects.iter());
    let delay = effects().find_map(|effect| match effect {
        Effect::Delay(ns) => Some(Scale::delay(*ns as f64 / 1e6)),
        _ => None,
    });
    let loss = effects().find_map(|effect| match effect {
        Effect::Loss(ratio) => Some(Scale::loss(*ratio)),
        _ => None,
    });
    [Some(Scale::SEVERITY), delay, loss].into_iter().flatten().collect()
}
