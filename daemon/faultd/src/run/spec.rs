//! A request for a run, checked. Pure: names are looked up later, numbers and combinations here.

use std::time::Duration;

use faultd_api::{
    run::RunRequest,
    units::{LONGEST_DURATION, duration_text},
};
use faultd_results::folder::{Label, LabelError};

use super::{
    command_load::{CommandLoadError, Reading},
    stop::{StopPlan, StopPlanError},
};
use crate::fault::{FaultError, FaultSpec};

/// The most clients of one run.
const MOST_CLIENTS: u64 = 2000;
/// The longest warm-up.
const LONGEST_WARM_UP: Duration = Duration::from_secs(600);
/// The largest value, in bytes: etcd refuses requests above 1.5 MiB.
const LARGEST_VALUE: u64 = 1 << 20;
/// The most keys.
const MOST_KEYS: u64 = 100_000_000;

/// The fewest and the most operations that become due a second in an open loop.
const SLOWEST_ARRIVALS: f64 = 0.001;
const FASTEST_ARRIVALS: f64 = 10_000_000.0;
/// The most settings of one plugin.
const MOST_SETTINGS: usize = 64;
/// The longest setting, name and value: a trace is one.
const LONGEST_SETTING: usize = 1 << 20;

/// Why a request is no run.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum RunSpecError {
    /// The fault is wrong.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The label cannot be a folder's name.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A fault without a target.
    #[error("a fault needs a target: --target leader, follower or a member's name")]
    FaultWithoutTarget,
    /// A target without a fault.
    #[error("target '{0}' without a fault: add --delay or --loss, or leave the target out for a baseline")]
    TargetWithoutFault(String),
    /// A network of something that has none.
    #[error("--network is for clusters in containers: the hosts of lab '{0}' have only one network")]
    NetworkOfLab(String),
    /// A number out of its range.
    #[error("{what} of {given} is out of range: {range}")]
    OutOfRange {
        /// What was given.
        what: &'static str,
        /// Its value.
        given: String,
        /// The values that are allowed.
        range: String,
    },
    /// The load command is wrong.
    #[error(transparent)]
    Command(#[from] CommandLoadError),
    /// The stop conditions are wrong.
    #[error(transparent)]
    Stop(#[from] StopPlanError),
    /// Two answers to when the next operation is due.
    #[error("a think time is for a closed loop: leave out --think-time or --arrivals")]
    ThinkTimeInOpenLoop,
    /// The window ends after the run.
    #[error("the fault would end at {end}, after the run's {duration}: shorten --for or begin earlier")]
    WindowTooLong {
        /// When the window would end.
        end: String,
        /// The run's length.
        duration: String,
    },
    /// The fault would begin when the run is over.
    #[error("the fault would begin at {begin}, when the run of {duration} is over")]
    WindowTooLate {
        /// When the window would begin.
        begin: String,
        /// The run's length.
        duration: String,
    },
}

/// A checked run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    /// As it was asked for.
    pub request: RunRequest,
    /// The name of its folder.
    pub label: Label,
    /// The fault, if it is not a baseline; its target may be a role.
    pub fault: Option<FaultSpec>,
    /// Measured time.
    pub duration: Duration,
    /// Load before it.
    pub warm_up: Duration,
    /// Clients; none where a command is the load.
    pub clients: usize,
    /// How the output of the load command is read, where one is the load.
    pub command: Option<Reading>,
    /// When its faults are cleared, whatever its schedule says.
    pub stop: StopPlan,
}

impl RunSpec {
    /// Checks a request.
    ///
    /// # Errors
    /// When a number is out of range or the parts do not fit together.
    pub fn checked(request: &RunRequest) -> Result<Self, RunSpecError> {
        let label = Label::new(&request.label)?;
        let duration = in_range("duration", request.duration_ns, Duration::from_secs(1), LONGEST_DURATION)?;
        let warm_up = in_range("warm-up", request.warm_up_ns, Duration::ZERO, LONGEST_WARM_UP)?;
        check_numbers(request)?;
        check_window(request, duration)?;
        let fault = checked_fault(request)?;
        if request.network.is_some() && request.containers.is_none() {
            return Err(RunSpecError::NetworkOfLab(request.cluster.clone()));
        }
        let command = request.command.as_ref().map(Reading::of).transpose()?;
        let clients = usize::try_from(request.clients).unwrap_or(usize::MAX);
        let clients = if command.is_some() { 0 } else { clients };
        let stop = StopPlan::checked(request, fault.is_some())?;
        Ok(Self { request: request.clone(), label, fault, duration, warm_up, clients, command, stop })
    }
}

fn checked_fault(request: &RunRequest) -> Result<Option<FaultSpec>, RunSpecError> {
    let has_effect = request.delay_ns.is_some() || request.loss_ratio.is_some() || request.shape.has_effect();
    match (&request.target, has_effect) {
        (None, false) => Ok(None),
        (None, true) => Err(RunSpecError::FaultWithoutTarget),
        (Some(target), false) => Err(RunSpecError::TargetWithoutFault(target.clone())),
        (Some(target), true) => Ok(Some(FaultSpec::checked(&request.fault_on(target))?)),
    }
}

fn check_window(request: &RunRequest, duration: Duration) -> Result<(), RunSpecError> {
    let begin = request.inject_at_ns.unwrap_or_default();
    let duration_ns = faultd_api::units::nanoseconds(duration);
    let of_run = || duration_text(duration_ns);
    if begin >= duration_ns {
        return Err(RunSpecError::WindowTooLate { begin: duration_text(begin), duration: of_run() });
    }
    let end = begin.saturating_add(request.hold_for_ns.unwrap_or_default());
    if end > duration_ns {
        return Err(RunSpecError::WindowTooLong { end: duration_text(end), duration: of_run() });
    }
    Ok(())
}

fn check_numbers(request: &RunRequest) -> Result<(), RunSpecError> {
    let whole = |what, given: u64, least: u64, most: u64| {
        if (least..=most).contains(&given) {
            Ok(())
        } else {
            Err(out_of_range(what, &given, format!("{least} to {most}")))
        }
    };
    whole("a number of clients", request.clients, 1, MOST_CLIENTS)?;
    whole("a value size", request.value_bytes, 1, LARGEST_VALUE)?;
    whole("a number of keys", request.keys, 1, MOST_KEYS)?;
    check_pace(request)?;
    check_settings(request)?;
    in_range("a time-out", request.operation_timeout_ns, Duration::from_millis(1), Duration::from_secs(600))?;
    if !(0.0..=1.0).contains(&request.read_ratio) {
        return Err(out_of_range("a share of reads", &request.read_ratio, "0 to 1".to_owned()));
    }
    Ok(())
}

fn check_pace(request: &RunRequest) -> Result<(), RunSpecError> {
    in_range("a think time", request.think_time_ns, Duration::ZERO, LONGEST_WARM_UP)?;
    in_range("a ramp of clients", request.client_ramp_ns, Duration::ZERO, LONGEST_WARM_UP)?;
    let Some(rate) = request.arrivals_per_second else { return Ok(()) };
    if !(SLOWEST_ARRIVALS..=FASTEST_ARRIVALS).contains(&rate) {
        let range = format!("{SLOWEST_ARRIVALS} to {FASTEST_ARRIVALS} a second");
        return Err(out_of_range("a rate of arrivals", &rate, range));
    }
    if request.think_time_ns > 0 {
        return Err(RunSpecError::ThinkTimeInOpenLoop);
    }
    Ok(())
}

fn check_settings(request: &RunRequest) -> Result<(), RunSpecError> {
    for settings in [&request.schedule_settings, &request.driver_settings] {
        if settings.len() > MOST_SETTINGS {
            let range = format!("0 to {MOST_SETTINGS}");
            return Err(out_of_range("a number of settings", &settings.len(), range));
        }
        let longest = settings.iter().map(|(name, value)| name.len() + value.len()).max().unwrap_or_default();
        if longest > LONGEST_SETTING {
            return Err(out_of_range(
                "a setting's length",
                &longest,
                format!("0 to {LONGEST_SETTING} bytes"),
            ));
        }
    }
    Ok(())
}

fn in_range(
    what: &'static str,
    given_ns: u64,
    least: Duration,
    most: Duration,
) -> Result<Duration, RunSpecError> {
    let given = Duration::from_nanos(given_ns);
    if (least..=most).contains(&given) {
        return Ok(given);
    }
    let text = |duration| duration_text(faultd_api::units::nanoseconds(duration));
    Err(out_of_range(what, &text(given), format!("{} to {}", text(least), text(most))))
}

fn out_of_range(what: &'static str, given: &dyn ToString, range: String) -> RunSpecError {
    RunSpecError::OutOfRange { what, given: given.to_string(), range }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RunRequest {
        let text = r#"{"cluster":"etcd","label":"mid","target":"leader","delay_ns":100000000,
            "duration_ns":30000000000,"inject_at_ns":10000000000,"hold_for_ns":10000000000}"#;
        serde_json::from_str(text).unwrap()
    }

    fn refusal(change: impl FnOnce(&mut RunRequest)) -> String {
        let mut changed = request();
        change(&mut changed);
        RunSpec::checked(&changed).unwrap_err().to_string()
    }

    #[test]
    fn a_run_from_the_middle_is_accepted_with_its_defaults() {
        let spec = RunSpec::checked(&request()).unwrap();
        assert_eq!((spec.clients, spec.warm_up), (10, Duration::from_secs(3)));
        assert_eq!(spec.fault.unwrap().target, "leader");
    }

    #[test]
    fn a_run_without_fault_and_target_is_a_baseline() {
        let baseline =
            RunRequest { target: None, delay_ns: None, inject_at_ns: None, hold_for_ns: None, ..request() };
        assert_eq!(RunSpec::checked(&baseline).unwrap().fault, None);
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_the_reason() {
        assert!(refusal(|r| r.target = None).contains("needs a target"));
        assert!(refusal(|r| r.network = Some("front".into())).contains("for clusters in containers"));
        assert!(refusal(|r| r.delay_ns = None).contains("without a fault"));
        assert!(
            refusal(|r| r.hold_for_ns = Some(30_000_000_000)).contains("end at 40s, after the run's 30s")
        );
        assert!(refusal(|r| r.inject_at_ns = Some(30_000_000_000)).contains("when the run of 30s is over"));
        assert!(refusal(|r| r.clients = 0).contains("number of clients of 0"));
        assert!(refusal(|r| r.duration_ns = 0).contains("duration"));
        assert!(refusal(|r| r.loss_ratio = Some(1.01)).contains("loss of 101%"));
        assert!(refusal(|r| r.read_ratio = f64::NAN).contains("share of reads"));
        assert!(refusal(|r| r.label = "../x".into()).contains("label"));
        assert!(refusal(|r| r.arrivals_per_second = Some(f64::NAN)).contains("rate of arrivals"));
        assert!(refusal(|r| r.arrivals_per_second = Some(0.0)).contains("rate of arrivals"));
        assert!(
            refusal(|r| (r.arrivals_per_second, r.think_time_ns) = (Some(1.0), 1)).contains("closed loop")
        );
        let long = |r: &mut RunRequest| drop(r.schedule_settings.insert("csv".into(), "x".repeat(2 << 20)));
        assert!(refusal(long).contains("setting's length"));
    }
}
