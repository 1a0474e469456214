//! `events.jsonl`: what happened in a run and when, one JSON document a line.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::phase::Phase;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// `CLOCK_MONOTONIC`, the clock of the workload and of the kernel's rules.
    pub monotonic_ns: u64,
    /// The same instant for people and for other machines' logs, RFC 3339 with nanoseconds.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub wall_clock: Timestamp,
    /// Seconds since the start of the measured time, negative in the warm-up.
    pub t_s: f64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen in a run. The name is the field `kind`, the rest are fields beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// The run entered a phase.
    Phase {
        /// The phase that begins.
        phase: Phase,
    },
    /// The engine was told to add the fault.
    FaultCommanded(FaultEvent),
    /// The kernel has confirmed the fault: packets are affected from here on.
    FaultEffective(FaultEvent),
    /// The kernel has confirmed other parameters of a fault that goes on; `detail` says which.
    FaultChanged(FaultEvent),
    /// The engine was told to remove the fault; `detail` says how long after its command the first packet
    /// met it. Missing where a lease ended it.
    FaultClearCommanded(FaultEvent),
    /// The kernel has confirmed that the fault is gone.
    FaultCleared(FaultEvent),
    /// The engine could not add or remove the fault; `detail` says why.
    FaultFailed(FaultEvent),
    /// A member of the cluster has another role than before.
    RoleChange {
        /// The member's name.
        member: String,
        /// Its role from here on.
        role: String,
    },
    /// What became of a fault on another machine that was meant for the same time. The instant was converted from the
    /// clock there; whoever asked for the run says so, and events that are later may stand before it.
    RemoteFault(RemoteFaultEvent),
    /// A stop condition of the run held: its faults are cleared from here on, and none comes any more.
    StopConditionHeld {
        /// The condition as it was asked for.
        condition: String,
        /// What was measured, and since when.
        reason: String,
    },
    /// The run ended before its time.
    RunInterrupted {
        /// Who or what ended it.
        reason: String,
    },
}

/// A fault in an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FaultEvent {
    /// The engine's name for the fault.
    pub fault: String,
    /// The resolved target.
    pub target: String,
    /// What else is to be said, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A fault on another machine in an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemoteFaultEvent {
    /// The machine, as it was named.
    pub host: String,
    /// The target's full name there.
    pub target: String,
    /// The fault's id there; empty where there was none.
    pub fault: String,
    /// What became of it.
    pub state: RemoteFaultState,
    /// By how much the instant can be wrong at most, in nanoseconds.
    pub uncertainty_ns: u64,
    /// What else is to be said, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What can become of a fault on another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RemoteFaultState {
    /// It was to begin at this instant.
    Commanded,
    /// The kernel there has confirmed it.
    Effective,
    /// It holds no more.
    Cleared,
    /// It was not applied; `detail` says why.
    Failed,
}

/// A line that holds no event.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: no event: {source}")]
pub struct EventError {
    /// Counted from 1.
    pub line: usize,
    /// What the JSON reader found.
    pub source: serde_json::Error,
}

impl Event {
    /// The event as a line of `events.jsonl`, without line end.
    ///
    /// # Errors
    /// None that is known: all fields can be written as JSON.
    pub fn to_json_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// Reads `events.jsonl`; empty lines are skipped.
///
/// # Errors
/// The first line that holds no event, as the last one of a daemon that was killed may.
pub fn parse_json_lines(text: &str) -> Result<Vec<Event>, EventError> {
    let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty());
    lines
        .map(|(line, text)| serde_json::from_str(text).map_err(|source| EventError { line, source }))
        .collect()
}

/// A member that came to lead while a run went on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeaderChange {
    /// When it was seen, in seconds since the start of the measured time. Roles are asked for twice a second.
    pub t_s: f64,
    /// The member's name.
    pub member: String,
}

impl LeaderChange {
    /// All of them, in the order of the events.
    #[must_use]
    pub fn from_events(events: &[Event]) -> Vec<Self> {
        let change = |event: &Event| match &event.kind {
            EventKind::RoleChange { member, role } if role == "leader" => {
                Some(Self { t_s: event.t_s, member: member.clone() })
            }
            _ => None,
        };
        events.iter().filter_map(change).collect()
    }
}

/// When the faults of a run held, in seconds since the start of the measured time.
///
/// With several faults it is the hull: from the first that began to the last that ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FaultWindow {
    /// The engine was told to add the first fault.
    pub commanded_s: f64,
    /// The kernel confirmed the first fault; none if none became effective.
    pub effective_s: Option<f64>,
    /// The engine was told to remove the last fault; none if nobody said so.
    pub clear_commanded_s: Option<f64>,
    /// The kernel confirmed that the last fault is gone; none while one is left.
    pub cleared_s: Option<f64>,
}

impl FaultWindow {
    /// The window that the events tell of; none if no fault was commanded.
    #[must_use]
    pub fn from_events(events: &[Event]) -> Option<Self> {
        let mut window: Option<Self> = None;
        let mut held: Vec<&str> = Vec::new();
        for event in events {
            match &event.kind {
                EventKind::FaultCommanded(_) => {
                    window.get_or_insert(Self::commanded_at(event.t_s));
                }
                EventKind::FaultEffective(fault) => {
                    held.push(&fault.fault);
                    if let Some(window) = &mut window {
                        window.effective_s.get_or_insert(event.t_s);
                        window.cleared_s = None;
                    }
                }
                EventKind::FaultClearCommanded(_) => {
                    if let Some(window) = &mut window {
                        window.clear_commanded_s = Some(event.t_s);
                    }
                }
                EventKind::FaultCleared(fault) => {
                    held.retain(|held| *held != fault.fault);
                    if let Some(window) = window.as_mut().filter(|_| held.is_empty()) {
                        window.cleared_s = Some(event.t_s);
                    }
                }
                EventKind::Phase { .. }
                | EventKind::FaultChanged(_)
                | EventKind::FaultFailed(_)
                | EventKind::RoleChange { .. }
                | EventKind::RemoteFault(_)
                | EventKind::StopConditionHeld { .. }
                | EventKind::RunInterrupted { .. } => {}
            }
        }
        window
    }

    const fn commanded_at(t_s: f64) -> Self {
        Self { commanded_s: t_s, effective_s: None, clear_commanded_s: None, cleared_s: None }
    }

    /// From the first command to the kernel's confirmation, in seconds.
    #[must_use]
    pub fn time_to_effect_s(&self) -> Option<f64> {
        Some(self.effective_s? - self.commanded_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(t_s: f64, kind: EventKind) -> Event {
        let wall_clock = "2026-03-04T05:06:07.000000008Z".parse().unwrap();
        Event { monotonic_ns: 123_456_789_012, wall_clock, t_s, kind }
    }

    fn fault(name: &str) -> FaultEvent {
        FaultEvent { fault: name.into(), target: "etcd2".into(), detail: None }
    }

    #[test]
    fn a_line_is_flat_json_that_is_read_back() {
        let commanded = event(10.0, EventKind::FaultCommanded(fault("f1")));
        let line = commanded.to_json_line().unwrap();
        assert_eq!(
            line,
            r#"{"monotonic_ns":123456789012,"wall_clock":"2026-03-04T05:06:07.000000008Z","t_s":10.0,"kind":"fault_commanded","fault":"f1","target":"etcd2"}"#
        );
        let phase = event(-5.0, EventKind::Phase { phase: Phase::WarmUp });
        let interrupted = event(3.5, EventKind::RunInterrupted { reason: "Ctrl-C".into() });
        let (condition, reason) = ("errors>5".into(), "there were 6 errors".into());
        let held = event(12.0, EventKind::StopConditionHeld { condition, reason });
        let events = vec![commanded, phase, held, interrupted];
        let lines: String = events.iter().map(|event| event.to_json_line().unwrap() + "\n").collect();
        assert_eq!(parse_json_lines(&lines).unwrap(), events);
    }

    #[test]
    fn a_broken_line_is_named() {
        let good = event(0.0, EventKind::Phase { phase: Phase::Baseline }).to_json_line().unwrap();
        let error = parse_json_lines(&format!("{good}\n\n{{\"monotonic_ns\":1")).unwrap_err();
        assert!(error.to_string().starts_with("line 3: no event: "), "{error}");
    }

    #[test]
    fn the_window_spans_from_the_first_command_to_the_last_clear() {
        let events = [
            event(10.0, EventKind::FaultCommanded(fault("f1"))),
            event(10.25, EventKind::FaultEffective(fault("f1"))),
            event(12.0, EventKind::FaultCommanded(fault("f2"))),
            event(12.5, EventKind::FaultEffective(fault("f2"))),
            event(15.0, EventKind::FaultCleared(fault("f1"))),
            event(20.0, EventKind::FaultClearCommanded(fault("f2"))),
            event(20.5, EventKind::FaultCleared(fault("f2"))),
        ];
        let window = FaultWindow::from_events(&events).unwrap();
        assert_eq!((window.commanded_s, window.effective_s), (10.0, Some(10.25)));
        assert_eq!((window.clear_commanded_s, window.cleared_s), (Some(20.0), Some(20.5)));
        assert_eq!(window.time_to_effect_s(), Some(0.25));
        assert_eq!(FaultWindow::from_events(&events[..6]).unwrap().cleared_s, None, "f2 still holds");
        assert_eq!(FaultWindow::from_events(&[]), None);
    }

    #[test]
    fn only_who_comes_to_lead_is_a_change_of_leader() {
        let role = |t_s, member: &str, role: &str| {
            event(t_s, EventKind::RoleChange { member: member.into(), role: role.into() })
        };
        let events = [role(11.0, "etcd0", "follower"), role(11.0, "etcd2", "leader")];
        assert_eq!(LeaderChange::from_events(&events), [LeaderChange { t_s: 11.0, member: "etcd2".into() }]);
    }

    #[test]
    fn a_fault_that_failed_has_no_time_of_effect() {
        let events = [
            event(10.0, EventKind::FaultCommanded(fault("f1"))),
            event(10.1, EventKind::FaultFailed(fault("f1"))),
        ];
        let window = FaultWindow::from_events(&events).unwrap();
        assert_eq!((window.effective_s, window.cleared_s, window.time_to_effect_s()), (None, None, None));
    }
}
