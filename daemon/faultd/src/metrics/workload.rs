//! The workload of runs: operations, latency, phase.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use faultd_api::stop_condition::StopCondition;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Registry};

use super::{counters, gauges};

/// The series of a run that has ended stay for this long, so that the last scrapes see its end.
const KEPT_AFTER_END: Duration = Duration::from_secs(600);
/// 0.5 ms to 60 s: from a healthy read to the longest time-out that makes sense.
const LATENCY_BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// The kind of the operations of a load command.
const OF_COMMAND: &str = "command";
const PHASES: [&str; 6] = ["prepare", "warm-up", "baseline", "injection", "recovery", "done"];
const RESULTS: [&str; 3] = ["ok", "error", "timeout"];

#[derive(Clone)]
pub(super) struct WorkloadFamilies {
    info: GaugeVec,
    phase: GaugeVec,
    clients: GaugeVec,
    operations: IntCounterVec,
    duration: HistogramVec,
    stopped: IntCounterVec,
    /// Labels of each run's info series, and when it ended.
    ended: Arc<Mutex<HashMap<String, (RunLabels, Instant)>>>,
}

/// What names a run in `faultd_run_info`.
#[derive(Debug, Clone, Default)]
struct RunLabels {
    label: String,
    cluster: String,
    driver: String,
    /// Kinds of operations that have a series.
    operations: Arc<Mutex<BTreeSet<String>>>,
}

impl WorkloadFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "faultd_workload_operation_duration_seconds",
                "Time of an operation as its client saw it.",
            )
            .buckets(LATENCY_BUCKETS.to_vec()),
            &["run", "operation"],
        )?;
        registry.register(Box::new(duration.clone()))?;
        let stopped = counters(
            registry,
            "faultd_run_stopped_total",
            "Runs whose faults were cleared because a stop condition held, by the word it begins with.",
            &["condition"],
        )?;
        for word in StopCondition::WORDS {
            stopped.with_label_values(&[word]);
        }
        Ok(Self {
            info: gauges(
                registry,
                "faultd_run_info",
                "What a run is; always 1.",
                &["run", "label", "cluster", "driver"],
            )?,
            phase: gauges(
                registry,
                "faultd_run_phase",
                "1 for the phase that a run is in, 0 for the others.",
                &["run", "phase"],
            )?,
            clients: gauges(registry, "faultd_workload_clients", "Clients of a run.", &["run"])?,
            operations: counters(
                registry,
                "faultd_workload_operations_total",
                "Operations of a run that ended, by result.",
                &["run", "operation", "result"],
            )?,
            duration,
            stopped,
            ended: Arc::default(),
        })
    }

    pub(super) fn run(&self, id: &str) -> RunMetrics {
        RunMetrics { id: id.to_owned(), families: self.clone(), labels: RunLabels::default() }
    }

    pub(super) fn forget_old(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|id, (labels, since)| {
            let old = since.elapsed() > KEPT_AFTER_END;
            if old {
                self.remove(id, labels);
            }
            !old
        });
    }

    fn remove(&self, id: &str, labels: &RunLabels) {
        let _ = self.info.remove_label_values(&[id, &labels.label, &labels.cluster, &labels.driver]);
        let _ = self.clients.remove_label_values(&[id]);
        for phase in PHASES {
            let _ = self.phase.remove_label_values(&[id, phase]);
        }
        for operation in labels.operations.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = self.duration.remove_label_values(&[id, operation]);
            for result in RESULTS {
                let _ = self.operations.remove_label_values(&[id, operation, result]);
            }
        }
    }
}

/// The series of one run.
#[derive(Clone)]
pub struct RunMetrics {
    id: String,
    families: WorkloadFamilies,
    labels: RunLabels,
}

impl RunMetrics {
    /// Shows that the run exists, with every series at zero.
    pub fn begin(&mut self, label: &str, cluster: &str, driver: &str, clients: usize) {
        self.labels = RunLabels {
            label: label.to_owned(),
            cluster: cluster.to_owned(),
            driver: driver.to_owned(),
            operations: Arc::default(),
        };
        self.families.info.with_label_values(&[self.id.as_str(), label, cluster, driver]).set(1.0);
        let clients = u32::try_from(clients).map_or(f64::MAX, f64::from);
        self.families.clients.with_label_values(&[&self.id]).set(clients);
        self.phase("prepare");
    }

    /// Shows a kind of operation, with every series of it at zero. To be called once for a kind that a client
    /// may do; what a client does without it has no series that can be removed.
    pub fn operation_kind(&self, operation: &str) {
        let mut known = self.labels.operations.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.insert(operation.to_owned()) {
            return;
        }
        self.families.duration.with_label_values(&[self.id.as_str(), operation]);
        for result in RESULTS {
            self.families.operations.with_label_values(&[self.id.as_str(), operation, result]);
        }
    }

    /// Shows the phase that the run is in.
    pub fn phase(&self, now: &str) {
        for phase in PHASES {
            let value = if phase == now { 1.0 } else { 0.0 };
            self.families.phase.with_label_values(&[self.id.as_str(), phase]).set(value);
        }
    }

    /// Counts an operation; `result` is `ok`, `error` or `timeout`.
    pub fn operation(&self, operation: &str, result: &str, latency: Duration) {
        self.families.operations.with_label_values(&[self.id.as_str(), operation, result]).inc();
        self.families
            .duration
            .with_label_values(&[self.id.as_str(), operation])
            .observe(latency.as_secs_f64());
    }

    /// Counts what a command has told of a second. How long each operation took, it does not tell.
    pub fn operations_of_command(&self, operations: u64, errors: u64) {
        self.operation_kind(OF_COMMAND);
        for (result, count) in [("ok", operations), ("error", errors)] {
            let labels = [self.id.as_str(), OF_COMMAND, result];
            self.families.operations.with_label_values(&labels).inc_by(count);
        }
    }

    /// Counts that a stop condition held, by its first word.
    pub fn stopped(&self, condition: &str) {
        self.families.stopped.with_label_values(&[condition]).inc();
    }

    /// Shows that the run has ended.
    pub fn end(&self) {
        self.phase("done");
        self.families.clients.with_label_values(&[&self.id]).set(0.0);
        let mut ended = self.families.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.insert(self.id.clone(), (self.labels.clone(), Instant::now()));
    }
}
