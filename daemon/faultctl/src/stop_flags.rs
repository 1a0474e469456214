//! The flags that stop a run before its time. Whether a condition holds is for the daemon to say.

use clap::Args;
use faultd_api::{
    prometheus_address::{PrometheusAddress, PrometheusAddressError},
    run::RunRequest,
    stop_condition::{StopCondition, StopConditionError},
};

/// When a run is stopped, and how.
#[derive(Debug, Default, Args)]
pub(crate) struct StopFlags {
    /// Clears the fault at once when this holds while it is injected, and goes on measuring the recovery; may be given
    /// several times. Conditions: 'throughput<20% for 10s' (of that before the fault), 'throughput<500/s for 5s',
    /// 'latency(p99)>200ms for 10s' (or mean, p50, p95, p999, max), 'errors>100' (of the run), 'errors>5% for 10s',
    /// 'leader-change', 'leader-change>3', 'promql(EXPR)>0.5 for 10s' (or <, <=, >=).
    #[arg(long, value_name = "CONDITION", value_parser = condition)]
    stop_if: Vec<StopCondition>,
    /// Ends the run as soon as the fault is cleared because of --stop-if.
    #[arg(long, requires = "stop_if")]
    stop_at_once: bool,
    /// Who is asked once a second what is in promql(…) [default: http://127.0.0.1:9090].
    #[arg(long, value_name = "URL", value_parser = address)]
    prometheus: Option<PrometheusAddress>,
}

impl StopFlags {
    /// Whether a condition clears the fault of a run that goes on.
    pub(crate) fn leave_a_run_without_fault(&self) -> bool {
        !self.stop_if.is_empty() && !self.stop_at_once
    }

    /// The request with them.
    pub(crate) fn add_to(self, request: RunRequest) -> RunRequest {
        RunRequest {
            stop_if: self.stop_if.iter().map(ToString::to_string).collect(),
            stop_at_once: self.stop_at_once,
            prometheus: self.prometheus.map(|address| address.to_string()),
            ..request
        }
    }
}

fn condition(text: &str) -> Result<StopCondition, StopConditionError> {
    text.parse()
}

fn address(text: &str) -> Result<PrometheusAddress, PrometheusAddressError> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Noun};

    fn request(flags: &[&str]) -> Result<RunRequest, clap::Error> {
        let words = ["faultctl", "run", "--cluster", "etcd", "--target", "leader", "--delay", "5ms"];
        match Cli::try_parse_from(words.iter().chain(flags))?.noun {
            Noun::Run(arguments) => Ok(arguments.into_request().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn conditions_reach_the_request_as_they_are_meant() {
        let flags = ["--stop-if", " throughput < 20% for 10s", "--stop-if=errors>5", "--stop-at-once"];
        let asked = request(&flags).unwrap();
        assert_eq!(asked.stop_if, ["throughput<20% for 10s", "errors>5"]);
        assert_eq!((asked.stop_at_once, asked.prometheus), (true, None));
        let asked = request(&["--stop-if", "promql(up)<1", "--prometheus", "http://[::1]:9090/"]).unwrap();
        assert_eq!(asked.prometheus.as_deref(), Some("http://[::1]:9090"));
        assert!(request(&[]).unwrap().stop_if.is_empty());
    }

    #[test]
    fn what_is_none_is_refused_before_anything_is_sent() {
        for flags in [&["--stop-if", "slow"][..], &["--stop-at-once"], &["--prometheus", "localhost"]] {
            assert!(request(flags).is_err(), "{flags:?}");
        }
    }
}
