//! The schedule `follow-leader`: the fault is on the member that leads, whoever that is.
//!
//! Settings: `look` (200ms), how often it looks who leads (the host also asks when a role changes), and
//! `policy`: with `follow` the fault moves to a new leader, and there is none while no leader is known; with
//! `stay` it stays on the member that led first. The rules' own targets do not count.

use faultd_plugin_sdk::schedule::{Decision, Member, Observation, Plan, Role, Rule, Schedule};
use faultd_plugin_sdk::shape::{self, Window};
use faultd_plugin_sdk::{export_schedule, settings};

/// Who has the fault.
struct FollowLeader {
    window: Window,
    rules: Vec<Rule>,
    look_ns: u64,
    /// Whether the fault stays on the first leader.
    stay: bool,
    current: Option<String>,
}

export_schedule!(FollowLeader);

impl Schedule for FollowLeader {
    fn start(plan: Plan) -> Result<Self, String> {
        let [look, policy] = settings::read(&plan.settings, ["look", "policy"])?;
        let look_ns = shape::length_ns("look", look.as_deref(), 200_000_000)?;
        let stay = match policy.as_deref() {
            None | Some("follow") => false,
            Some("stay") => true,
            Some(other) => return Err(format!("setting policy is follow or stay, not {other:?}")),
        };
        Ok(Self { window: Window::of(&plan)?, rules: plan.rules, look_ns, stay, current: None })
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        if self.rules.is_empty() {
            return Decision::nothing(None);
        }
        let window = self.window;
        window.play(observation.now_ns, |elapsed_ns| {
            self.look(&observation.members);
            let rules = self.current.iter().flat_map(|name| self.rules.iter().map(|rule| rule.on(name)));
            let is_settled = self.stay && self.current.is_some();
            (rules.collect(), (!is_settled).then(|| elapsed_ns.saturating_add(self.look_ns)))
        })
    }
}

impl FollowLeader {
    fn look(&mut self, members: &[Member]) {
        if self.stay && self.current.is_some() {
            return;
        }
        let leads = |member: &&Member| member.role == Role::Leader;
        let is_current = |member: &&Member| self.current.as_deref() == Some(member.name.as_str());
        // While an old leader does not know yet that there is a new one, both say that they lead: the fault
        // stays until it is clear.
        let still = members.iter().filter(leads).find(is_current);
        self.current = still.or_else(|| members.iter().find(leads)).map(|member| member.name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultd_plugin_sdk::testing;

    fn plan(pairs: &[(&str, &str)]) -> Plan {
        let plan = testing::plan_of(
            testing::total_loss_on("leader"),
            10_000_000_000,
            Some(1_000_000_000),
            Some(5_000_000_000),
        );
        Plan { settings: testing::settings(pairs), ..plan }
    }

    /// Asks at a time in milliseconds, where these members lead; who has the fault, and when it asks again.
    fn decide(schedule: &mut FollowLeader, now_ms: u64, leaders: &[usize]) -> (String, Option<u64>) {
        let role = |index| if leaders.contains(&index) { Role::Leader } else { Role::Follower };
        let member = |index| Member { name: format!("n{index}"), role: role(index), serves_clients: true };
        let members = (0..3).map(member).collect();
        let now_ns = now_ms * 1_000_000;
        let decision = schedule.decide(&testing::observation(now_ns, members));
        let targets: Vec<String> = decision.active.into_iter().map(|rule| rule.target).collect();
        (targets.join(" "), decision.ask_again_at_ns.map(|at_ns| at_ns / 1_000_000))
    }

    #[test]
    fn the_fault_moves_with_the_leader() {
        let mut schedule = FollowLeader::start(plan(&[])).unwrap();
        let mut at = |now_ms, leaders: &[usize]| decide(&mut schedule, now_ms, leaders);
        assert_eq!(at(0, &[1]), (String::new(), Some(1000)));
        assert_eq!(at(1000, &[1]), ("n1".to_owned(), Some(1200)));
        assert_eq!(at(1200, &[]), (String::new(), Some(1400)));
        assert_eq!(at(1400, &[2]), ("n2".to_owned(), Some(1600)));
        assert_eq!(at(1600, &[0, 2]), ("n2".to_owned(), Some(1800)));
        assert_eq!(at(1800, &[0]), ("n0".to_owned(), Some(2000)));
        assert_eq!(at(6000, &[0]), (String::new(), None));
    }

    #[test]
    fn the_fault_stays_on_the_first_leader_if_asked_to() {
        let mut schedule = FollowLeader::start(plan(&[("policy", "stay"), ("look", "1s")])).unwrap();
        let mut at = |now_ms, leaders: &[usize]| decide(&mut schedule, now_ms, leaders);
        assert_eq!(at(1000, &[]), (String::new(), Some(2000)));
        assert_eq!(at(2000, &[1]), ("n1".to_owned(), Some(6000)));
        assert_eq!(at(3000, &[2]), ("n1".to_owned(), Some(6000)));
    }

    #[test]
    fn no_rules_are_a_baseline() {
        let mut schedule = FollowLeader::start(Plan { rules: Vec::new(), ..plan(&[]) }).unwrap();
        assert_eq!(decide(&mut schedule, 1000, &[1]), (String::new(), None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |pairs: &[(&str, &str)]| FollowLeader::start(plan(pairs)).err().unwrap();
        assert!(refused(&[("policy", "run")]).contains("stay"));
        assert!(refused(&[("look", "1ms")]).contains("10ms"));
        assert!(refused(&[("looks", "1s")]).contains("unknown"));
    }
}
