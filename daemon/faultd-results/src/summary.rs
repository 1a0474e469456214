//! `summary.json`: the numbers of a run. A pure function of its rows, latencies and fault window.
//!
//! Degradation, residual and recovery time are those of "One-Size-Fits-None: Understanding and
//! Enhancing Slow-Fault Tolerance in Modern Distributed Systems" (NSDI'25), so that results can be
//! laid beside the published ones.

use serde::{Deserialize, Serialize};

use crate::{
    event::{FaultWindow, LeaderChange},
    phase::Phase,
    recorder::PhaseLatencies,
    timeseries::{LatencyMilliseconds, Row},
};

/// The value of `schema` in `summary.json`.
pub const SCHEMA: &str = "faultd/v1/summary";

/// A second that the fault still held for so short a part of counts as one after the clear.
///
/// Faults are cleared at whole seconds plus the milliseconds that clearing takes. Without the
/// tolerance these would always cost one second of recovery time.
const CLEAR_TOLERANCE_S: f64 = 0.05;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It ran to its end.
    Done,
    /// One of its stop conditions held: its faults were cleared at that moment.
    Stopped,
    /// Somebody ended it; what was measured until then is kept.
    Interrupted,
    /// It could not go on.
    Failed,
}

impl Status {
    /// The name in files and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// The numbers of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: String,
    /// How it ended.
    pub status: Status,
    /// Why the numbers are not to be trusted; none if nothing speaks against them.
    pub tainted: Option<String>,
    /// The stop condition that held; none where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopReason>,
    /// Over the measured time, without the warm-up.
    pub totals: Totals,
    /// The phases that have at least one second, in their order.
    pub phases: Vec<PhaseSummary>,
    /// What the fault did.
    pub effect: Effect,
    /// When the faults held; none for a baseline.
    pub fault_window: Option<FaultWindow>,
    /// What the kernel counted for each rule: the proof that the fault was there.
    pub rules: Vec<RuleProof>,
    /// What the kernel confirmed of each fault on processes: the proof that it was there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessProof>,
    /// What the schedule has found out, such as where a danger zone begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Who came to lead while the run went on, and when; who led when it began is in the metadata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leader_changes: Vec<LeaderChange>,
}

/// Why a run was stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StopReason {
    /// The condition as it was asked for.
    pub condition: String,
    /// What was measured, against which threshold, and since when.
    pub reason: String,
    /// When that was known, in seconds since the start of the measured time.
    pub t_s: f64,
}

/// Something that the schedule of a run has found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// What it is.
    pub name: String,
    /// The value.
    pub value: f64,
    /// The value lies from here...
    pub low: f64,
    /// ...to here, with the confidence that the schedule's description says.
    pub high: f64,
    /// Unit of all three; empty for a plain number.
    pub unit: String,
}

/// The measured time as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Totals {
    /// Operations that succeeded.
    pub operations: u64,
    /// Operations that failed or timed out.
    pub errors: u64,
    /// Whole seconds measured.
    pub elapsed_s: u64,
    /// Operations that succeeded, per second.
    pub mean_ops_per_s: f64,
    /// Of the operations that succeeded; none if there was none.
    pub latency: Option<LatencyMilliseconds>,
}

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PhaseSummary {
    /// Which one.
    pub phase: Phase,
    /// Whole seconds counted to it.
    pub seconds: u64,
    /// Operations that succeeded.
    pub operations: u64,
    /// Mean over its seconds of the operations that succeeded.
    pub mean_ops_per_s: f64,
    /// Sample standard deviation over its seconds; 0 for a single second.
    pub sd_ops_per_s: f64,
    /// Operations that failed or timed out.
    pub errors: u64,
    /// Seconds in which no operation succeeded.
    pub stalled_seconds: u64,
    /// Of the operations that succeeded; none if there was none.
    pub latency: Option<LatencyMilliseconds>,
}

/// What the fault did to throughput. All but the time to effect need a baseline: without one, as
/// when the fault held for the full run, they are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Effect {
    /// `(normal - slow) / normal`, with the mean throughput of baseline and injection. 0 is no
    /// effect, 1 is a standstill, below 0 the fault made it faster.
    pub degradation: Option<f64>,
    /// Mean throughput of recovery divided by that of baseline. 1 is as before.
    pub residual: Option<f64>,
    /// From the clear to the start of the first whole second whose throughput is at least mean
    /// minus standard deviation of the baseline, in seconds. 0 means within the resolution of one
    /// second; none that it did not come back while it was measured.
    pub recovery_time_s: Option<f64>,
    /// From the command to the kernel's confirmation that the fault holds, in seconds.
    pub time_to_effect_s: Option<f64>,
}

/// What the kernel counted for one rule, in packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RuleProof {
    /// The engine's name for the fault.
    pub fault: String,
    /// The resolved target.
    pub target: String,
    /// `egress` or `ingress`.
    pub direction: String,
    /// Passed the interface while the rule was there.
    pub seen: u64,
    /// Were selected by the rule.
    pub matched: u64,
    /// Were delayed.
    pub delayed: u64,
    /// Were dropped on purpose.
    pub dropped: u64,
    /// Met the rule after its lease had ended, and passed unharmed.
    pub expired: u64,
    /// Were lost by the holding device although they should not have been.
    pub unintended: u64,
}

/// What the kernel confirmed of one fault on processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessProof {
    /// The engine's name for the fault.
    pub fault: String,
    /// The resolved target.
    pub target: String,
    /// `pause` or `cpu`.
    pub kind: String,
    /// Pauses in which all processes stood still.
    pub pauses: u64,
    /// For how long they did in all, in seconds.
    pub paused_s: f64,
    /// Pauses that were not confirmed.
    pub unconfirmed_pauses: u64,
    /// Periods in which the processes had something to run.
    pub periods: u64,
    /// Those in which they used up their share of the processors.
    pub throttled_periods: u64,
    /// For how long they waited because of that, over all processors, in seconds.
    pub throttled_s: f64,
}

/// What a summary is made from.
#[derive(Clone, Debug)]
pub struct Measurement<'a> {
    /// How the run ended.
    pub status: Status,
    /// Why the numbers are not to be trusted.
    pub tainted: Option<String>,
    /// One for every whole second, warm-up included.
    pub rows: &'a [Row],
    /// What the recorder collected for the same seconds.
    pub latencies: &'a PhaseLatencies,
    /// When the faults held.
    pub fault_window: Option<FaultWindow>,
    /// What the kernel counted.
    pub rules: Vec<RuleProof>,
    /// What the schedule has found out.
    pub findings: Vec<Finding>,
}

impl Summary {
    /// Computes the numbers.
    #[must_use]
    pub fn of(measurement: Measurement<'_>) -> Self {
        let Measurement { status, tainted, rows, latencies, fault_window, rules, findings } = measurement;
        let phases: Vec<PhaseSummary> =
            Phase::ALL.into_iter().filter_map(|phase| PhaseSummary::of(phase, rows, latencies)).collect();
        Self {
            schema: SCHEMA.to_owned(),
            status,
            tainted,
            stopped: None,
            totals: Totals::of(&phases, latencies.measured),
            effect: Effect::of(&phases, rows, fault_window.as_ref()),
            phases,
            fault_window,
            rules,
            findings,
            processes: Vec::new(),
            leader_changes: Vec::new(),
        }
    }

    /// The summary of a phase; none if the run has no second in it.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Option<&PhaseSummary> {
        find(&self.phases, phase)
    }
}

fn find(phases: &[PhaseSummary], phase: Phase) -> Option<&PhaseSummary> {
    phases.iter().find(|summary| summary.phase == phase)
}

impl PhaseSummary {
    fn of(phase: Phase, rows: &[Row], latencies: &PhaseLatencies) -> Option<Self> {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.phase == phase).collect();
        let operations: u64 = rows.iter().map(|row| row.ops).sum();
        let mean = (!rows.is_empty()).then(|| operations as f64 / rows.len() as f64)?;
        let squares: f64 = rows.iter().map(|row| (row.ops as f64 - mean).powi(2)).sum();
        Some(Self {
            phase,
            seconds: rows.len() as u64,
            operations,
            mean_ops_per_s: mean,
            sd_ops_per_s: (squares / rows.len().saturating_sub(1).max(1) as f64).sqrt(),
            errors: rows.iter().map(|row| row.errors).sum(),
            stalled_seconds: rows.iter().filter(|row| row.stalled).count() as u64,
            latency: latencies.phases.get(&phase).copied(),
        })
    }

    /// Throughput from which on the cluster counts as recovered.
    fn recovered_at_ops_per_s(&self) -> f64 {
        self.mean_ops_per_s - self.sd_ops_per_s
    }
}

impl Totals {
    fn of(phases: &[PhaseSummary], latency: Option<LatencyMilliseconds>) -> Self {
        let measured = || phases.iter().filter(|summary| summary.phase != Phase::WarmUp);
        let operations = measured().map(|summary| summary.operations).sum();
        let elapsed_s = measured().map(|summary| summary.seconds).sum();
        Self {
            operations,
            errors: measured().map(|summary| summary.errors).sum(),
            elapsed_s,
            mean_ops_per_s: ratio(operations as f64, elapsed_s as f64).unwrap_or(0.0),
            latency,
        }
    }
}

impl Effect {
    fn of(phases: &[PhaseSummary], rows: &[Row], window: Option<&FaultWindow>) -> Self {
        let mean = |phase| find(phases, phase).map(|summary| summary.mean_ops_per_s);
        let to_normal = |phase| ratio(mean(phase)?, mean(Phase::Baseline)?);
        Self {
            degradation: to_normal(Phase::Injection).map(|slow_to_normal| 1.0 - slow_to_normal),
            residual: to_normal(Phase::Recovery),
            recovery_time_s: recovery_time_s(phases, rows, window),
            time_to_effect_s: window.and_then(FaultWindow::time_to_effect_s),
        }
    }
}

fn recovery_time_s(phases: &[PhaseSummary], rows: &[Row], window: Option<&FaultWindow>) -> Option<f64> {
    let normal = find(phases, Phase::Baseline).filter(|normal| normal.operations > 0)?;
    let cleared_s = window.filter(|window| window.effective_s.is_some())?.cleared_s?;
    let recovered = rows.iter().find(|row| {
        row.phase == Phase::Recovery
            && row.t_s as f64 + CLEAR_TOLERANCE_S >= cleared_s
            && row.ops as f64 >= normal.recovered_at_ops_per_s()
            && !row.stalled
    })?;
    Some((recovered.t_s as f64 - cleared_s).max(0.0))
}

/// None where there is nothing to compare with.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
#[path = "summary_tests.rs"]
pub(crate) mod tests;
