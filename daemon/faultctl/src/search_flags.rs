//! The flags of `faultctl search`: where degradation reaches 10 % and 50 %.

use std::time::Duration;

use clap::Args;
use faultd_api::{
    run::RunRequest,
    units::{duration_text, nanoseconds, parse_duration, parse_share, share_text},
};

use crate::{command_error::CommandError, setup_flags::SetupFlags};

/// The schedule that searches within one run.
const SCHEDULE: &str = "danger-zone";

/// A search for the danger zone of a cluster.
#[derive(Debug, Args)]
pub(crate) struct SearchArguments {
    #[command(flatten)]
    setup: SetupFlags,
    /// How far an estimate may be off, as a share of it.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, default_value = "5%", allow_hyphen_values = true)]
    pub(crate) precision: f64,
    /// The lowest severity that is looked at; 100% is the fault as it was asked for.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, default_value = "0.1%", allow_hyphen_values = true)]
    pub(crate) lowest: f64,
    /// Measured time, of all runs together, after which the search ends with what is known by then.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10m", allow_hyphen_values = true)]
    pub(crate) within: Duration,
    /// What is normal, measured before the first probe, or in each run.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s", allow_hyphen_values = true)]
    baseline: Duration,
    /// Time after a change of severity that counts for nothing.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "2s", allow_hyphen_values = true)]
    settle: Duration,
    /// Makes each probe a run of its own, on a cluster that had time to recover, instead of a part of one run.
    #[arg(long)]
    pub(crate) over_runs: bool,
    /// Measured time of a probe that is a run of its own [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "over_runs", allow_hyphen_values = true)]
    probe: Option<Duration>,
}

/// The run that each probe is, but for the severity.
#[derive(Debug, PartialEq)]
pub(crate) struct ProbeRun {
    /// At severity 1.
    pub(crate) full: RunRequest,
    /// When the fault begins, in seconds of the run.
    pub(crate) inject_at_s: i64,
    /// From when on its effect is measured.
    pub(crate) settled_at_s: i64,
}

impl SearchArguments {
    /// The one run in which the schedule `danger-zone` searches.
    ///
    /// # Errors
    /// [`CommandError::Usage`] with what does not fit together.
    pub(crate) fn into_one_run(self) -> Result<RunRequest, CommandError> {
        let settings = [
            ("precision", share_text(self.precision)),
            ("lowest", share_text(self.lowest)),
            ("baseline", duration_text(nanoseconds(self.baseline))),
            ("settle", duration_text(nanoseconds(self.settle))),
        ];
        let within = self.within;
        let request = self.checked_setup()?.request(within)?;
        let schedule_settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(RunRequest { schedule: SCHEDULE.to_owned(), schedule_settings, ..request })
    }

    /// The run that each probe is.
    ///
    /// # Errors
    /// [`CommandError::Usage`] with what does not fit together.
    pub(crate) fn into_probe_run(self) -> Result<ProbeRun, CommandError> {
        let probe = self.probe.unwrap_or(Duration::from_secs(10));
        let [baseline, settle, probe] = [self.baseline, self.settle, probe].map(whole_seconds);
        if baseline < 2 || probe < 2 {
            return Err(CommandError::Usage("--baseline and --probe are at least 2s".to_owned()));
        }
        let second = Duration::from_secs;
        let full = self.checked_setup()?.request(second(baseline + settle + probe))?;
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        Ok(ProbeRun {
            full: RunRequest { inject_at_ns: Some(nanoseconds(second(baseline))), ..full },
            inject_at_s: signed(baseline),
            settled_at_s: signed(baseline + settle),
        })
    }

    /// Without a severity to change, there is nothing to search for.
    fn checked_setup(self) -> Result<SetupFlags, CommandError> {
        let usage = |text: &str| Err(CommandError::Usage(text.to_owned()));
        let mut setup = self.setup;
        if setup.target.is_none() {
            return usage("what is to be made slow? Give --target and --delay or --loss");
        }
        if setup.fault.delay_ns().is_none() && setup.fault.loss_ratio().is_none() {
            return usage("only --delay and --loss have severities to be searched: give one of them");
        }
        setup.label.get_or_insert_with(|| "search".to_owned());
        Ok(setup)
    }
}

impl ProbeRun {
    /// The run that probes a severity, as the `number`th.
    #[must_use]
    pub(crate) fn at(&self, severity: f64, number: usize) -> RunRequest {
        // Whole nanoseconds, below those of the fault that was asked for.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a share of a number that fits"
        )]
        let scaled = |delay_ns: u64| ((delay_ns as f64 * severity).round() as u64).max(1);
        RunRequest {
            label: format!("{}_{number:02}", self.full.label),
            delay_ns: self.full.delay_ns.map(scaled),
            loss_ratio: self.full.loss_ratio.map(|loss| loss * severity),
            ..self.full.clone()
        }
    }

    /// Seconds that such a run takes, with its warm-up.
    #[must_use]
    pub(crate) fn seconds(&self) -> u64 {
        (self.full.duration_ns + self.full.warm_up_ns).div_ceil(1_000_000_000)
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Noun};

    fn arguments(words: &str) -> SearchArguments {
        let words = ["faultctl", "search", "--cluster", "etcd"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words).unwrap().noun {
            Noun::Search(arguments) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_run_searches_with_the_schedule() {
        let words = "--target leader --delay 100ms --precision 10% --within 5m --clients 3";
        let request = arguments(words).into_one_run().unwrap();
        assert_eq!((request.schedule.as_str(), request.label.as_str()), ("danger-zone", "search"));
        assert_eq!((request.duration_ns, request.inject_at_ns, request.clients), (300_000_000_000, None, 3));
        let settings: Vec<(&str, &str)> =
            request.schedule_settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [("baseline", "10s"), ("lowest", "0.1%"), ("precision", "10%"), ("settle", "2s")];
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_probe_is_a_run_at_a_severity() {
        let words =
            "--target leader --delay 100ms --loss 50% --over-runs --probe 4s --baseline 5s --label dz";
        let probe = arguments(words).into_probe_run().unwrap();
        assert_eq!((probe.inject_at_s, probe.settled_at_s, probe.seconds()), (5, 7, 14));
        let run = probe.at(0.25, 7);
        assert_eq!(run.label, "dz_07");
        assert_eq!((run.delay_ns, run.loss_ratio), (Some(25_000_000), Some(0.125)));
        assert_eq!((run.inject_at_ns, run.hold_for_ns), (Some(5_000_000_000), None));
        assert_eq!((run.duration_ns, run.schedule.as_str()), (11_000_000_000, "window"));
    }

    #[test]
    fn what_has_no_severity_is_refused_in_one_line() {
        let cases = [
            ("--delay 1ms", "what is to be made slow?"),
            ("--target leader", "only --delay and --loss"),
            ("--target leader --rate 1mbit", "only --delay and --loss"),
            ("--target leader --delay 1ms --label a/b", "--label: label contains '/'"),
        ];
        for (words, said) in cases {
            let refused = [
                arguments(words).into_one_run().unwrap_err().to_string(),
                arguments(words).into_probe_run().unwrap_err().to_string(),
            ];
            assert!(refused.iter().all(|text| text.contains(said)), "{words}: {refused:?}");
        }
        let short = arguments("--target leader --delay 1ms --over-runs --probe 1s").into_probe_run();
        assert_eq!(short.unwrap_err().to_string(), "--baseline and --probe are at least 2s");
    }
}
