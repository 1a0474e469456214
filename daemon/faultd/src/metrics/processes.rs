//! Faults on processes: what is asked for as gauges, what was measured as counters.

use std::time::Duration;

use faultd_api::fault::{FaultStatus, ProcessCounts};
use prometheus::{CounterVec, GaugeVec, IntCounterVec, Opts, Registry};

use super::{counters, gauges};

const LABELS: [&str; 2] = ["fault", "target"];

pub(super) struct ProcessFamilies {
    pause: GaugeVec,
    cpus: GaugeVec,
    pauses: IntCounterVec,
    paused: CounterVec,
    unconfirmed: IntCounterVec,
    periods: IntCounterVec,
    throttled_periods: IntCounterVec,
    throttled: CounterVec,
}

impl ProcessFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name, help| gauges(registry, name, help, &["run", "fault", "target"]);
        let counters = |name, help| counters(registry, name, help, &LABELS);
        Ok(Self {
            pause: gauges(
                "faultd_fault_pause_seconds",
                "How long each pause of the target's processes is; 0 after the fault has ended.",
            )?,
            cpus: gauges(
                "faultd_fault_cpu_limit_cpus",
                "Processors that the target's processes may use together; 0 after the fault has ended.",
            )?,
            pauses: counters(
                "faultd_fault_pauses_total",
                "Pauses in which all processes of the target stood still.",
            )?,
            paused: seconds(
                registry,
                "faultd_fault_paused_seconds_total",
                "For how long all processes of the target stood still.",
            )?,
            unconfirmed: counters(
                "faultd_fault_unconfirmed_pauses_total",
                "Pauses that were ended because not all processes of the target stood still in time.",
            )?,
            periods: counters(
                "faultd_fault_cpu_periods_total",
                "Scheduling periods in which the target's processes had something to run.",
            )?,
            throttled_periods: counters(
                "faultd_fault_cpu_throttled_periods_total",
                "Scheduling periods in which the target's processes used up their share of the processors.",
            )?,
            throttled: seconds(
                registry,
                "faultd_fault_cpu_throttled_seconds_total",
                "For how long the target's processes waited for their share, over all processors.",
            )?,
        })
    }

    /// Shows only what the kind of the fault has.
    pub(super) fn show(&self, status: &FaultStatus, counts: &ProcessCounts, on: f64) {
        let run = status.run.as_deref().unwrap_or_default();
        let labels = [status.id.as_str(), status.target.as_str()];
        let asked = [run, status.id.as_str(), status.target.as_str()];
        if let Some(pause_ns) = status.shape.pause_ns {
            self.pause.with_label_values(&asked).set(in_seconds(pause_ns) * on);
            raise(&self.pauses, labels, counts.pauses);
            raise(&self.unconfirmed, labels, counts.unconfirmed_pauses);
            raise_seconds(&self.paused, labels, counts.paused_ns);
        }
        if let Some(cpus) = status.shape.cpus {
            self.cpus.with_label_values(&asked).set(cpus * on);
            raise(&self.periods, labels, counts.periods);
            raise(&self.throttled_periods, labels, counts.throttled_periods);
            raise_seconds(&self.throttled, labels, counts.throttled_ns);
        }
    }

    /// Drops the series of a fault, of which most have none.
    pub(super) fn remove(&self, status: &FaultStatus) {
        let run = status.run.as_deref().unwrap_or_default();
        let labels = [status.id.as_str(), status.target.as_str()];
        for gauge in [&self.pause, &self.cpus] {
            let _ = gauge.remove_label_values(&[run, labels[0], labels[1]]);
        }
        for counter in [&self.pauses, &self.unconfirmed, &self.periods, &self.throttled_periods] {
            let _ = counter.remove_label_values(&labels);
        }
        for counter in [&self.paused, &self.throttled] {
            let _ = counter.remove_label_values(&labels);
        }
    }
}

fn seconds(registry: &Registry, name: &str, help: &str) -> Result<CounterVec, prometheus::Error> {
    let family = CounterVec::new(Opts::new(name, help), &LABELS)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn raise(family: &IntCounterVec, labels: [&str; 2], to: u64) {
    let counter = family.with_label_values(&labels);
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn raise_seconds(family: &CounterVec, labels: [&str; 2], to_ns: u64) {
    let counter = family.with_label_values(&labels);
    // A counter that is asked to fall panics.
    counter.inc_by((in_seconds(to_ns) - counter.get()).max(0.0));
}

fn in_seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}
