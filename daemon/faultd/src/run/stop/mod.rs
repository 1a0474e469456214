//! Stop conditions of a run: when one holds, its faults are cleared before anything else is done.
//!
//! ```text
//! seconds ── each that ends ─▶ guard ─▶ judging (pure) ── holds ─▶ faults cleared ─▶ recovery, or the end
//! Prometheus ── once a second ──┘
//! ```

pub mod guard;
pub mod judging;
pub mod prometheus;

use faultd_api::{
    prometheus_address::{PrometheusAddress, PrometheusAddressError},
    run::{RunRequest, default_schedule},
    stop_condition::{StopCondition, StopConditionError},
};

/// The most conditions of one run.
const MOST_CONDITIONS: usize = 16;
/// A fault that begins earlier leaves no whole second before it.
const SHORTEST_BASELINE_NS: u64 = 1_000_000_000;

/// Why the conditions of a run are none.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum StopPlanError {
    /// One is not understood.
    #[error("--stop-if: {0}")]
    Condition(#[from] StopConditionError),
    /// The address is not understood.
    #[error("--prometheus: {0}")]
    Prometheus(#[from] PrometheusAddressError),
    /// More than anybody means.
    #[error("{0} stop conditions are too many: at most {MOST_CONDITIONS}")]
    TooMany(usize),
    /// Nothing to be stopped.
    #[error(
        "--stop-if is judged while a fault is injected, and this run has none: give --target and a fault"
    )]
    NoFault,
    /// An end without a reason.
    #[error("--stop-at-once says what happens when a stop condition holds: give one with --stop-if")]
    NoCondition,
    /// Nothing to compare with.
    #[error(
        "'{0}' needs a baseline, and the fault begins with the run: let it begin later (--inject-at 10s), or name a \
         number, as in throughput<500/s"
    )]
    NoBaseline(String),
}

/// The checked conditions of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StopPlan {
    /// Any of them stops the run; none for most runs.
    pub conditions: Vec<StopCondition>,
    /// Whether the run ends with its faults.
    pub at_once: bool,
    /// Who is asked what is in PromQL.
    pub prometheus: PrometheusAddress,
}

impl StopPlan {
    /// Checks what a request says of it.
    ///
    /// # Errors
    /// When a condition is none, or can never be judged in this run.
    pub fn checked(request: &RunRequest, has_fault: bool) -> Result<Self, StopPlanError> {
        let RunRequest { stop_if, stop_at_once, prometheus, .. } = request;
        if stop_if.is_empty() && *stop_at_once {
            return Err(StopPlanError::NoCondition);
        }
        if stop_if.len() > MOST_CONDITIONS {
            return Err(StopPlanError::TooMany(stop_if.len()));
        }
        let conditions =
            stop_if.iter().map(|text| text.parse::<StopCondition>()).collect::<Result<Vec<_>, _>>()?;
        let prometheus =
            prometheus.as_deref().map_or_else(|| Ok(PrometheusAddress::default()), str::parse)?;
        if !conditions.is_empty() && !has_fault {
            return Err(StopPlanError::NoFault);
        }
        let relative =
            |condition: &&StopCondition| matches!(condition, StopCondition::ThroughputShare { .. });
        match conditions.iter().find(relative) {
            Some(condition) if !has_baseline(request) => {
                Err(StopPlanError::NoBaseline(condition.to_string()))
            }
            _ => Ok(Self { conditions, at_once: *stop_at_once, prometheus }),
        }
    }

    /// What Prometheus is asked, each question once.
    #[must_use]
    pub fn questions(&self) -> Vec<&str> {
        let mut questions = Vec::new();
        for condition in &self.conditions {
            if let StopCondition::Promql { expression, .. } = condition
                && !questions.contains(&expression.as_str())
            {
                questions.push(expression.as_str());
            }
        }
        questions
    }
}

/// Other schedules than the usual one begin when they like: of them it is found out when they have begun.
fn has_baseline(request: &RunRequest) -> bool {
    request.schedule != default_schedule() || request.inject_at_ns.unwrap_or_default() >= SHORTEST_BASELINE_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(stop_if: &[&str]) -> RunRequest {
        let text = r#"{"cluster":"etcd","label":"x","duration_ns":30000000000,"inject_at_ns":10000000000}"#;
        let stop_if = stop_if.iter().map(|text| (*text).to_owned()).collect();
        RunRequest { stop_if, ..serde_json::from_str(text).unwrap() }
    }

    fn refusal(request: &RunRequest, has_fault: bool) -> String {
        StopPlan::checked(request, has_fault).unwrap_err().to_string()
    }

    #[test]
    fn conditions_are_checked_with_the_run_that_they_are_for() {
        let asked =
            request(&["throughput<20% for 10s", "promql(up)<1", "promql(up)<2 for 5s", "promql(x)>0"]);
        let plan = StopPlan::checked(&asked, true).unwrap();
        assert_eq!((plan.conditions.len(), plan.questions()), (4, vec!["up", "x"]));
        assert_eq!(plan.prometheus.to_string(), "http://127.0.0.1:9090");
        assert_eq!(StopPlan::checked(&request(&[]), false), Ok(StopPlan::default()));
    }

    #[test]
    fn what_could_never_be_judged_is_refused_with_what_could() {
        assert!(refusal(&request(&["errors>5"]), false).contains("this run has none"));
        assert!(refusal(&request(&["errors>5"; 17]), true).contains("at most 16"));
        assert!(refusal(&request(&["errors"]), true).starts_with("--stop-if: 'errors'"));
        let at_once = RunRequest { stop_at_once: true, ..request(&[]) };
        assert!(refusal(&at_once, true).contains("give one with --stop-if"));
        let elsewhere = RunRequest { prometheus: Some("nowhere".into()), ..request(&["promql(up)<1"]) };
        assert!(refusal(&elsewhere, true).starts_with("--prometheus: 'nowhere'"));

        let full = RunRequest { inject_at_ns: None, ..request(&["throughput<20%"]) };
        let refused = refusal(&full, true);
        assert!(refused.contains("needs a baseline") && refused.contains("throughput<500/s"), "{refused}");
        let absolute = RunRequest { inject_at_ns: None, ..request(&["throughput<500/s"]) };
        assert!(StopPlan::checked(&absolute, true).is_ok());
        let searching = RunRequest { schedule: "danger-zone".into(), ..full };
        assert!(StopPlan::checked(&searching, true).is_ok());
    }
}
