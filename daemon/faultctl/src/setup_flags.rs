//! What runs on which cluster under which fault: the flags that are the same wherever runs are asked for.

use std::time::Duration;

use clap::{Args, ValueEnum};
use faultd_api::{
    run::{
        KeyDistribution, RunRequest, default_clients, default_keys, default_schedule, default_timeout_ns,
        default_value_bytes, default_via, default_warm_up_ns,
    },
    units::{duration_text, nanoseconds, parse_duration, share_text},
};
use faultd_results::folder::Label;

use crate::{
    cluster_flags::ClusterFlags,
    command_error::CommandError,
    fault_flags::FaultFlags,
    flag_values::{parse_arrivals, parse_count, parse_duration_or_zero, parse_setting, parse_word},
    stop_flags::StopFlags,
};

/// Cluster, target, fault and load.
#[derive(Debug, Args)]
pub(crate) struct SetupFlags {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// What is made slow or lossy: leader, follower, follower:serving (it serves the clients, see --via),
    /// follower:other; where members have no roles member:serving or member:other; or a member's name; nothing for a
    /// baseline.
    #[arg(long)]
    pub(crate) target: Option<String>,
    /// Only packets of this network, for clusters in containers [default: of all their networks].
    #[arg(long, value_name = "NAME", requires = "target")]
    network: Option<String>,
    #[command(flatten)]
    pub(crate) fault: FaultFlags,
    /// Names the run's folder [default: made of target and fault].
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// Clients, each with one operation under way at a time [default: 10].
    #[arg(long, value_parser = parse_count, allow_hyphen_values = true)]
    clients: Option<u64>,
    /// Which member serves the clients: leader, follower, member (the first one), a member's name, or all
    /// [default: all].
    #[arg(long)]
    via: Option<String>,
    /// What the clients do; mix is half of each.
    #[arg(long, value_enum, default_value = "put")]
    workload: Workload,
    /// Size of a value, in bytes [default: 100].
    #[arg(long, value_parser = parse_count, allow_hyphen_values = true)]
    value_size: Option<u64>,
    /// Number of keys [default: 10000].
    #[arg(long, value_parser = parse_count, allow_hyphen_values = true)]
    keys: Option<u64>,
    /// Load before the measured time [default: 3s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_zero, allow_hyphen_values = true)]
    warm_up: Option<Duration>,
    /// An operation that takes longer is counted as a time-out [default: 5s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    timeout: Option<Duration>,
    /// Open loop: operations that become due a second, over all clients; latencies count from that moment
    /// [default: closed loop].
    #[arg(long, value_name = "PER SECOND", value_parser = parse_arrivals, conflicts_with = "think_time", allow_hyphen_values = true)]
    arrivals: Option<f64>,
    /// What a client waits between its operations [default: nothing].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_zero, allow_hyphen_values = true)]
    think_time: Option<Duration>,
    /// Time over which the clients begin one after the other [default: all at once].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_zero, allow_hyphen_values = true)]
    client_ramp: Option<Duration>,
    /// How operations are spread over the keys: uniform, zipfian or sequential.
    #[arg(long, value_parser = parse_word::<KeyDistribution>, default_value = "uniform")]
    key_distribution: KeyDistribution,
    /// Leaves what the run wrote in the cluster.
    #[arg(long)]
    keep_data: bool,
    #[command(flatten)]
    pub(crate) stop: StopFlags,
    /// A setting of the cluster's driver; may be given several times.
    #[arg(long = "driver-set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    driver_settings: Vec<(String, String)>,
}

/// What the clients do.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Workload {
    /// Only writes.
    Put,
    /// Only reads.
    Get,
    /// As many reads as writes.
    Mix,
}

impl Workload {
    fn read_ratio(self) -> f64 {
        match self {
            Self::Put => 0.0,
            Self::Get => 1.0,
            Self::Mix => 0.5,
        }
    }
}

impl SetupFlags {
    /// Load before the measured time.
    pub(crate) fn warm_up(&self) -> Duration {
        self.warm_up.unwrap_or(Duration::from_nanos(default_warm_up_ns()))
    }

    /// A run from begin to end under the fault; what is to be otherwise is changed by the caller.
    ///
    /// # Errors
    /// [`CommandError::Usage`] with what does not fit together.
    pub(crate) fn request(self, duration: Duration) -> Result<RunRequest, CommandError> {
        self.check_target_and_fault()?;
        let label = self.label()?;
        let cluster = self.cluster.named()?;
        Ok(self.stop.add_to(RunRequest {
            cluster: cluster.name,
            containers: cluster.containers,
            label: label.as_str().to_owned(),
            target: self.target,
            network: self.network,
            delay_ns: self.fault.delay_ns(),
            loss_ratio: self.fault.loss_ratio(),
            shape: self.fault.shape()?,
            direction: self.fault.direction(),
            backend: self.fault.backend.unwrap_or_default(),
            duration_ns: nanoseconds(duration),
            warm_up_ns: self.warm_up.map_or_else(default_warm_up_ns, nanoseconds),
            inject_at_ns: None,
            hold_for_ns: None,
            command: None,
            clients: self.clients.unwrap_or_else(default_clients),
            via: self.via.unwrap_or_else(default_via),
            read_ratio: self.workload.read_ratio(),
            value_bytes: self.value_size.unwrap_or_else(default_value_bytes),
            keys: self.keys.unwrap_or_else(default_keys),
            operation_timeout_ns: self.timeout.map_or_else(default_timeout_ns, nanoseconds),
            seed: self.fault.seed,
            schedule: default_schedule(),
            arrivals_per_second: self.arrivals,
            think_time_ns: self.think_time.map_or(0, nanoseconds),
            client_ramp_ns: self.client_ramp.map_or(0, nanoseconds),
            key_distribution: self.key_distribution,
            schedule_settings: [].into(),
            driver_settings: self.driver_settings.into_iter().collect(),
            keep_data: self.keep_data,
            detach: false,
            stop_if: Vec::new(),
            stop_at_once: false,
            prometheus: None,
        }))
    }

    fn label(&self) -> Result<Label, CommandError> {
        let label = self.label.clone().unwrap_or_else(|| self.default_label());
        checked_label(&label)
    }

    fn check_target_and_fault(&self) -> Result<(), CommandError> {
        let usage = |text: &str| Err(CommandError::Usage(text.to_owned()));
        match (&self.target, self.fault.has_fault()) {
            (Some(_), false) => usage(
                "--target without a fault: give --delay or --loss, or leave --target out for a baseline",
            ),
            (None, true) => usage("a fault without --target: name leader, follower or a member"),
            _ => Ok(()),
        }
    }

    /// `baseline`, or target and fault: `leader_delay100ms_loss20%` without what no label may contain.
    fn default_label(&self) -> String {
        let Some(target) = &self.target else {
            return "baseline".to_owned();
        };
        let delay = self.fault.delay_ns().map(|delay| format!("_delay{}", duration_text(delay)));
        let loss = self.fault.loss_ratio().map(|loss| format!("_loss{}", share_text(loss)));
        let pause = self.fault.pause_ns().map(|pause| format!("_pause{}", duration_text(pause)));
        let cpus = self.fault.cpus().map(|cpus| format!("_cpus{cpus}"));
        let known = [&delay, &loss, &pause, &cpus];
        let other = known.iter().all(|part| part.is_none()).then(|| "_other".to_owned());
        let parts = [delay, loss, pause, cpus, other].into_iter().flatten().collect::<String>();
        let label = format!("{target}{parts}");
        label.replace(['/', ':'], "-").replace('%', "")
    }
}

/// A label, refused in the words of its flag.
///
/// # Errors
/// [`CommandError::Usage`] with what no label may be.
pub(crate) fn checked_label(label: &str) -> Result<Label, CommandError> {
    Label::new(label).map_err(|error| CommandError::Usage(format!("--label: {error}")))
}
