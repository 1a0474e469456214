//! Adds up what the test programs report. Pure: lines in, sums out.

use std::fmt;

/// The sums of one or more test runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skips: Vec<Skip>,
}

/// A test that could not run, as it said itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Skip {
    what: String,
    essential: bool,
}

impl Tally {
    /// Counts a line of a test program's output, if it is one that counts.
    ///
    /// libtest's own summary is read, because its machine-readable output is not stable.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.passed += number_before(summary, "passed");
            self.failed += number_before(summary, "failed");
        } else if let Some(name) = ignored_test(line) {
            self.skip(&format!("{name}: ignored"));
        }
    }

    /// Counts a test that said of itself that it cannot run here, and that libtest counts as passed.
    pub(crate) fn read_skip_of_passed_test(&mut self, line: &str) {
        self.passed = self.passed.saturating_sub(1);
        self.skip(line);
    }

    /// Counts a test that was not started; a line that begins with `optional:` is no reason to fail.
    pub(crate) fn skip(&mut self, line: &str) {
        let optional = line.strip_prefix("optional:").map(str::trim);
        self.skips.push(Skip { what: optional.unwrap_or(line).to_owned(), essential: optional.is_none() });
    }

    /// Counts a failure that no test program reported, such as one of the program itself.
    pub(crate) fn fail(&mut self) {
        self.failed += 1;
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// What was skipped, one line each.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = &str> {
        self.skips.iter().map(|skip| skip.what.as_str())
    }

    /// Whether nothing failed and, where `strict`, nothing essential was skipped.
    pub(crate) fn is_good(&self, strict: bool) -> bool {
        self.failed == 0 && !(strict && self.skips.iter().any(|skip| skip.essential))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skips.len())
    }
}

/// The number that stands before a word, as in "3 passed;".
fn number_before(summary: &str, word: &str) -> u64 {
    let words: Vec<&str> = summary.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let pair = words.windows(2).find(|pair| matches!(pair, [_, second] if *second == word));
    pair.and_then(|pair| pair.first()?.parse().ok()).unwrap_or(0)
}

/// The name in "test NAME ... ignored" and "test NAME ... ignored, REASON".
fn ignored_test(line: &str) -> Option<&str> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    outcome.starts_with("ignored").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str =
        "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";

    #[test]
    fn summaries_of_several_programs_are_added() {
        let mut tally = Tally::default();
        tally.read(SUMMARY);
        tally.read("running 5 tests");
        tally.read("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(tally.to_string(), "17 passed, 3 failed, 0 skipped");
        assert!(!tally.is_good(false));
    }

    #[test]
    fn a_test_that_skips_itself_is_not_counted_as_passed() {
        let mut tally = Tally { passed: 2, ..Tally::default() };
        tally.read_skip_of_passed_test("the fq backend: this kernel has no fq");
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 1 skipped");
        assert!(tally.is_good(false));
        assert!(!tally.is_good(true));
    }

    #[test]
    fn an_optional_skip_is_good_even_where_strict() {
        let mut tally = Tally::default();
        tally.read_skip_of_passed_test("optional: the fq backend: this kernel has no fq");
        assert_eq!(tally.skipped().collect::<Vec<_>>(), ["the fq backend: this kernel has no fq"]);
        assert!(tally.is_good(true));
    }

    #[test]
    fn an_ignored_test_is_a_skip_with_its_name() {
        let mut tally = Tally::default();
        tally.read("test relay::tests::a_second_of_load ... ignored, takes long");
        assert_eq!(tally.skipped().collect::<Vec<_>>(), ["relay::tests::a_second_of_load: ignored"]);
    }
}
