//! The dialogue with the schedule of a run: what it is told, what it answers, and what it has found out. All
//! of it is written down as it happens.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use faultd_plugin_host::{
    ClusterMember, Counters, Decision, Latency, MemberRole, Needs, Observation, PluginError, Role, Schedule,
    Second,
};
use faultd_results::{
    summary::Finding,
    timeseries::{LatencyMilliseconds, Row},
};
use tokio::sync::watch;

use super::transcript::{Exchange, Transcript};

/// The seconds that have ended and that the schedule has not been told yet. A std mutex: held for one access.
#[derive(Clone, Default)]
pub struct EndedSeconds {
    seconds: Arc<Mutex<Vec<Second>>>,
}

impl EndedSeconds {
    /// Adds a second of the measured part; seconds of the warm-up are no business of schedules.
    pub fn add(&self, row: &Row) {
        let Ok(number) = u32::try_from(row.t_s) else { return };
        let latency = row.latency.and_then(latency);
        let second = Second { number, operations: row.ops, failures: row.errors, latency };
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).push(second);
    }

    fn take(&self) -> Vec<Second> {
        std::mem::take(&mut *self.seconds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One schedule, spoken with.
pub struct Dialogue<'a> {
    schedule: &'a mut Schedule,
    /// Names of the members, and whether each serves clients.
    members: Vec<(String, bool)>,
    roles: watch::Receiver<Vec<MemberRole>>,
    seconds: EndedSeconds,
    transcript: Transcript<File>,
    findings: Vec<Finding>,
}

impl<'a> Dialogue<'a> {
    /// Nothing has been said yet but the plan.
    pub fn new(
        schedule: &'a mut Schedule,
        members: Vec<(String, bool)>,
        roles: watch::Receiver<Vec<MemberRole>>,
        seconds: EndedSeconds,
        transcript: Transcript<File>,
    ) -> Self {
        Self { schedule, members, roles, seconds, transcript, findings: Vec::new() }
    }

    /// What the schedule wants to be told.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.schedule.needs()
    }

    /// Waits until the role of a member changes.
    pub async fn role_change(&mut self) {
        if self.roles.changed().await.is_err() {
            // Nobody watches roles any more: none will change.
            std::future::pending::<()>().await;
        }
    }

    /// Tells the schedule what is, and takes its answer.
    ///
    /// # Errors
    /// The plugin broke its limits.
    pub async fn decide(&mut self, now: Duration, counters: Vec<Counters>) -> Result<Decision, PluginError> {
        let ended = self.seconds.take();
        let seconds = if self.needs().seconds { ended } else { Vec::new() };
        let members = self.members();
        let observation = Observation { now, members, seconds, counters };
        let decision = self.schedule.decide(observation.clone()).await?;
        self.transcript.exchange(&Exchange { observation, decision: decision.clone() });
        Ok(decision)
    }

    /// Keeps what the schedule knows now; the host has checked that it is little, short and finite.
    pub fn keep_findings(&mut self, decision: &Decision) {
        if !decision.findings.is_empty() {
            self.findings = decision.findings.iter().map(shown).collect();
        }
    }

    /// What was found out, and what could not be written down.
    #[must_use]
    pub fn end(self) -> (Vec<Finding>, Option<String>) {
        (self.findings, self.transcript.failure())
    }

    fn members(&mut self) -> Vec<ClusterMember> {
        let roles = self.roles.borrow_and_update();
        let role_of = |name: &str| roles.iter().find(|role| role.member == *name).map(|role| role.role);
        let member = |(name, serves_clients): &(String, bool)| ClusterMember {
            name: name.clone(),
            role: role_of(name).unwrap_or(Role::Unknown),
            serves_clients: *serves_clients,
        };
        self.members.iter().map(member).collect()
    }
}

/// A finding for people, on whose screens control characters do harm.
fn shown(found: &faultd_plugin_host::Finding) -> Finding {
    let faultd_plugin_host::Finding { name, value, low, high, unit } = found;
    let shown = |text: &str| text.replace(char::is_control, " ");
    Finding { name: shown(name), value: *value, low: *low, high: *high, unit: shown(unit) }
}

/// Nothing of a command that does not print all of it.
fn latency(row: LatencyMilliseconds) -> Option<Latency> {
    let LatencyMilliseconds { mean, p50, p95, p99, p999, max } = row;
    Some(Latency {
        mean: duration(mean?),
        p50: duration(p50?),
        p95: duration(p95?),
        p99: duration(p99?),
        p999: duration(p999?),
        max: duration(max?),
    })
}

fn duration(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_finding_are_not_shown() {
        let (name, unit) = ("a\nb".into(), "ms".into());
        let found = faultd_plugin_host::Finding { name, value: 0.5, low: 0.0, high: 1.0, unit };
        assert_eq!(shown(&found).name, "a b");
    }

    #[test]
    fn only_measured_seconds_are_told_and_each_once() {
        let seconds = EndedSeconds::default();
        let row = |t_s| Row {
            t_s,
            phase: faultd_results::phase::Phase::Baseline,
            ops: 5,
            errors: 1,
            latency: None,
            stalled: false,
        };
        [-1, 0, 1].iter().for_each(|t_s| seconds.add(&row(*t_s)));
        let numbers: Vec<u32> = seconds.take().iter().map(|second| second.number).collect();
        assert_eq!(numbers, [0, 1]);
        assert!(seconds.take().is_empty());
    }
}
