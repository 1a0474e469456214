//! The flags of `faultctl run`, and what is checked before anything is sent.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use faultd_api::{
    run::{LoadCommand, RunRequest, default_schedule},
    units::{duration_text, nanoseconds, parse_duration},
};

use crate::{
    command_error::CommandError,
    flag_values::{parse_duration_or_zero, parse_setting},
    remote::{Host, NotAHost},
    setup_flags::SetupFlags,
};

/// One experiment.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// A file that says it all: its keys are the flags below, which go before it.
    #[arg(value_name = "EXPERIMENT.toml")]
    pub(crate) experiment: Option<PathBuf>,
    #[command(flatten)]
    setup: SetupFlags,
    /// Measured time.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s", allow_hyphen_values = true)]
    duration: Duration,
    /// When the fault begins [default: at the start of the measured time].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_zero, allow_hyphen_values = true)]
    inject_at: Option<Duration>,
    /// How long the fault holds [default: until the end].
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    hold_for: Option<Duration>,
    /// The plugin that says when faults hold [default: window].
    #[arg(long)]
    schedule: Option<String>,
    /// Says what would be done and to whom, and whether the policy allows it, and changes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Waits until the run has ended; it ends with this command [default].
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Returns as soon as the run has begun, which goes on by itself; `runs` shows and ends it.
    #[arg(long, overrides_with = "wait", conflicts_with = "command")]
    pub(crate) no_wait: bool,
    /// Which load generator the load command is [default: as its words say].
    #[arg(long, value_name = "NAME", requires = "command")]
    tool: Option<String>,
    /// How rows are found in what the load command prints: a regular expression with groups such as (?<time>…),
    /// (?<ops_per_s>…), (?<p99>…).
    #[arg(long, value_name = "REGEX", requires = "command", conflicts_with = "tool")]
    pattern: Option<String>,
    /// A command that is the load, instead of clients of ours; it begins with the warm-up and is ended with the run.
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = [
        "clients", "workload", "value_size", "keys", "timeout", "arrivals", "think_time", "client_ramp",
        "key_distribution", "keep_data",
    ])]
    command: Vec<String>,
    /// The same fault on a target of another machine for the same time; its events are in the run's. May be given several
    /// times.
    #[arg(long = "also-on", value_name = "HOST=TARGET", value_parser = parse_also_on)]
    pub(crate) also_on: Vec<AlsoOn>,
    /// A setting of the schedule; may be given several times.
    #[arg(long = "schedule-set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    schedule_settings: Vec<(String, String)>,
}

/// A target of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlsoOn {
    pub(crate) host: Host,
    pub(crate) target: String,
}

fn parse_also_on(text: &str) -> Result<AlsoOn, String> {
    match text.split_once('=') {
        Some((host, target)) if !target.is_empty() => {
            let host = host.parse().map_err(|error: NotAHost| error.to_string())?;
            Ok(AlsoOn { host, target: target.to_owned() })
        }
        _ => Err(format!("'{text}' is no target of another machine: write HOST=TARGET")),
    }
}

impl RunArguments {
    /// Checks what can be checked without the daemon.
    ///
    /// # Errors
    /// [`CommandError::Usage`] with what does not fit together.
    pub(crate) fn into_request(self) -> Result<RunRequest, CommandError> {
        self.check_window()?;
        self.check_other_machines()?;
        let request = self.setup.request(self.duration)?;
        let Self { command: words, tool, pattern, .. } = self;
        let command = (!words.is_empty()).then_some(LoadCommand { words, tool, pattern });
        Ok(RunRequest {
            command,
            inject_at_ns: self.inject_at.map(nanoseconds),
            hold_for_ns: self.hold_for.map(nanoseconds),
            schedule: self.schedule.unwrap_or(request.schedule),
            schedule_settings: self.schedule_settings.into_iter().collect(),
            ..request
        })
    }

    fn check_window(&self) -> Result<(), CommandError> {
        let has_times = self.inject_at.is_some() || self.hold_for.is_some();
        if has_times && self.setup.target.is_none() && !self.setup.fault.has_fault() {
            let text = "--inject-at and --for are times of a fault: give --target and --delay or --loss";
            return Err(CommandError::Usage(text.to_owned()));
        }
        let start = self.inject_at.unwrap_or(Duration::ZERO);
        if start >= self.duration {
            return Err(self.window_error("begins"));
        }
        if start + self.hold_for.unwrap_or(Duration::ZERO) > self.duration {
            return Err(self.window_error("ends"));
        }
        Ok(())
    }

    /// Other machines have to hear of the time before it comes, and nobody there asks the schedule.
    pub(crate) fn check_other_machines(&self) -> Result<(), CommandError> {
        const HEARD_BEFORE: Duration = Duration::from_secs(2);
        if self.also_on.is_empty() {
            return Ok(());
        }
        let wrong = |text: &str| Err(CommandError::Usage(format!("--also-on: {text}")));
        if self.setup.target.is_none() {
            return wrong("the fault is on a member of the cluster too: give --target");
        }
        if self.schedule.as_ref().is_some_and(|schedule| *schedule != default_schedule()) {
            return wrong("only the schedule 'window' says beforehand when the fault holds");
        }
        if self.no_wait {
            return wrong("faults on other machines end with this command: leave --no-wait out");
        }
        if self.setup.stop.leave_a_run_without_fault() {
            return wrong("a condition ends them only with the run: give --stop-at-once to --stop-if");
        }
        if self.setup.warm_up() + self.inject_at.unwrap_or(Duration::ZERO) < HEARD_BEFORE {
            return wrong(
                "the fault begins too soon to tell others: give --warm-up or --inject-at 2s or more",
            );
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
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use faultd_api::run::KeyDistribution;

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
        let words = "--target leader --network front --delay 100ms --loss 20% --direction ingress --backend relay --duration 30s \
            --inject-at 10s --for 10s --label a_b --clients 4 --via follower --workload mix --value-size 1024 \
            --keys 5 --warm-up 0s --timeout 2s --seed 7 --schedule other --arrivals 250.5 --client-ramp 2s \
            --key-distribution zipfian --schedule-set period=2s --schedule-set duty=50% \
            --driver-set serializable=true --keep-data";
        let expected = RunRequest {
            cluster: "etcd".into(),
            containers: None,
            label: "a_b".into(),
            target: Some("leader".into()),
            network: Some("front".into()),
            delay_ns: Some(100_000_000),
            loss_ratio: Some(0.2),
            shape: faultd_api::shape::FaultShape::default(),
            direction: faultd_api::fault::Direction::Ingress,
            backend: faultd_api::fault::Backend::Relay,
            duration_ns: 30_000_000_000,
            warm_up_ns: 0,
            inject_at_ns: Some(10_000_000_000),
            hold_for_ns: Some(10_000_000_000),
            command: None,
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
            detach: false,
            stop_if: Vec::new(),
            stop_at_once: false,
            prometheus: None,
        };
        assert_eq!(request(words).unwrap(), expected);
    }

    #[test]
    fn a_run_is_on_a_cluster() {
        let Noun::Run(arguments) = Cli::try_parse_from(["faultctl", "run"]).unwrap().noun else { panic!() };
        let refused = arguments.into_request().unwrap_err();
        assert!(matches!(&refused, CommandError::Usage(text) if text.contains("--cluster")), "{refused}");
    }

    #[test]
    fn what_follows_two_dashes_is_the_load() {
        let load = request("--tool cassandra-stress --warm-up 10s -- docker exec c ./stress.sh --clients 5")
            .unwrap();
        let words = ["docker", "exec", "c", "./stress.sh", "--clients", "5"].map(str::to_owned).into();
        let expected = LoadCommand { words, tool: Some("cassandra-stress".into()), pattern: None };
        assert_eq!(load.command, Some(expected));
        for wrong in ["--clients 3 -- wrk", "--tool wrk", "--keys 5 -- wrk", "--tool wrk --pattern x -- wrk"]
        {
            let words = ["faultctl", "run", "--cluster", "etcd"].into_iter().chain(wrong.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{wrong}");
        }
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
    fn a_fault_on_another_machine_is_that_of_the_window() {
        let of = |words: &str| request(&format!("--target leader --delay 1ms --also-on {words}"));
        assert!(of("ann@web1:22=shop/checkout --also-on web2=x").is_ok());
        for (words, expected) in [
            ("web1=x --schedule danger-zone", "only the schedule 'window'"),
            ("web1=x --warm-up 1s", "too soon"),
            ("web1=x --no-wait", "leave --no-wait out"),
            ("web1=x --stop-if errors>1", "give --stop-at-once"),
        ] {
            let refused = of(words).unwrap_err().to_string();
            assert!(refused.starts_with("--also-on: ") && refused.contains(expected), "{refused}");
        }
        assert!(of("web1=x --warm-up 0s --inject-at 2s").is_ok());
        assert!(of("web1=x --stop-if errors>1 --stop-at-once").is_ok());
        assert_eq!(parse_also_on("a=b=c").unwrap().target, "b=c");
        for wrong in ["web1", "web1=", "-x=y", "=y"] {
            assert!(parse_also_on(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_is_waited_for_unless_it_is_said_otherwise_last() {
        let no_wait = |words: &str| {
            let words = ["faultctl", "run", "--cluster", "etcd"].into_iter().chain(words.split_whitespace());
            match Cli::try_parse_from(words).unwrap().noun {
                Noun::Run(arguments) => arguments.no_wait,
                other => panic!("{other:?}"),
            }
        };
        assert!(no_wait("--no-wait") && no_wait("--wait --no-wait"));
        assert!(!no_wait("--wait") && !no_wait("--no-wait --wait") && !no_wait("--duration 5s"));
        let words = ["faultctl", "run", "--no-wait", "--cluster", "etcd", "--", "wrk"];
        assert!(Cli::try_parse_from(words).is_err(), "its load ends with this command");
    }

    #[test]
    fn a_window_may_fill_the_run() {
        assert!(request("--target leader --delay 1ms --duration 30s --inject-at 0s --for 30s").is_ok());
        assert!(request("--target leader --delay 1ms --duration 30s --inject-at 29s --for 1s").is_ok());
    }

    #[test]
    fn a_label_is_made_of_target_and_fault() {
        assert_eq!(request("--target leader --delay 100ms").unwrap().label, "leader_delay100ms");
        assert_eq!(request("--target follower:other --loss 1%").unwrap().label, "follower-other_loss1");
        let pauses = request("--target leader --pause 100ms --pause-every 500ms").unwrap();
        assert_eq!(pauses.label, "leader_pause100ms");
        let shape = (pauses.shape.pause_ns, pauses.shape.pause_every_ns);
        assert_eq!(shape, (Some(100_000_000), Some(500_000_000)));
        assert_eq!(request("--target leader --cpus 0.2").unwrap().label, "leader_cpus0.2");
        assert_eq!(
            request("--target etcd/etcd0 --delay 1.5s --loss 0.5%").unwrap().label,
            "etcd-etcd0_delay1.5s_loss0.5"
        );
    }
}
