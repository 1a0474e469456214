//! When a run is to be stopped, as people write it: `throughput<20% for 10s`. Whether it is so is judged by the daemon.
//!
//! ```text
//! throughput<20% for 10s          of the mean before the fault
//! throughput<500/s for 5s         operations a second
//! latency(p99)>200ms for 10s      mean, p50, p95, p99, p999 or max of each second
//! errors>100                      of the whole run
//! errors>5% for 10s               of the operations of each second
//! leader-change, leader-change>3  since the fault began
//! promql(EXPR)>0.5 for 10s        <, <=, > or >=, any series of the answer
//! ```

use std::{fmt, str::FromStr, time::Duration};

use crate::units::{
    UnitError, duration_text, nanoseconds, parse_delay, parse_duration, parse_share, share_text,
};

/// How long something holds where nothing is said: a second, the shortest that is measured.
const ONE_SECOND: Duration = Duration::from_secs(1);
/// The longest expression, in bytes.
pub const LONGEST_EXPRESSION: usize = 2000;
/// The lowest and the highest throughput that can be named, in operations a second.
const LEAST_RATE: f64 = 0.001;
const MOST_RATE: f64 = 1e12;

/// Something that must not be while a fault is injected.
#[derive(Debug, Clone, PartialEq)]
pub enum StopCondition {
    /// Throughput is below a share of that before the fault, 0 to 1.
    ThroughputShare {
        /// The share.
        below: f64,
        /// For so long, in whole seconds, here and below.
        held_for: Duration,
    },
    /// Throughput is below a number of operations a second.
    Throughput {
        /// The number.
        below: f64,
        /// For so long.
        held_for: Duration,
    },
    /// Operations take longer.
    Latency {
        /// Which of them.
        figure: LatencyFigure,
        /// Than this.
        above: Duration,
        /// For so long.
        held_for: Duration,
    },
    /// More operations of the run have failed than this.
    Errors(u64),
    /// A larger share of operations fails, 0 to 1.
    ErrorShare {
        /// The share.
        above: f64,
        /// For so long.
        held_for: Duration,
    },
    /// The leader has changed more often than this since the fault began.
    LeaderChanges(u64),
    /// What Prometheus answers.
    Promql {
        /// What it is asked.
        expression: String,
        /// How the answer is compared.
        comparison: Comparison,
        /// With what.
        threshold: f64,
        /// For so long.
        held_for: Duration,
    },
}

/// A figure of the latencies of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatencyFigure {
    /// Arithmetic mean.
    Mean,
    /// Median.
    P50,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// 99.9th percentile.
    P999,
    /// The slowest operation.
    Max,
}

/// How a value is compared with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// Why a text is no stop condition.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum StopConditionError {
    /// It begins with none of the words.
    #[error(
        "'{0}' is no stop condition: write one as in 'throughput<20% for 10s', 'latency(p99)>200ms for 10s', \
         'errors>100', 'errors>5% for 10s', 'leader-change' or 'promql(up)<1 for 10s'"
    )]
    Unknown(String),
    /// A comparison that is none, or the wrong way round.
    #[error("'{text}': after {what} write {expected}")]
    Comparison {
        /// What was typed.
        text: String,
        /// The word before the comparison.
        what: &'static str,
        /// What may stand there.
        expected: &'static str,
    },
    /// A threshold or a time with its unit.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// A share that is as good as nothing.
    #[error("'{0}' is too small: a share is at least 0.0001%")]
    SmallShare(String),
    /// Not a number of operations a second.
    #[error(
        "'{0}' is no throughput: write a share of that before the fault or operations a second, as in 20% or 500/s"
    )]
    Rate(String),
    /// Not a whole number.
    #[error("'{0}' is no number of {1}: write a whole number of at least 0")]
    Count(String, &'static str),
    /// Not a number.
    #[error("'{0}' is no number to compare with: write one as in 0.5")]
    Number(String),
    /// A figure of latency that is none.
    #[error("'{0}' is no figure of latency: write mean, p50, p95, p99, p999 or max")]
    Figure(String),
    /// A part of a second.
    #[error("'for {0}' cannot be judged: it is done second by second, write whole seconds, as in 10s")]
    PartOfASecond(String),
    /// A time for something that is counted over the whole run.
    #[error("'{0}' is counted over the run: leave out 'for'")]
    NoTime(String),
    /// An expression that is none.
    #[error("'{0}': write the expression in parentheses that are all closed, as in promql(sum(up))<3")]
    Expression(String),
    /// An expression of more than [`LONGEST_EXPRESSION`] bytes.
    #[error("an expression of {0} bytes is too long: at most {LONGEST_EXPRESSION}")]
    LongExpression(usize),
}

impl StopCondition {
    /// Every word of [`StopCondition::word`].
    pub const WORDS: [&'static str; 5] = ["throughput", "latency", "errors", "leader-change", "promql"];

    /// The word that it begins with.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::ThroughputShare { .. } | Self::Throughput { .. } => "throughput",
            Self::Latency { .. } => "latency",
            Self::Errors(_) | Self::ErrorShare { .. } => "errors",
            Self::LeaderChanges(_) => "leader-change",
            Self::Promql { .. } => "promql",
        }
    }

    /// Whether it counts over the run, and does not look at each second by itself.
    #[must_use]
    pub const fn counts_over_the_run(&self) -> bool {
        matches!(self, Self::Errors(_) | Self::LeaderChanges(_))
    }

    /// For how long it must be so; for what is counted, a second.
    #[must_use]
    pub const fn held_for(&self) -> Duration {
        match self {
            Self::ThroughputShare { held_for, .. }
            | Self::Throughput { held_for, .. }
            | Self::Latency { held_for, .. }
            | Self::ErrorShare { held_for, .. }
            | Self::Promql { held_for, .. } => *held_for,
            Self::Errors(_) | Self::LeaderChanges(_) => ONE_SECOND,
        }
    }
}

impl FromStr for StopCondition {
    type Err = StopConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || StopConditionError::Unknown(text.replace(char::is_control, " "));
        let trimmed = text.trim();
        if trimmed.contains(char::is_control) {
            return Err(unknown());
        }
        let word = Self::WORDS.into_iter().find_map(|word| Some((word, trimmed.strip_prefix(word)?)));
        let (word, rest) = word.ok_or_else(unknown)?;
        match (word, rest.trim_start()) {
            ("throughput", rest) => throughput(trimmed, rest),
            ("latency", rest) => latency(trimmed, rest),
            ("errors", rest) => errors(trimmed, rest),
            ("promql", rest) => promql(trimmed, rest),
            (_, "") => Ok(Self::LeaderChanges(0)),
            (_, rest) => leader_changes(trimmed, rest),
        }
    }
}

impl fmt::Display for StopCondition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held_for = duration_text(nanoseconds(self.held_for()));
        match self {
            Self::ThroughputShare { below, .. } => {
                write!(formatter, "throughput<{} for {held_for}", share_text(*below))
            }
            Self::Throughput { below, .. } => write!(formatter, "throughput<{below}/s for {held_for}"),
            Self::Latency { figure, above, .. } => {
                let above = duration_text(nanoseconds(*above));
                write!(formatter, "latency({})>{above} for {held_for}", figure.name())
            }
            Self::Errors(more_than) => write!(formatter, "errors>{more_than}"),
            Self::ErrorShare { above, .. } => {
                write!(formatter, "errors>{} for {held_for}", share_text(*above))
            }
            Self::LeaderChanges(0) => formatter.write_str("leader-change"),
            Self::LeaderChanges(more_than) => write!(formatter, "leader-change>{more_than}"),
            Self::Promql { expression, comparison, threshold, .. } => {
                let (sign, threshold) = (comparison.sign(), number_text(*threshold));
                write!(formatter, "promql({expression}){sign}{threshold} for {held_for}")
            }
        }
    }
}

impl LatencyFigure {
    const ALL: [Self; 6] = [Self::Mean, Self::P50, Self::P95, Self::P99, Self::P999, Self::Max];

    /// The name, as in the columns of a time series.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::Max => "max",
        }
    }
}

impl Comparison {
    /// The longer signs first: each begins with a shorter one.
    const ALL: [Self; 4] = [Self::AtMost, Self::AtLeast, Self::Below, Self::Above];

    /// The sign.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    /// In words, as in "1 is `below` 2".
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Below => "below",
            Self::AtMost => "at most",
            Self::Above => "above",
            Self::AtLeast => "at least",
        }
    }

    /// Whether a value is so; what is no number is not.
    #[must_use]
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
        }
    }
}

fn throughput(text: &str, rest: &str) -> Result<StopCondition, StopConditionError> {
    let rest = after(text, rest, "throughput", Comparison::Below)?;
    let (threshold, held_for) = threshold_and_time(rest)?;
    if threshold.ends_with('%') {
        return Ok(StopCondition::ThroughputShare { below: share(&threshold)?, held_for });
    }
    let rate = threshold.strip_suffix("/s").and_then(|number| number.parse().ok());
    let rate = rate.filter(|rate| (LEAST_RATE..=MOST_RATE).contains(rate));
    let below = rate.ok_or(StopConditionError::Rate(threshold))?;
    Ok(StopCondition::Throughput { below, held_for })
}

fn latency(text: &str, rest: &str) -> Result<StopCondition, StopConditionError> {
    let figure_and_rest = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (name, rest) = figure_and_rest.ok_or(StopConditionError::Comparison {
        text: text.to_owned(),
        what: "latency",
        expected: "a figure in parentheses, as in latency(p99)>200ms",
    })?;
    let figure = LatencyFigure::ALL.into_iter().find(|figure| figure.name() == name.trim());
    let figure = figure.ok_or_else(|| StopConditionError::Figure(name.to_owned()))?;
    let rest = after(text, rest.trim_start(), "latency(…)", Comparison::Above)?;
    let (threshold, held_for) = threshold_and_time(rest)?;
    let above = as_written(parse_delay(&threshold)?);
    Ok(StopCondition::Latency { figure, above, held_for })
}

fn errors(text: &str, rest: &str) -> Result<StopCondition, StopConditionError> {
    let rest = after(text, rest, "errors", Comparison::Above)?;
    let (threshold, held_for) = threshold_and_time(rest)?;
    if threshold.ends_with('%') {
        return Ok(StopCondition::ErrorShare { above: share(&threshold)?, held_for });
    }
    count(text, rest, "errors").map(StopCondition::Errors)
}

fn leader_changes(text: &str, rest: &str) -> Result<StopCondition, StopConditionError> {
    let rest = after(text, rest, "leader-change", Comparison::Above)?;
    count(text, rest, "changes").map(StopCondition::LeaderChanges)
}

fn promql(text: &str, rest: &str) -> Result<StopCondition, StopConditionError> {
    let no_expression = || StopConditionError::Expression(text.to_owned());
    let rest = rest.strip_prefix('(').ok_or_else(no_expression)?;
    let (expression, rest) =
        closing(rest).and_then(|end| rest.split_at_checked(end)).ok_or_else(no_expression)?;
    let expression = expression.trim();
    if expression.is_empty() {
        return Err(no_expression());
    }
    if expression.len() > LONGEST_EXPRESSION {
        return Err(StopConditionError::LongExpression(expression.len()));
    }
    let rest = rest.strip_prefix(')').unwrap_or(rest).trim_start();
    let compared = Comparison::ALL.into_iter().find_map(|sign| Some((sign, rest.strip_prefix(sign.sign())?)));
    let (comparison, rest) = compared.ok_or_else(|| StopConditionError::Comparison {
        text: text.to_owned(),
        what: "promql(…)",
        expected: "<, <=, > or >= and a number",
    })?;
    let (threshold, held_for) = threshold_and_time(rest)?;
    let number = threshold.parse().ok().filter(|number: &f64| number.is_finite());
    let threshold = number.ok_or(StopConditionError::Number(threshold))?;
    Ok(StopCondition::Promql { expression: expression.to_owned(), comparison, threshold, held_for })
}

/// What follows the only comparison that makes sense.
fn after<'a>(
    text: &str,
    rest: &'a str,
    what: &'static str,
    comparison: Comparison,
) -> Result<&'a str, StopConditionError> {
    let expected = match comparison {
        Comparison::Below => "< and a threshold",
        _ => "> and a threshold",
    };
    let found = rest.strip_prefix(comparison.sign()).filter(|rest| !rest.starts_with('='));
    found.ok_or_else(|| StopConditionError::Comparison { text: text.to_owned(), what, expected })
}

/// `200ms for 10s`, or a threshold alone. Blanks within a quantity do not matter.
fn threshold_and_time(rest: &str) -> Result<(String, Duration), StopConditionError> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let mut parts = words.splitn(2, |word| *word == "for");
    let threshold = parts.next().unwrap_or_default().concat();
    let Some(time) = parts.next() else { return Ok((threshold, ONE_SECOND)) };
    let time = time.concat();
    let held_for = parse_duration(&time)?;
    if held_for.subsec_nanos() > 0 {
        return Err(StopConditionError::PartOfASecond(time));
    }
    Ok((threshold, held_for))
}

/// A whole number without a time.
fn count(text: &str, rest: &str, of: &'static str) -> Result<u64, StopConditionError> {
    if rest.split_whitespace().any(|word| word == "for") {
        return Err(StopConditionError::NoTime(text.to_owned()));
    }
    let rest = rest.trim();
    rest.parse().map_err(|_| StopConditionError::Count(rest.to_owned(), of))
}

/// A share, exactly as it is written back.
fn share(text: &str) -> Result<f64, StopConditionError> {
    let ratio = parse_share(text)?;
    parse_share(&share_text(ratio)).map_err(|_| StopConditionError::SmallShare(text.to_owned()))
}

/// A duration, exactly as it is written back.
fn as_written(duration: Duration) -> Duration {
    parse_duration(&duration_text(nanoseconds(duration))).unwrap_or(duration)
}

/// A number that is read back the same, without hundreds of zeros.
fn number_text(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-4..1e15).contains(&size) { number.to_string() } else { format!("{number:e}") }
}

/// Where the parenthesis that was opened before this text is closed. Those in quotes count for nothing.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut quote: Option<char> = None;
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match (quote, character) {
            // What follows a backslash does not end a text; in backquotes there is no such thing.
            (Some('"' | '\''), '\\') => {
                characters.next();
            }
            (Some(begun), character) if begun == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(character),
            (None, '(') => open += 1,
            (None, ')') => {
                open -= 1;
                if open == 0 {
                    return Some(place);
                }
            }
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> StopCondition {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refusal(text: &str) -> String {
        text.parse::<StopCondition>().unwrap_err().to_string()
    }

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "throughput<20% for 10s",
            "throughput<500/s for 5s",
            "throughput<0.5/s for 2m",
            "latency(mean)>1.5s for 1s",
            "latency(p99)>200ms for 10s",
            "latency(p999)>50us for 90s",
            "errors>0",
            "errors>100",
            "errors>0.5% for 10s",
            "leader-change",
            "leader-change>3",
            "promql(up)<1 for 10s",
            "promql(sum(rate(x{a=\")\", b='\\')'}[1m])) by (c))>=-0.5 for 1s",
            "promql(a)<=1e-9 for 1s",
        ] {
            assert_eq!(parsed(text).to_string(), text);
        }
    }

    #[test]
    fn blanks_do_not_matter_and_a_second_is_meant_where_no_time_is_said() {
        for (text, expected) in [
            ("  throughput < 20 %  for  10 s ", "throughput<20% for 10s"),
            ("latency( p99 ) >200ms", "latency(p99)>200ms for 1s"),
            ("errors > 5", "errors>5"),
            ("leader-change > 0", "leader-change"),
            ("promql ( up ) > 1e3", "promql(up)>1000 for 1s"),
        ] {
            assert_eq!(parsed(text).to_string(), expected);
        }
        let ten_seconds = Duration::from_secs(10);
        let expected = StopCondition::ThroughputShare { below: 0.2, held_for: ten_seconds };
        assert_eq!(parsed("throughput<20% for 10s"), expected);
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line() {
        for (text, said) in [
            ("", "is no stop condition"),
            ("latency>5ms", "after latency write a figure in parentheses"),
            ("throughput>20%", "after throughput write < and a threshold"),
            ("throughput<=20%", "after throughput write < and a threshold"),
            ("throughput<20", "'20' is no throughput"),
            ("throughput<-5/s", "'-5/s' is no throughput"),
            ("throughput<NaN/s", "'NaN/s' is no throughput"),
            ("throughput<120%", "'120%' is out of range"),
            ("throughput<0.000001%", "too small"),
            ("throughput<20% for", "'' is no duration"),
            ("throughput<20% for 1.5s", "'for 1.5s' cannot be judged"),
            ("latency(p98)>1ms", "'p98' is no figure of latency"),
            ("latency(p99)<1ms", "after latency(…) write > and a threshold"),
            ("latency(p99)>fast", "'fast' is no duration"),
            ("errors>many", "'many' is no number of errors"),
            ("errors>5 for 10s", "leave out 'for'"),
            ("leader-changes", "after leader-change write > and a threshold"),
            ("leader-change>-1", "'-1' is no number of changes"),
            ("promql(up>1", "parentheses that are all closed"),
            ("promql()>1", "parentheses that are all closed"),
            ("promql(x{a=\")\"})", "after promql(…) write <, <=, > or >="),
            ("promql(up))>1", "after promql(…)"),
            ("promql(up)>inf", "'inf' is no number to compare with"),
            ("promql(\nup)>1", "is no stop condition"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(said), "{text}: {refusal}");
            assert_eq!(refusal.lines().count(), 1, "{refusal}");
        }
        let long = format!("promql({})>1", "x".repeat(LONGEST_EXPRESSION + 1));
        assert!(refusal(&long).contains("too long"));
    }

    #[test]
    fn no_number_is_nothing_of_a_number() {
        for comparison in Comparison::ALL {
            assert!(!comparison.holds(f64::NAN, 1.0), "{comparison:?}");
        }
        assert!(Comparison::AtMost.holds(1.0, 1.0) && Comparison::AtLeast.holds(1.0, 1.0));
        assert!(!Comparison::Below.holds(1.0, 1.0) && !Comparison::Above.holds(1.0, 1.0));
    }
}
