//! Runs: measured experiments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    fault::{Backend, Direction, FaultRequest},
    shape::FaultShape,
};

/// How the operations of a run are spread over its keys.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum KeyDistribution {
    /// Every key is as likely.
    #[default]
    Uniform,
    /// A few keys are asked for most of the time: Zipf's law with the exponent 0.99, as in YCSB, the ranks
    /// scattered over the keys.
    Zipfian,
    /// One after the other, and again from the first.
    Sequential,
}

impl KeyDistribution {
    /// The name in files and on the command line.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipfian => "zipfian",
            Self::Sequential => "sequential",
        }
    }
}

/// Containers that are the members of a cluster which somebody else has brought up.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ContainerMembers {
    /// Names of containers, or other selectors of them, as `SelectTargets` takes them.
    pub members: Vec<String>,
    /// The driver plugin that speaks to them.
    pub driver: String,
    /// The port where they serve clients.
    pub client_port: u16,
}

/// A command of the user's that produces the load of a run. Whoever asks for the run starts it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LoadCommand {
    /// Program and arguments, for the record.
    pub words: Vec<String>,
    /// The load generator whose output it prints; missing means that the words say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// A regular expression that finds the rows in its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// One experiment: what `StartRun` takes. Durations are nanoseconds.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The cluster's name.
    pub cluster: String,
    /// Its members, where they are containers; missing means a lab of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainerMembers>,
    /// The name of the run's folder.
    pub label: String,
    /// `leader`, `follower` or a member's name; nothing for a baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Of containers that are on several networks: the one whose packets are concerned; all when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// One-way delay to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ns: Option<u64>,
    /// Share of packets to drop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_ratio: Option<f64>,
    /// What the fault does beside that, and to which packets.
    #[serde(default, skip_serializing_if = "FaultShape::is_empty")]
    pub shape: FaultShape,
    /// Packets concerned.
    #[serde(default)]
    pub direction: Direction,
    /// Backend asked for.
    #[serde(default)]
    pub backend: Backend,
    /// Measured time.
    pub duration_ns: u64,
    /// Load before the measured time, to fill caches and connections.
    #[serde(default = "default_warm_up_ns")]
    pub warm_up_ns: u64,
    /// When the fault begins, from the start of the measured time; missing means from its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_at_ns: Option<u64>,
    /// For how long; missing means until the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_for_ns: Option<u64>,
    /// What produces the load instead of the driver's clients; for `StartRunOfCommand` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<LoadCommand>,
    /// Clients, each with one operation under way at a time.
    #[serde(default = "default_clients")]
    pub clients: u64,
    /// Which member serves the clients: `leader`, `follower`, `all` or a member's name.
    #[serde(default = "default_via")]
    pub via: String,
    /// Open loop: so many operations become due a second, over all clients, whether earlier ones have ended or
    /// not; latencies count from the moment that an operation was due. Missing means a closed loop: a client
    /// does its next operation when the last one has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals_per_second: Option<f64>,
    /// In a closed loop, what a client waits between its operations.
    #[serde(default)]
    pub think_time_ns: u64,
    /// Clients begin one after the other, evenly over so long a time from the beginning of the warm-up on.
    #[serde(default)]
    pub client_ramp_ns: u64,
    /// How operations are spread over the keys.
    #[serde(default)]
    pub key_distribution: KeyDistribution,
    /// Share of reads among the operations, 0 to 1.
    #[serde(default)]
    pub read_ratio: f64,
    /// Size of a value, in bytes.
    #[serde(default = "default_value_bytes")]
    pub value_bytes: u64,
    /// Number of keys.
    #[serde(default = "default_keys")]
    pub keys: u64,
    /// An operation that takes longer is counted as a time-out.
    #[serde(default = "default_timeout_ns")]
    pub operation_timeout_ns: u64,
    /// Seed of everything random; chosen and recorded when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The schedule plugin.
    #[serde(default = "default_schedule")]
    pub schedule: String,
    /// Settings of the schedule plugin.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedule_settings: BTreeMap<String, String>,
    /// Settings of the driver plugin.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_settings: BTreeMap<String, String>,
    /// Whether the data that the run wrote stays in the cluster.
    #[serde(default)]
    pub keep_data: bool,
    /// Whether the run goes on when the connection of its caller closes.
    #[serde(default)]
    pub detach: bool,
    /// When one of these holds, the fault is cleared at once and the run is `stopped`: texts of
    /// [`crate::stop_condition::StopCondition`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_if: Vec<String>,
    /// Whether the run then ends too, instead of measuring the recovery until its planned end.
    #[serde(default)]
    pub stop_at_once: bool,
    /// Who is asked where a condition is in PromQL: a [`crate::prometheus_address::PrometheusAddress`], by default
    /// that of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<String>,
}

impl RunRequest {
    /// Its fault, on a target by its name.
    #[must_use]
    pub fn fault_on(&self, target: &str) -> FaultRequest {
        FaultRequest {
            target: target.to_owned(),
            network: self.network.clone(),
            delay_ns: self.delay_ns,
            loss_ratio: self.loss_ratio,
            shape: self.shape.clone(),
            direction: self.direction,
            backend: self.backend,
            hold_for_ns: self.hold_for_ns,
            begin_at_ns: None,
            seed: self.seed,
            detach: false,
        }
    }
}

/// Default of [`RunRequest::warm_up_ns`]: 3 s.
#[must_use]
pub fn default_warm_up_ns() -> u64 {
    3_000_000_000
}

/// Default of [`RunRequest::clients`].
#[must_use]
pub fn default_clients() -> u64 {
    10
}

/// Default of [`RunRequest::via`].
#[must_use]
pub fn default_via() -> String {
    "all".to_owned()
}

/// Default of [`RunRequest::value_bytes`].
#[must_use]
pub fn default_value_bytes() -> u64 {
    100
}

/// Default of [`RunRequest::keys`], the record count of the paper.
#[must_use]
pub fn default_keys() -> u64 {
    10_000
}

/// Default of [`RunRequest::operation_timeout_ns`]: 5 s.
#[must_use]
pub fn default_timeout_ns() -> u64 {
    5_000_000_000
}

/// Default of [`RunRequest::schedule`].
#[must_use]
pub fn default_schedule() -> String {
    "window".to_owned()
}

/// What a run is doing, once a second.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunProgress {
    /// `prepare`, `warm-up`, `baseline`, `injection` or `recovery`.
    pub phase: String,
    /// Seconds since the start of the measured time; negative in the warm-up.
    pub t_s: i64,
    /// Length of the measured time, in seconds.
    pub of_s: u64,
    /// Operations completed in the last second.
    pub ops: u64,
    /// Errors and time-outs in the last second.
    pub errors: u64,
    /// Median latency of the last second, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The faults that hold, for people: `delay 100ms on etcd/etcd1 (leader)`.
    pub faults: Vec<String>,
    /// When the measured time begins, in nanoseconds on the monotonic clock of the daemon's host; missing while the run
    /// is prepared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_ns: Option<u64>,
}

/// What became of a fault that the caller of a run put on another machine for the same time: what `Note` takes, and
/// `events.jsonl` keeps.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct RemoteFaultNote {
    /// When, in nanoseconds on the monotonic clock of the daemon's host.
    pub monotonic_ns: u64,
    /// By how much that can be wrong at most.
    pub uncertainty_ns: u64,
    /// The machine.
    pub host: String,
    /// The target's full name there.
    pub target: String,
    /// The fault's id there; empty where there was none.
    #[serde(default)]
    pub fault: String,
    /// `commanded`, `effective`, `cleared` or `failed`.
    pub state: String,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A run that goes on, or one of those that ended last.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunStatus {
    /// Its id: `r1`, `r2` ...
    pub id: String,
    /// The cluster that it measures.
    pub cluster: String,
    /// The label in the name of its folder.
    pub label: String,
    /// `running`, `done`, `interrupted` or `failed`.
    pub status: String,
    /// Name of the folder inside of the outputs folder.
    pub folder: String,
    /// When it was begun: `2026-03-04T05:06:07Z`.
    pub begun_at: String,
    /// The number of the user who has begun it.
    pub user: u32,
    /// Whether it goes on without its caller.
    pub detached: bool,
    /// What it does; missing before its first second and when it has ended.
    #[serde(default)]
    pub progress: Option<RunProgress>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunResult {
    /// The run's id.
    pub id: String,
    /// `done`, `stopped` by one of its conditions, `interrupted` or `failed`.
    pub status: String,
    /// Name of the folder inside of the outputs folder.
    pub folder: String,
    /// Why it failed, or was stopped or interrupted.
    pub error: Option<String>,
}
