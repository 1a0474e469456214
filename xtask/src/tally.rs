//! Adds up what the test programs report. Pure: lines in, sums out.

use std::fmt;

/// The sums of one or more test runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    /// Names of failed tests that nobody has taken yet.
    failed_tests: Vec<String>,
    /// Tests that failed first and passed when they were run once more.
    passed_again: Vec<String>,
    skips: Vec<Skip>,
    /// Tests that one of two kernels could not run, but the other could.
    ran_once: Vec<String>,
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
        } else if let Some(name) = test_with_outcome(line, "FAILED") {
            self.failed_tests.push(name.to_owned());
        } else if let Some(skip) = ignored_test(line) {
            self.skip(&skip);
        }
    }

    /// The names of the tests that failed since this was asked last.
    pub(crate) fn take_failed_tests(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failed_tests)
    }

    /// Reads a line of a program that runs failed tests once more: what passes now has not failed.
    pub(crate) fn read_again(&mut self, line: &str) {
        if let Some(name) = test_with_outcome(line, "ok") {
            self.failed = self.failed.saturating_sub(1);
            self.passed += 1;
            self.passed_again.push(name.to_owned());
        }
    }

    /// Counts tests that said of themselves, a line each, that they cannot run here. libtest took them
    /// for passed.
    pub(crate) fn read_skips(&mut self, lines: &str) {
        for line in lines.lines() {
            self.passed = self.passed.saturating_sub(1);
            self.skip(line);
        }
    }

    /// The same for tests that ran on two kernels: only what neither could run was skipped.
    pub(crate) fn read_skips_of_two_kernels(&mut self, first: &str, second: &str) {
        for (lines, other) in [(first, second), (second, first)] {
            for line in lines.lines() {
                self.passed = self.passed.saturating_sub(1);
                if !other.lines().any(|skip| name_of(skip) == name_of(line)) {
                    self.ran_once.push(line.to_owned());
                } else if std::ptr::eq(lines, first) {
                    self.skip(line);
                }
            }
        }
    }

    /// Counts a test that was not started; a line that begins with `optional:` is no reason to fail.
    pub(crate) fn skip(&mut self, line: &str) {
        let optional = line.strip_prefix("optional:").map(str::trim);
        self.skips.push(Skip { what: optional.unwrap_or(line).to_owned(), essential: optional.is_none() });
    }

    /// Adds what another one has counted.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failed_tests.extend(other.failed_tests);
        self.passed_again.extend(other.passed_again);
        self.skips.extend(other.skips);
        self.ran_once.extend(other.ran_once);
    }

    /// Counts a failure that no test program reported, such as one of the program itself.
    pub(crate) fn fail(&mut self) {
        self.failed += 1;
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// What passed late, what only one kernel could run, and what was skipped, a line each for people.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = String> {
        let once = self.ran_once.iter().map(|what| format!("ran on one of two kernels: {what}"));
        let again = self.passed_again.iter().map(|name| format!("passed only when it was run again: {name}"));
        again.chain(once).chain(self.skips.iter().map(|skip| format!("skipped: {}", skip.what)))
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

/// The test in "TEST: REASON".
fn name_of(skip: &str) -> &str {
    skip.split_once(": ").map_or(skip, |(name, _)| name)
}

/// The number that stands before a word, as in "3 passed;".
fn number_before(summary: &str, word: &str) -> u64 {
    let words: Vec<&str> = summary.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let pair = words.windows(2).find(|pair| matches!(pair, [_, second] if *second == word));
    pair.and_then(|pair| pair.first()?.parse().ok()).unwrap_or(0)
}

/// The test in "test NAME ... OUTCOME", if that is its outcome.
fn test_with_outcome<'line>(line: &'line str, outcome: &str) -> Option<&'line str> {
    let (name, found) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    (found == outcome).then_some(name)
}

/// What is skipped in "test NAME ... ignored" and "test NAME ... ignored, REASON".
///
/// What is "started by" other tests as a process of its own is no test, though libtest must think so. What says
/// that it is optional has a target of its own in the Makefile.
fn ignored_test(line: &str) -> Option<String> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    match outcome.strip_prefix("ignored")?.strip_prefix(", ") {
        Some(reason) if reason.starts_with("started by") => None,
        Some(reason) => match reason.strip_prefix("optional: ") {
            Some(reason) => Some(format!("optional: {name}: {reason}")),
            None => Some(format!("{name}: ignored")),
        },
        None => Some(format!("{name}: ignored")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str =
        "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";

    fn remarks(tally: &Tally) -> Vec<String> {
        tally.remarks().collect()
    }

    #[test]
    fn what_is_ignored_as_optional_is_no_reason_to_fail() {
        let mut tally = Tally::default();
        tally.read("test three::a ... ignored, optional: needs a Cassandra");
        assert!(tally.is_good(true));
        assert_eq!(tally.remarks().collect::<Vec<_>>(), ["skipped: three::a: needs a Cassandra"]);
        tally.read("test three::b ... ignored, slow");
        assert!(!tally.is_good(true));
        assert_eq!(tally.to_string(), "0 passed, 0 failed, 2 skipped");
    }

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
    fn what_passes_when_it_is_run_again_has_passed_and_is_named() {
        let mut tally = Tally::default();
        for line in ["test delay::long ... FAILED", "test loss::all ... FAILED", "test other ... ok"] {
            tally.read(line);
        }
        tally.read("test result: FAILED. 1 passed; 2 failed; 0 ignored");
        assert_eq!(tally.take_failed_tests(), ["delay::long", "loss::all"]);
        for line in ["test delay::long ... ok", "test loss::all ... FAILED"] {
            tally.read_again(line);
        }
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 0 skipped");
        assert_eq!(remarks(&tally), ["passed only when it was run again: delay::long"]);
        assert_eq!(tally.take_failed_tests(), [""; 0]);
    }

    #[test]
    fn a_test_that_skips_itself_is_not_counted_as_passed() {
        let mut tally = Tally { passed: 2, ..Tally::default() };
        tally.read_skips("the fq backend: this kernel has no fq\n");
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 1 skipped");
        assert!(tally.is_good(false));
        assert!(!tally.is_good(true));
    }

    #[test]
    fn an_optional_skip_is_good_even_where_strict() {
        let mut tally = Tally::default();
        tally.read_skips("optional: the fq backend: this kernel has no fq\n");
        assert_eq!(remarks(&tally), ["skipped: the fq backend: this kernel has no fq"]);
        assert!(tally.is_good(true));
    }

    #[test]
    fn what_either_of_two_kernels_could_run_was_not_skipped() {
        let mut tally = Tally { passed: 10, ..Tally::default() };
        tally.read_skips_of_two_kernels("netem: no netem\nping: no ping\n", "TCX: no TCX\nping: no ping\n");
        assert_eq!(tally.to_string(), "6 passed, 0 failed, 1 skipped");
        let once = ["ran on one of two kernels: netem: no netem", "ran on one of two kernels: TCX: no TCX"];
        assert_eq!(remarks(&tally), [once[0], once[1], "skipped: ping: no ping"]);
    }

    #[test]
    fn an_ignored_test_is_a_skip_unless_other_tests_start_it() {
        let mut tally = Tally::default();
        tally.read("test relay::tests::a_second_of_load ... ignored, takes long");
        tally.read("test stand_in ... ignored, started by other tests as a process of its own");
        assert_eq!(remarks(&tally), ["skipped: relay::tests::a_second_of_load: ignored"]);
    }
}
