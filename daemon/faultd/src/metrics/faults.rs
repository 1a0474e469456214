//! The state of faults as gauges, and their packets as counters.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use faultd_api::fault::FaultStatus;
use prometheus::{GaugeVec, IntCounterVec, Registry};

use super::{counters, gauges, processes::ProcessFamilies};

/// A fault that has ended is shown as inactive for this long, so that state timelines close.
const KEPT_AFTER_END: Duration = Duration::from_secs(600);

pub(super) struct FaultFamilies {
    active: GaugeVec,
    delay: GaugeVec,
    loss: GaugeVec,
    lease: GaugeVec,
    packets: IntCounterVec,
    processes: ProcessFamilies,
    peer_changes: IntCounterVec,
    follows: IntCounterVec,
    /// Last status of each fault, and when it ended. A std mutex: held while the families are set.
    known: Mutex<HashMap<String, (FaultStatus, Option<Instant>)>>,
}

impl FaultFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            active: gauges(
                registry,
                "faultd_fault_active",
                "1 while the fault holds, 0 after it has ended; run is empty for a fault outside of a run, direction for one on processes.",
                &["run", "fault", "kind", "target", "direction"],
            )?,
            delay: gauges(
                registry,
                "faultd_fault_delay_seconds",
                "One-way delay that the fault adds to each packet; 0 after it has ended.",
                &["run", "fault", "target"],
            )?,
            loss: gauges(
                registry,
                "faultd_fault_loss_ratio",
                "Share of packets that the fault drops, 0 to 1; 0 after it has ended.",
                &["run", "fault", "target"],
            )?,
            lease: gauges(
                registry,
                "faultd_fault_lease_remaining_seconds",
                "Time until the fault ends by itself.",
                &["fault", "target"],
            )?,
            packets: counters(
                registry,
                "faultd_rule_packets_total",
                "Packets of a fault by what became of them.",
                &["fault", "target", "direction", "verdict"],
            )?,
            processes: ProcessFamilies::register(registry)?,
            peer_changes: counters(
                registry,
                "faultd_peer_changes_total",
                "Times that a fault followed its named peers to other addresses.",
                &["target"],
            )?,
            follows: counters(
                registry,
                "faultd_target_follows_total",
                "Times that a fault followed its container to other interfaces.",
                &["target"],
            )?,
            known: Mutex::new(HashMap::new()),
        })
    }

    /// Shows faults that hold. The list may be older than the end of one of them, which stands.
    pub(super) fn set(&self, faults: &[FaultStatus]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for status in faults {
            if known.get(&status.id).is_some_and(|(_, ended)| ended.is_some()) {
                continue;
            }
            self.show(status, !matches!(status.state.as_str(), "gone" | "away"));
            let remaining =
                status.remaining_ns.map(|remaining| Duration::from_nanos(remaining).as_secs_f64());
            if let Some(remaining) = remaining {
                self.lease.with_label_values(&[status.id.as_str(), status.target.as_str()]).set(remaining);
            }
            known.insert(status.id.clone(), (status.clone(), None));
        }
    }

    pub(super) fn ended(&self, status: &FaultStatus) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.show(status, false);
        let _ = self.lease.remove_label_values(&[status.id.as_str(), status.target.as_str()]);
        known.insert(status.id.clone(), (status.clone(), Some(Instant::now())));
    }

    /// Drops the series of faults that ended long ago, so that the page does not grow for ever.
    pub(super) fn forget_old(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = Vec::new();
        known.retain(|_, (status, ended)| {
            let old = ended.is_some_and(|ended| ended.elapsed() > KEPT_AFTER_END);
            if old {
                self.remove(status);
                forgotten.push(status.target.clone());
            }
            !old
        });
        for target in forgotten {
            if !known.values().any(|(status, _)| status.target == target) {
                // One that never moved, nor its peers, has no such series.
                let _ = self.peer_changes.remove_label_values(&[target.as_str()]);
                let _ = self.follows.remove_label_values(&[target.as_str()]);
            }
        }
    }

    pub(super) fn peers_moved(&self, target: &str) {
        self.peer_changes.with_label_values(&[target]).inc();
    }

    pub(super) fn target_followed(&self, target: &str) {
        self.follows.with_label_values(&[target]).inc();
    }

    fn show(&self, status: &FaultStatus, active: bool) {
        let run = status.run.as_deref().unwrap_or_default();
        let (id, target) = (status.id.as_str(), status.target.as_str());
        let direction = status.direction_text();
        let on = if active { 1.0 } else { 0.0 };
        self.active.with_label_values(&[run, id, status.kind.as_str(), target, direction]).set(on);
        if let Some(counts) = &status.processes {
            self.processes.show(status, counts, on);
            return;
        }
        let delay = status.delay_ns.map_or(0.0, |delay| Duration::from_nanos(delay).as_secs_f64());
        self.delay.with_label_values(&[run, id, target]).set(delay * on);
        self.loss.with_label_values(&[run, id, target]).set(status.loss_ratio.unwrap_or_default() * on);
        for (verdict, count) in verdicts(status) {
            let counter = self.packets.with_label_values(&[id, target, direction, verdict]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    fn remove(&self, status: &FaultStatus) {
        let run = status.run.as_deref().unwrap_or_default();
        let (id, target) = (status.id.as_str(), status.target.as_str());
        let direction = status.direction_text();
        let _ = self.active.remove_label_values(&[run, id, status.kind.as_str(), target, direction]);
        self.processes.remove(status);
        let _ = self.delay.remove_label_values(&[run, id, target]);
        let _ = self.loss.remove_label_values(&[run, id, target]);
        for (verdict, _) in verdicts(status) {
            let _ = self.packets.remove_label_values(&[id, target, direction, verdict]);
        }
    }
}

fn verdicts(status: &FaultStatus) -> [(&'static str, u64); 10] {
    let packets = &status.packets;
    [
        ("seen", packets.seen),
        ("matched", packets.matched),
        ("delayed", packets.delayed),
        ("dropped", packets.dropped),
        ("overflowed", packets.overflowed),
        ("duplicated", packets.duplicated),
        ("corrupted", packets.corrupted),
        ("reordered", packets.reordered),
        ("expired", packets.expired),
        ("unintended", packets.unintended),
    ]
}
