//! Connects the judge to a run: it tells it of each second, and clears the faults when a condition holds.

use faultd_api::stop_condition::StopCondition;
use faultd_plugin_host::{MemberRole, Role};
use faultd_results::{
    event::{EventKind, LeaderChange},
    summary::StopReason,
    timeseries::Row,
};
use tokio::sync::mpsc;

use super::{
    StopPlan,
    judging::{Held, Judge, Observed},
    prometheus::{PrometheusError, Questions, ask},
};
use crate::{
    metrics::RunMetrics,
    run::{
        dialogue::Dialogue,
        injection::{FollowingEnded, Injection},
        record::RunRecord,
    },
};

/// Where the seconds of a run go.
pub type SecondsOut = mpsc::UnboundedSender<Row>;

/// The guard of one run.
pub struct Guard<'a> {
    plan: &'a StopPlan,
    record: &'a RunRecord,
    metrics: &'a RunMetrics,
    /// Who led when the run began.
    led: Option<String>,
    seconds: mpsc::UnboundedReceiver<Row>,
    judge: Judge,
    questions: Questions,
    held: Option<Held>,
}

/// Asks everything once that will be asked while the run goes on.
///
/// # Errors
/// The first question that is not answered.
pub async fn refuse_unanswered(plan: &StopPlan) -> Result<(), PrometheusError> {
    for question in plan.questions() {
        ask(&plan.prometheus, question).await?;
    }
    Ok(())
}

impl<'a> Guard<'a> {
    /// Begins to watch; the seconds of the run are sent to the other end, where anybody looks at them.
    #[must_use]
    pub fn begin(
        plan: &'a StopPlan,
        record: &'a RunRecord,
        metrics: &'a RunMetrics,
        roles: &[MemberRole],
    ) -> (Self, Option<SecondsOut>) {
        let (out, seconds) = mpsc::unbounded_channel();
        let leader = roles.iter().find(|role| role.role == Role::Leader);
        let guard = Self {
            plan,
            record,
            metrics,
            led: leader.map(|leader| leader.member.clone()),
            seconds,
            judge: Judge::new(&plan.conditions),
            questions: Questions::begin(&plan.prometheus, &plan.questions()),
            held: None,
        };
        (guard, (!plan.conditions.is_empty()).then_some(out))
    }

    /// Lets the schedule have its way until a condition holds. Then all faults are cleared, and no more come; the run
    /// goes on without them until somebody else ends it, or ends with them.
    pub async fn follow(
        &mut self,
        injection: &mut Injection<'_>,
        dialogue: &mut Dialogue<'_>,
    ) -> FollowingEnded {
        let held = tokio::select! {
            biased;
            held = self.holds() => held,
            ended = injection.follow_to_the_end(dialogue) => return ended,
        };
        let StopReason { condition, reason, .. } = held.reason.clone();
        let event = EventKind::StopConditionHeld { condition: condition.clone(), reason: reason.clone() };
        injection.end_at_once(event).await;
        tracing::warn!(
            run = injection.run,
            condition,
            reason,
            "a stop condition held: the faults are cleared"
        );
        self.metrics.stopped(held.word);
        self.held = Some(held);
        if self.plan.at_once { FollowingEnded::Stopped } else { std::future::pending().await }
    }

    /// What held, if anything did.
    #[must_use]
    pub fn end(self) -> Option<StopReason> {
        self.held.map(|held| held.reason)
    }

    /// Returns when a condition holds.
    async fn holds(&mut self) -> Held {
        while let Some(row) = self.seconds.recv().await {
            let observed = Observed {
                row: &row,
                phase: self.record.phase(),
                leader_changes: self.leader_changes(),
                answers: &self.questions.take(),
            };
            if let Some(held) = self.judge.second(&observed) {
                return held;
            }
        }
        // Nobody tells of seconds: there is no condition, or no time left.
        std::future::pending().await
    }

    fn leader_changes(&self) -> u64 {
        let is_asked = |condition: &StopCondition| matches!(condition, StopCondition::LeaderChanges(_));
        let Some(window) = self.record.fault_window().filter(|_| self.plan.conditions.iter().any(is_asked))
        else {
            return 0;
        };
        changes_since(self.led.as_deref(), &self.record.leader_changes(), window.commanded_s)
    }
}

/// How often the leader became another member. One that did not answer for a while is no other one.
fn changes_since(led: Option<&str>, seen: &[LeaderChange], since_s: f64) -> u64 {
    let (mut leader, mut changes) = (led, 0);
    for LeaderChange { t_s, member } in seen {
        let is_other = leader.is_some_and(|leader| leader != member);
        changes += u64::from(is_other && *t_s >= since_s);
        leader = Some(member);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_was_silent_for_a_while_is_no_other_leader() {
        let seen = [(1.0, "a"), (5.0, "a"), (6.0, "b"), (7.0, "b"), (8.0, "a")]
            .map(|(t_s, member)| LeaderChange { t_s, member: member.to_owned() });
        assert_eq!(changes_since(Some("a"), &seen, 5.0), 2);
        assert_eq!(changes_since(Some("b"), &seen, 0.0), 3);
        assert_eq!(changes_since(Some("b"), &seen, 5.0), 2, "what was before the fault does not count");
        assert_eq!(changes_since(None, &seen[..1], 0.0), 0);
    }
}
