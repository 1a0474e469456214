//! Whether a stop condition holds, judged second by second. Pure: its clock are the seconds that it is told of.
//!
//! A condition is judged while a fault is injected, and its time begins with the fault. What cannot be judged for
//! [`SILENT_FOR_S`] counts as held: a guard that sees nothing guards nothing.

use std::collections::BTreeMap;

use faultd_api::stop_condition::{Comparison, LatencyFigure, StopCondition};
use faultd_results::{
    phase::Phase,
    summary::StopReason,
    timeseries::{LatencyMilliseconds, Row},
};

/// After so many seconds in which it could not be judged, a condition counts as held.
const SILENT_FOR_S: i64 = 10;

/// What Prometheus has said since it was looked at last.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The value of each series.
    Values(Vec<f64>),
    /// Nothing, and why.
    Silence(String),
}

/// What is known at the end of a second.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The last second that was told of. A load command tells late: it may be an earlier one.
    pub row: &'a Row,
    /// The phase now.
    pub phase: Phase,
    /// How often the leader has changed since the first fault began.
    pub leader_changes: u64,
    /// By expression.
    pub answers: &'a BTreeMap<String, Answer>,
}

/// A condition that held.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The first word of the condition, for metrics.
    pub word: &'static str,
    /// What is written down and said.
    pub reason: StopReason,
}

/// The judge of one run.
#[derive(Debug)]
pub struct Judge {
    watched: Vec<Watched>,
    so_far: SoFar,
}

/// What all conditions have in common.
#[derive(Debug, Default)]
struct SoFar {
    /// Seconds before the first fault, and operations in them.
    baseline: (u64, u64),
    /// Operations of the measured time that failed.
    errors: u64,
}

#[derive(Debug)]
struct Watched {
    condition: StopCondition,
    /// The first of the seconds in which it was so.
    since: Option<i64>,
    /// The first of those in which it could not be judged.
    unknown_since: Option<i64>,
}

/// How a condition looks in one second.
#[derive(Debug, PartialEq)]
enum Look {
    /// So it is; measured value and threshold in words.
    Beyond(String),
    /// So it is not.
    Within,
    /// Nothing happened that could be judged: it is as it was.
    AsBefore,
    /// It cannot be judged, and why.
    Unknown(String),
    /// It is not to be judged: no fault is injected.
    Idle,
}

impl Judge {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(conditions: &[StopCondition]) -> Self {
        let watched = |condition: &StopCondition| Watched {
            condition: condition.clone(),
            since: None,
            unknown_since: None,
        };
        Self { watched: conditions.iter().map(watched).collect(), so_far: SoFar::default() }
    }

    /// Takes a second that has ended; answers the first condition that holds now.
    pub fn second(&mut self, observed: &Observed<'_>) -> Option<Held> {
        self.so_far.add(observed.row);
        let Self { watched, so_far } = self;
        // All of them are told, whichever holds.
        let held: Vec<Held> = watched.iter_mut().filter_map(|one| one.second(so_far, observed)).collect();
        held.into_iter().next()
    }
}

impl SoFar {
    fn add(&mut self, row: &Row) {
        match row.phase {
            Phase::WarmUp => return,
            Phase::Baseline => self.baseline = (self.baseline.0 + 1, self.baseline.1 + row.ops),
            Phase::Injection | Phase::Recovery => {}
        }
        self.errors += row.errors;
    }

    /// Mean operations a second before the first fault; nothing where there was none, or nothing happened.
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer operations than a double has digits")]
    fn baseline_mean(&self) -> Option<f64> {
        let (seconds, operations) = self.baseline;
        (operations > 0).then(|| operations as f64 / seconds as f64)
    }
}

impl Watched {
    fn second(&mut self, so_far: &SoFar, observed: &Observed<'_>) -> Option<Held> {
        let second = observed.row.t_s;
        let look = look(&self.condition, so_far, observed);
        if !matches!(look, Look::Unknown(_)) {
            self.unknown_since = None;
        }
        match look {
            Look::Beyond(measured) => {
                let since = *self.since.get_or_insert(second);
                let wanted = i64::try_from(self.condition.held_for().as_secs()).unwrap_or(i64::MAX);
                (second + 1 - since >= wanted).then(|| self.held(second, since, &measured))
            }
            Look::Unknown(why) => {
                let since = *self.unknown_since.get_or_insert(second);
                let measured = format!("it cannot be judged: {why}");
                (second + 1 - since >= SILENT_FOR_S).then(|| self.held(second, since, &measured))
            }
            Look::Within | Look::Idle => {
                self.since = None;
                None
            }
            Look::AsBefore => None,
        }
    }

    fn held(&self, second: i64, since: i64, measured: &str) -> Held {
        let since =
            if self.condition.counts_over_the_run() { String::new() } else { format!(", since {since} s") };
        #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
        let t_s = (second + 1) as f64;
        let reason = format!("{measured}{since}");
        let reason = StopReason { condition: self.condition.to_string(), reason, t_s };
        Held { word: self.condition.word(), reason }
    }
}

fn look(condition: &StopCondition, so_far: &SoFar, observed: &Observed<'_>) -> Look {
    let Observed { row, phase, .. } = observed;
    match condition {
        StopCondition::Promql { expression, comparison, threshold, .. } => {
            promql(expression, *comparison, *threshold, observed)
        }
        StopCondition::LeaderChanges(_) if *phase != Phase::Injection => Look::Idle,
        StopCondition::LeaderChanges(most) => leader_changes(*most, observed.leader_changes),
        _ if row.phase != Phase::Injection => Look::Idle,
        StopCondition::ThroughputShare { below, .. } => throughput_share(*below, so_far, row),
        StopCondition::Throughput { below, .. } => throughput(*below, row),
        StopCondition::Latency { figure, above, .. } => latency(*figure, above.as_secs_f64() * 1e3, row),
        StopCondition::Errors(most) if so_far.errors > *most => {
            Look::Beyond(format!("{} operations have failed, more than {most}", so_far.errors))
        }
        StopCondition::Errors(_) => Look::Within,
        StopCondition::ErrorShare { above, .. } => error_share(*above, row),
    }
}

#[expect(clippy::cast_precision_loss, reason = "operations of a second")]
fn throughput_share(below: f64, so_far: &SoFar, row: &Row) -> Look {
    let Some(mean) = so_far.baseline_mean() else {
        return Look::Unknown("there was no throughput before the fault".to_owned());
    };
    let (ops, threshold) = (row.ops as f64, mean * below);
    if ops >= threshold {
        return Look::Within;
    }
    let percent = digits(below * 100.0);
    Look::Beyond(format!(
        "throughput is {ops} ops/s, below {threshold:.1} ({percent}% of {mean:.1} before the fault)"
    ))
}

#[expect(clippy::cast_precision_loss, reason = "operations of a second")]
fn throughput(below: f64, row: &Row) -> Look {
    if (row.ops as f64) >= below {
        return Look::Within;
    }
    Look::Beyond(format!("throughput is {} ops/s, below {}", row.ops, digits(below)))
}

/// Where nothing succeeds, everything takes longer than that.
fn latency(figure: LatencyFigure, above_ms: f64, row: &Row) -> Look {
    let name = figure.name();
    let limit = digits(above_ms);
    if row.ops == 0 {
        return Look::Beyond(format!("no operation succeeds, so that {name} latency is above {limit} ms"));
    }
    match row.latency.as_ref().and_then(|latency| of(figure, latency)) {
        None => Look::Unknown(format!("the load does not tell its {name} latency")),
        Some(value) if value > above_ms => {
            Look::Beyond(format!("{name} latency is {value:.1} ms, above {limit} ms"))
        }
        Some(_) => Look::Within,
    }
}

fn of(figure: LatencyFigure, latency: &LatencyMilliseconds) -> Option<f64> {
    match figure {
        LatencyFigure::Mean => latency.mean,
        LatencyFigure::P50 => latency.p50,
        LatencyFigure::P95 => latency.p95,
        LatencyFigure::P99 => latency.p99,
        LatencyFigure::P999 => latency.p999,
        LatencyFigure::Max => latency.max,
    }
}

/// Operations that time out fail every few seconds: those between say nothing.
#[expect(clippy::cast_precision_loss, reason = "operations of a second")]
fn error_share(above: f64, row: &Row) -> Look {
    let all = row.ops + row.errors;
    if all == 0 {
        return Look::AsBefore;
    }
    let share = row.errors as f64 / all as f64;
    if share <= above {
        return Look::Within;
    }
    let [share, above] = [share, above].map(|ratio| digits(ratio * 100.0));
    Look::Beyond(format!("{share}% of the operations fail, more than {above}%"))
}

fn leader_changes(most: u64, changes: u64) -> Look {
    if changes <= most {
        return Look::Within;
    }
    let times = if changes == 1 { "once".to_owned() } else { format!("{changes} times") };
    let more = if most == 0 { String::new() } else { format!(", more than {most}") };
    Look::Beyond(format!("the leader has changed {times} since the fault began{more}"))
}

/// Silence counts before the fault too: then it is not even injected.
fn promql(expression: &str, comparison: Comparison, threshold: f64, observed: &Observed<'_>) -> Look {
    let injected = match observed.phase {
        Phase::Recovery => return Look::Idle,
        Phase::Injection => true,
        Phase::WarmUp | Phase::Baseline => false,
    };
    match observed.answers.get(expression) {
        Some(Answer::Values(_)) if !injected => Look::Idle,
        Some(Answer::Values(values)) => {
            match values.iter().find(|value| comparison.holds(**value, threshold)) {
                Some(value) => {
                    Look::Beyond(format!("Prometheus says {value}, {} {threshold}", comparison.word()))
                }
                None => Look::Within,
            }
        }
        Some(Answer::Silence(why)) => Look::Unknown(format!("Prometheus does not answer ({why})")),
        None => Look::Unknown("Prometheus does not answer".to_owned()),
    }
}

/// Without needless zeros.
fn digits(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[path = "judging_tests.rs"]
mod tests;
