//! What the lines say that a tool prints at its end, unaltered but for units.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::sample::Latency;

/// At most so many kinds of operations, checks and messages are kept: they are named by the output.
pub(crate) const MOST_NAMES: usize = 64;
/// The longest name or message that is kept, in characters.
const LONGEST_NAME: usize = 200;

/// The whole run in a few numbers. Failed operations are counted along where the tool does so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Number of operations.
    pub operations: Option<f64>,
    /// Number of operations that failed.
    pub errors: Option<f64>,
    /// How long the tool says that it measured, in seconds.
    pub duration_s: Option<f64>,
    /// Operations a second.
    pub operations_per_s: Option<f64>,
    /// Latencies of the whole run.
    pub latency: Latency,
}

/// One line of a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// Whether it was good enough for the tool.
    pub passed: bool,
    /// What was checked, in the tool's words.
    pub text: String,
}

/// What `etcdctl check perf` thinks of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verdict {
    /// The last word; none if the output ended before it.
    pub passed: Option<bool>,
    /// The reasons.
    pub checks: Vec<Check>,
}

/// Everything that is not about an interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Totals {
    /// All operations together.
    pub overall: Summary,
    /// Each kind of operation, in the tool's words; at most 64.
    pub kinds: BTreeMap<String, Summary>,
    /// Only of tools that judge.
    pub verdict: Option<Verdict>,
    /// Error messages that the tool counts, and how often each came; at most 64.
    pub error_messages: BTreeMap<String, u64>,
    /// Lines that were read, empty ones left out.
    pub lines: u64,
    /// Lines that were cut because they were longer than 64 KiB.
    pub cut_lines: u64,
    /// Rows for the time series that could not be read: one of their cells does not hold what it is for.
    pub unread_rows: u64,
}

impl Totals {
    /// The summary of a kind; none if there are too many.
    pub(crate) fn kind(&mut self, name: &str) -> Option<&mut Summary> {
        let name = shortened(name);
        if self.kinds.len() >= MOST_NAMES && !self.kinds.contains_key(&name) {
            return None;
        }
        Some(self.kinds.entry(name).or_default())
    }

    /// Notes how often a message came.
    pub(crate) fn error_message(&mut self, message: &str, count: u64) {
        let message = shortened(message);
        if self.error_messages.len() < MOST_NAMES || self.error_messages.contains_key(&message) {
            let sum = self.error_messages.entry(message).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Notes one line of a verdict.
    pub(crate) fn check(&mut self, passed: bool, text: &str) {
        let verdict = self.verdict.get_or_insert_default();
        if verdict.checks.len() < MOST_NAMES {
            verdict.checks.push(Check { passed, text: shortened(text) });
        }
    }
}

/// A name that the output gives, not longer than is kept.
pub(crate) fn shortened(name: &str) -> String {
    name.trim().chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_output_are_bounded_in_number_and_length() {
        let mut totals = Totals::default();
        for number in 0..1000 {
            let name = format!("{number}{}", "x".repeat(1000));
            totals.kind(&name);
            totals.error_message(&name, u64::MAX);
            totals.error_message(&name, 1);
            totals.check(true, &name);
        }
        assert_eq!((totals.kinds.len(), totals.error_messages.len()), (MOST_NAMES, MOST_NAMES));
        assert_eq!(totals.verdict.map(|verdict| verdict.checks.len()), Some(MOST_NAMES));
        assert!(totals.kinds.keys().all(|name| name.chars().count() == LONGEST_NAME));
    }
}
