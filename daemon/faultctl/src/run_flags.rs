//! The flags of `faultctl run`, and what is checked before anything is sent.

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
    command_error::CommandError,
    fault_flags::FaultFlags,
    flag_values::{parse_arrivals, parse_count, parse_duration_or_zero, parse_setting, parse_word},
};

/// One experiment.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The cluster under test, as `lab status` shows it.
    #[arg(long)]
    cluster: String,
    /// What is made slow or lossy: leader, follower or a member's name; nothing for a baseline.
    #[arg(long)]
    target: Option<String>,
    #[command(flatten)]
    fault: FaultFlags,
    /// Measured time.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s", allow_hyphen_values = true)]
    duration: Duration,
    /// When the fault begins [default: at the start of the measured time].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_zero, allow_hyphen_values = true)]
    inject_at: Option<Duration>,
    /// How long the fault holds [default: until the end].
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    hold_for: Option<Duration>,
    /// Names the run's folder [default: made of target and fault].
    #[arg(long)]
    label: Option<String>,
    /// Clients, each with one operation under way at a time [default: 10].
    #[arg(long, value_parser = parse_count, allow_hyphen_values = true)]
    clients: Option<u64>,
    /// Which member serves the clients: leader, follower, all or a member's name [default: all].
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
    /// The plugin that says when faults hold [default: window].
    #[arg(long)]
    schedule: Option<String>,
    /// A setting of the schedule; may be given several times.
    #[arg(long = "schedule-set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    schedule_settings: Vec<(String, String)>,
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

impl RunArguments {
    /// Checks what can be checked without the daemon.
    ///
    /// # Errors
    /// [`CommandError::Usage`] with what does not fit together.
    pub(crate) fn into_request(self) -> Result<RunRequest, CommandError> {
        self.check_target_and_fault()?;
        self.check_window()?;
        let label = self.label.clone().unwrap_or_else(|| self.default_label());
        let label = Label::new(&label).map_err(|error| CommandError::Usage(format!("--label: {error}")))?;
        Ok(RunRequest {
            cluster: self.cluster,
            label: label.as_str().to_owned(),
            target: self.target,
            delay_ns: self.fault.delay_ns(),
            loss_ratio: self.fault.loss_ratio(),
            shape: self.fault.shape()?,
            direction: self.fault.direction(),
            backend: self.fault.backend.unwrap_or_default(),
            duration_ns: nanoseconds(self.duration),
            warm_up_ns: self.warm_up.map_or_else(default_warm_up_ns, nanoseconds),
            inject_at_ns: self.inject_at.map(nanoseconds),
            hold_for_ns: self.hold_for.map(nanoseconds),
            clients: self.clients.unwrap_or_else(default_clients),
            via: self.via.unwrap_or_else(default_via),
            read_ratio: self.workload.read_ratio(),
            value_bytes: self.value_size.unwrap_or_else(default_value_bytes),
            keys: self.keys.unwrap_or_else(default_keys),
            operation_timeout_ns: self.timeout.map_or_else(default_timeout_ns, nanoseconds),
            seed: self.fault.seed,
            schedule: self.schedule.unwrap_or_else(default_schedule),
            arrivals_per_second: self.arrivals,
            think_time_ns: self.think_time.map_or(0, nanoseconds),
            client_ramp_ns: self.client_ramp.map_or(0, nanoseconds),
            key_distribution: self.key_distribution,
            schedule_settings: self.schedule_settings.into_iter().collect(),
            driver_settings: self.driver_settings.into_iter().collect(),
            keep_data: self.keep_data,
        })
    }

    fn check_target_and_fault(&self) -> Result<(), CommandError> {
        let usage = |text: &str| Err(CommandError::Usage(text.to_owned()));
        match (&self.target, self.fault.has_fault()) {
            (Some(_), false) => usage(
                "--target without a fault: give --delay or --loss, or leave --target out for a baseline",
            ),
            (None, true) => usage("a fault without --target: name leader, follower or a member"),
            (None, false) if self.inject_at.is_some() || self.hold_for.is_some() => {
                usage("--inject-at and --for are times of a fault: give --target and --delay or --loss")
            }
            _ => Ok(()),
        }
    }

    fn check_window(&self) -> Result<(), CommandError> {
        let start = self.inject_at.unwrap_or(Duration::ZERO);
        if start >= self.duration {
            return Err(self.window_error("begins"));
        }
        if start + self.hold_for.unwrap_or(Duration::ZERO) > self.duration {
            return Err(self.window_error("ends"));
        }
        Ok(())
    }

    fn window_error(&self, what: &str) -> CommandError {
        let flag = |name: &str, value: Option<Duration>| {
            value.map(|value| format!("{name} {}", duration_text(nanoseconds(value))))
        };
        let window = [flag("--inject-at", self.inject_at), flag("--for", self.hold_for)];
        let window = window.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let duration = duration_text(nanoseconds(self.duration));
        CommandError::Usage(format!("{window} {what} after the run (--duration {duration})"))
    }

    /// `baseline`, or target and fault: `leader_delay100ms_loss20%` without what no label may contain.
    fn default_label(&self) -> String {
        let Some(target) = &self.target else {
            return "baseline".to_owned();
        };
        let delay = self.fault.delay_ns().map(|delay| format!("_delay{}", duration_text(delay)));
        let loss = self.fault.loss_ratio().map(|loss| format!("_loss{}", share_text(loss)));
        let other = (delay.is_none() && loss.is_none()).then(|| "_other".to_owned());
        let parts = [delay, loss, other].into_iter().flatten().collect::<String>();
        let label = format!("{target}{parts}");
        label.replace('/', "-").replace('%', "")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Noun};

    fn request(words: &str) -> Result<RunRequest, CommandError> {
        let words = ["faultctl", "run", "--cluster", "etcd"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words).unwrap().noun {
            Noun::Run(arguments) => arguments.into_request(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_without_flags_is_a_baseline_with_the_defaults_of_the_contract() {
        let baseline = request("").unwrap();
        assert_eq!(baseline.label, "baseline");
        assert_eq!(baseline.target, None);
        assert_eq!(baseline.duration_ns, 60_000_000_000);
        assert_eq!(baseline.clients, 10);
        assert_eq!(baseline.via, "all");
        assert_eq!(baseline.schedule, "window");
    }

    #[test]
    fn every_flag_reaches_the_request() {
        let words = "--target leader --delay 100ms --loss 20% --direction ingress --backend relay --duration 30s \
            --inject-at 10s --for 10s --label a_b --clients 4 --via follower --workload mix --value-size 1024 \
            --keys 5 --warm-up 0s --timeout 2s --seed 7 --schedule other --arrivals 250.5 --client-ramp 2s \
            --key-distribution zipfian --schedule-set period=2s --schedule-set duty=50% \
            --driver-set serializable=true --keep-data";
        let expected = RunRequest {
            cluster: "etcd".into(),
            label: "a_b".into(),
            target: Some("leader".into()),
            delay_ns: Some(100_000_000),
            loss_ratio: Some(0.2),
            shape: faultd_api::shape::FaultShape::default(),
            direction: faultd_api::fault::Direction::Ingress,
            backend: faultd_api::fault::Backend::Relay,
            duration_ns: 30_000_000_000,
            warm_up_ns: 0,
            inject_at_ns: Some(10_000_000_000),
            hold_for_ns: Some(10_000_000_000),
            clients: 4,
            via: "follower".into(),
            read_ratio: 0.5,
            value_bytes: 1024,
            keys: 5,
            operation_timeout_ns: 2_000_000_000,
            seed: Some(7),
            schedule: "other".into(),
            arrivals_per_second: Some(250.5),
            think_time_ns: 0,
            client_ramp_ns: 2_000_000_000,
            key_distribution: KeyDistribution::Zipfian,
            schedule_settings: [("period", "2s"), ("duty", "50%")].map(|(k, v)| (k.into(), v.into())).into(),
            driver_settings: [("serializable".into(), "true".into())].into(),
            keep_data: true,
        };
        assert_eq!(request(words).unwrap(), expected);
    }

    #[test]
    fn what_does_not_fit_together_is_told_in_one_line() {
        let cases = [
            (
                "--target leader --delay 1ms --duration 30s --inject-at 10s --for 30s",
                "--inject-at 10s --for 30s ends after the run (--duration 30s)",
            ),
            (
                "--target leader --delay 1ms --duration 30s --for 31s",
                "--for 31s ends after the run (--duration 30s)",
            ),
            (
                "--target leader --delay 1ms --duration 30s --inject-at 30s",
                "--inject-at 30s begins after the run (--duration 30s)",
            ),
            (
                "--target leader",
                "--target without a fault: give --delay or --loss, or leave --target out for a baseline",
            ),
            ("--delay 1ms", "a fault without --target: name leader, follower or a member"),
            ("--for 5s", "--inject-at and --for are times of a fault: give --target and --delay or --loss"),
            (
                "--label a/b",
                "--label: label contains '/', expected only letters a-z and A-Z, digits, `.`, `_` and `-`",
            ),
        ];
        for (words, expected) in cases {
            let error = request(words).unwrap_err();
            assert!(matches!(error, CommandError::Usage(_)), "{words}");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_window_may_fill_the_run() {
        assert!(request("--target leader --delay 1ms --duration 30s --inject-at 0s --for 30s").is_ok());
        assert!(request("--target leader --delay 1ms --duration 30s --inject-at 29s --for 1s").is_ok());
    }

    #[test]
    fn a_label_is_made_of_target_and_fault() {
        assert_eq!(request("--target leader --delay 100ms").unwrap().label, "leader_delay100ms");
        assert_eq!(
            request("--target etcd/etcd0 --delay 1.5s --loss 0.5%").unwrap().label,
            "etcd-etcd0_delay1.5s_loss0.5"
        );
    }
}
