//! Tools that are not known: an experiment file describes their rows by a regular expression with named groups.

use regex::{Captures, Regex, RegexBuilder};
use serde::Deserialize;

use crate::formats::{Findings, Format, Line};
use crate::numbers::{hours_minutes_seconds, milliseconds, number_with_magnitude};
use crate::sample::{Clock, Latency, Sample};
use crate::timeline::{Counters, Intervals, ToolClock};
use crate::totals::{MOST_NAMES, shortened};

/// The most memory that a compiled expression may take, in bytes.
const LARGEST_EXPRESSION: usize = 1 << 20;
const DAY_S: f64 = 86_400.0;

/// All groups that an expression may have.
const GROUPS: [&str; 11] =
    ["time", "ops_per_s", "operations", "errors", "kind", "mean", "p50", "p95", "p99", "p999", "max"];

/// What numbers that count something are counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counting {
    /// From the row before.
    #[default]
    PerRow,
    /// From the tool's start.
    Cumulative,
}

/// What the group `time` is counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeOf {
    /// From the tool's start.
    #[default]
    Run,
    /// A clock: the time of the day, or seconds since 1970. The first row is placed at its arrival.
    Clock,
}

/// The unit of latencies that are printed without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum LatencyUnit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Milliseconds.
    #[default]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
}

impl LatencyUnit {
    fn milliseconds(self) -> f64 {
        match self {
            Self::Nanoseconds => 1e-6,
            Self::Microseconds => 1e-3,
            Self::Milliseconds => 1.0,
            Self::Seconds => 1e3,
        }
    }
}

/// The description of a tool's rows, as in an experiment file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatternSpec {
    /// The expression, found anywhere in a line. Its named groups are `time` (seconds, a duration with units, or
    /// `HH:MM:SS`), `ops_per_s` or `operations` (one of them must be there), `errors`, `kind`, and the latencies `mean`,
    /// `p50`, `p95`, `p99`, `p999`, `max`, which may have a unit behind them.
    pub expression: String,
    /// What `operations` and `errors` are counted from.
    #[serde(default)]
    pub counting: Counting,
    /// What `time` is counted from.
    #[serde(default)]
    pub time_of: TimeOf,
    /// Of latencies without a unit.
    #[serde(default)]
    pub latency_unit: LatencyUnit,
    /// How long a row covers at most, in seconds, for tools that print none for idle intervals. Without it a row covers
    /// everything since the one before.
    #[serde(default)]
    pub interval_s: Option<f64>,
}

impl PatternSpec {
    /// A description that is only an expression; everything else is as if it were left out.
    #[must_use]
    pub fn of(expression: &str) -> Self {
        Self {
            expression: expression.to_owned(),
            counting: Counting::default(),
            time_of: TimeOf::default(),
            latency_unit: LatencyUnit::default(),
            interval_s: None,
        }
    }
}

/// Why a description cannot be used. Each is one line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// The expression does not compile.
    #[error("the expression is no regular expression: {0}")]
    Expression(String),
    /// The expression would take too much memory.
    #[error("the expression is too large: it takes more than {LARGEST_EXPRESSION} bytes when compiled")]
    TooLarge,
    /// There is nothing to count.
    #[error("the expression has no group for operations: name one (?<ops_per_s>…) or (?<operations>…)")]
    NothingToCount,
    /// A group has a name that means nothing.
    #[error("the expression has a group '{0}': name groups one of {known}", known = GROUPS.join(", "))]
    UnknownGroup(String),
    /// `interval_s` is no time.
    #[error("interval_s must be more than 0 and at most 86400")]
    Interval,
}

/// A checked description.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    spec: PatternSpec,
}

impl Pattern {
    /// Checks a description and compiles its expression.
    ///
    /// # Errors
    /// When the expression does not compile, is too large, counts nothing, or names a group that means nothing, or when
    /// another value is out of range.
    pub fn checked(spec: PatternSpec) -> Result<Self, PatternError> {
        let regex = RegexBuilder::new(&spec.expression)
            .size_limit(LARGEST_EXPRESSION)
            .build()
            .map_err(|error| one_line(&error))?;
        if let Some(unknown) = regex.capture_names().flatten().find(|name| !GROUPS.contains(name)) {
            return Err(PatternError::UnknownGroup(unknown.to_owned()));
        }
        if !regex.capture_names().flatten().any(|name| matches!(name, "ops_per_s" | "operations")) {
            return Err(PatternError::NothingToCount);
        }
        if spec.interval_s.is_some_and(|seconds| !(seconds > 0.0 && seconds <= DAY_S)) {
            return Err(PatternError::Interval);
        }
        Ok(Self { regex, spec })
    }
}

/// Errors of the compiler are drawings of several lines, the last of which says what is wrong.
fn one_line(error: &regex::Error) -> PatternError {
    match error {
        regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
        other => {
            let text = other.to_string();
            let reason = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            PatternError::Expression(reason.trim().trim_start_matches("error: ").to_owned())
        }
    }
}

/// The rows of a tool that a pattern describes.
#[derive(Debug)]
pub(crate) struct PatternFormat {
    pattern: Pattern,
    clock: ToolClock,
    /// What is added to the times of a [`TimeOf::Clock`], and the latest of them.
    zero_s: Option<f64>,
    last_of_day_s: f64,
    operations: Counters,
    errors: Counters,
    /// Each kind has rows of its own.
    intervals: Vec<(Option<String>, Intervals)>,
}

impl Format for PatternFormat {
    fn line(&mut self, line: &Line<'_>, findings: &mut Findings) {
        // The expression is cheap to clone: it is shared.
        let regex = self.pattern.regex.clone();
        if let Some(groups) = regex.captures(line.text) {
            match self.sample(&groups, line.arrived_s) {
                Some(sample) => findings.samples.push(sample),
                None => findings.totals.unread_rows += 1,
            }
        }
    }
}

impl PatternFormat {
    pub(crate) fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            clock: ToolClock::default(),
            zero_s: None,
            last_of_day_s: 0.0,
            operations: Counters::default(),
            errors: Counters::default(),
            intervals: Vec::new(),
        }
    }

    fn sample(&mut self, groups: &Captures<'_>, arrived_s: f64) -> Option<Sample> {
        let group = |name: &str| groups.name(name).map(|found| found.as_str());
        let count = |name: &str| group(name).and_then(number_with_magnitude);
        let rate_per_s = count("ops_per_s");
        let operations = count("operations");
        rate_per_s.or(operations)?;
        let kind = group("kind").map(shortened).filter(|kind| !kind.eq_ignore_ascii_case("total"));
        let (time_s, clock) = match group("time") {
            Some(text) => self.time(text, arrived_s)?,
            None => (arrived_s, Clock::Command),
        };
        let (begin_s, end_s) = self.interval(kind.as_ref(), time_s)?;
        let counting = self.pattern.spec.counting;
        let counted = |counters: &mut Counters, count: Option<f64>| match counting {
            Counting::PerRow => count,
            Counting::Cumulative => count.and_then(|count| counters.difference(kind.as_ref(), count)),
        };
        let operations = counted(&mut self.operations, operations);
        let errors = counted(&mut self.errors, count("errors"));
        let operations = operations.or_else(|| rate_per_s.map(|rate| rate * (end_s - begin_s)))?;
        let unit = self.pattern.spec.latency_unit.milliseconds();
        let latency = |name: &str| {
            let text = group(name)?;
            milliseconds(text).or_else(|| number_with_magnitude(text).map(|number| number * unit))
        };
        Some(Sample {
            begin_s,
            end_s,
            arrived_s,
            clock,
            operations,
            errors: errors.unwrap_or_default(),
            latency: Latency {
                mean: latency("mean"),
                p50: latency("p50"),
                p95: latency("p95"),
                p99: latency("p99"),
                p999: latency("p999"),
                max: latency("max"),
            },
            kind,
        })
    }

    fn time(&mut self, text: &str, arrived_s: f64) -> Option<(f64, Clock)> {
        let of_day_s = hours_minutes_seconds(text);
        let seconds = of_day_s
            .or_else(|| milliseconds(text).map(|milliseconds| milliseconds / 1e3))
            .or_else(|| number_with_magnitude(text))?;
        match self.pattern.spec.time_of {
            TimeOf::Run => Some((self.clock.place(seconds, arrived_s), Clock::Tool)),
            TimeOf::Clock => {
                let zero_s = self.zero_s.get_or_insert(arrived_s - seconds);
                if of_day_s.is_some() && seconds + DAY_S / 2.0 < self.last_of_day_s {
                    *zero_s += DAY_S;
                }
                self.last_of_day_s = seconds;
                Some(((*zero_s + seconds).max(0.0), Clock::Command))
            }
        }
    }

    fn interval(&mut self, kind: Option<&String>, end_s: f64) -> Option<(f64, f64)> {
        let place = self.intervals.iter().position(|(known, _)| known.as_ref() == kind);
        let place = place.unwrap_or(self.intervals.len());
        if place == self.intervals.len() {
            if place >= MOST_NAMES {
                return None;
            }
            self.intervals.push((kind.cloned(), Intervals::default()));
        }
        let (_, intervals) = self.intervals.get_mut(place)?;
        let (begin_s, end_s) = intervals.next(end_s, 0.0, None);
        let longest_s = self.pattern.spec.interval_s.unwrap_or(f64::INFINITY);
        Some((begin_s.max(end_s - longest_s), end_s))
    }
}
