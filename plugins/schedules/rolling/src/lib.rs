//! The schedule `rolling`: the fault goes from member to member.
//!
//! Settings: `each` (10s), how long it stays on one, `pause` (0s) between two, `members` (`all`, `followers` or
//! `leaders`), and `repeat`. The rules' own targets do not count: all go to the member whose turn it is. Who is
//! in a round, and in which order, is set when the round begins, in the order of the cluster's description;
//! while nobody is known to be, the round waits.

use faultd_plugin_sdk::schedule::{Decision, Member, Observation, Plan, Role, Rule, Schedule};
use faultd_plugin_sdk::shape::{self, SECOND_NS, Window};
use faultd_plugin_sdk::{export_schedule, settings};

/// How often members are looked for while a round waits.
const LOOK_NS: u64 = 200_000_000;

/// Rounds of turns.
struct Rolling {
    window: Window,
    rules: Vec<Rule>,
    each_ns: u64,
    pause_ns: u64,
    members: Members,
    repeat: bool,
    round: Option<Round>,
}

/// Which members have a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Members {
    All,
    Followers,
    Leaders,
}

/// Members one after another.
struct Round {
    /// From the start of the window.
    begin_ns: u64,
    names: Vec<String>,
}

export_schedule!(Rolling);

impl Schedule for Rolling {
    fn start(plan: Plan) -> Result<Self, String> {
        let known = ["each", "members", "pause", "repeat"];
        let [each, members, pause, repeat] = settings::read(&plan.settings, known)?;
        let each_ns = shape::length_ns("each", each.as_deref(), 10 * SECOND_NS)?;
        let pause_ns = settings::duration_ns("pause", pause.as_deref(), 0)?;
        if pause_ns > 0 && pause_ns < shape::SHORTEST_NS {
            return Err("setting pause is 0s or at least 10ms".to_owned());
        }
        let (members, repeat) =
            (members_of(members.as_deref())?, settings::flag("repeat", repeat.as_deref())?);
        let window = Window::of(&plan)?;
        Ok(Self { window, rules: plan.rules, each_ns, pause_ns, members, repeat, round: None })
    }

    fn decide(&mut self, observation: &Observation) -> Decision {
        if self.rules.is_empty() {
            return Decision::nothing(None);
        }
        let window = self.window;
        window.play(observation.now_ns, |elapsed_ns| self.turn(elapsed_ns, &observation.members))
    }
}

impl Rolling {
    /// What holds, and until when.
    fn turn(&mut self, elapsed_ns: u64, members: &[Member]) -> (Vec<Rule>, Option<u64>) {
        if self.round.as_ref().is_none_or(|round| self.repeat && elapsed_ns >= self.end_of(round)) {
            // A round begins where the last one ended, not when the host came to ask.
            let begin_ns =
                self.round.as_ref().map_or(elapsed_ns, |round| self.last_end_of(round, elapsed_ns));
            let names = self.members.names(members);
            self.round = (!names.is_empty()).then_some(Round { begin_ns, names });
        }
        match &self.round {
            Some(round) => self.turn_of(round, elapsed_ns),
            None => (Vec::new(), Some(elapsed_ns.saturating_add(LOOK_NS))),
        }
    }

    fn turn_of(&self, round: &Round, elapsed_ns: u64) -> (Vec<Rule>, Option<u64>) {
        let number = elapsed_ns.saturating_sub(round.begin_ns) / self.turn_ns();
        let begin_ns = round.begin_ns.saturating_add(number.saturating_mul(self.turn_ns()));
        let clear_ns = begin_ns.saturating_add(self.each_ns);
        match usize::try_from(number).ok().and_then(|number| round.names.get(number)) {
            None => (Vec::new(), None),
            Some(_) if elapsed_ns >= clear_ns => (Vec::new(), Some(begin_ns.saturating_add(self.turn_ns()))),
            Some(name) => (self.rules.iter().map(|rule| rule.on(name)).collect(), Some(clear_ns)),
        }
    }

    fn turn_ns(&self) -> u64 {
        self.each_ns.saturating_add(self.pause_ns)
    }

    fn length_of(&self, round: &Round) -> u64 {
        self.turn_ns().saturating_mul(u64::try_from(round.names.len()).unwrap_or(u64::MAX))
    }

    fn end_of(&self, round: &Round) -> u64 {
        round.begin_ns.saturating_add(self.length_of(round))
    }

    /// The last time up to now at which this round would have ended, had it been repeated as it is.
    fn last_end_of(&self, round: &Round, elapsed_ns: u64) -> u64 {
        let since_end_ns = elapsed_ns.saturating_sub(self.end_of(round));
        elapsed_ns.saturating_sub(since_end_ns % self.length_of(round).max(1))
    }
}

impl Members {
    fn names(self, members: &[Member]) -> Vec<String> {
        members.iter().filter(|member| self.has(member.role)).map(|member| member.name.clone()).collect()
    }

    fn has(self, role: Role) -> bool {
        match self {
            Self::All => true,
            Self::Followers => role == Role::Follower,
            Self::Leaders => role == Role::Leader,
        }
    }
}

fn members_of(value: Option<&str>) -> Result<Members, String> {
    match value {
        None | Some("all") => Ok(Members::All),
        Some("followers") => Ok(Members::Followers),
        Some("leaders") => Ok(Members::Leaders),
        Some(other) => Err(format!("setting members is all, followers or leaders, not {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultd_plugin_sdk::testing;

    fn plan(pairs: &[(&str, &str)]) -> Plan {
        let plan = testing::plan_of(
            testing::total_loss_on("leader"),
            200 * SECOND_NS,
            Some(10 * SECOND_NS),
            Some(100 * SECOND_NS),
        );
        Plan { settings: testing::settings(pairs), ..plan }
    }

    /// Members n0, n1, ...; the one of this number leads.
    fn members(leader: usize) -> Vec<Member> {
        let role = |index| if index == leader { Role::Leader } else { Role::Follower };
        let member = |index| Member { name: format!("n{index}"), role: role(index), serves_clients: true };
        (0..3).map(member).collect()
    }

    fn decide(rolling: &mut Rolling, second: u64, members: Vec<Member>) -> (String, Option<u64>) {
        let now_ns = second * SECOND_NS;
        let decision = rolling.decide(&testing::observation(now_ns, members));
        let targets: Vec<String> = decision.active.into_iter().map(|rule| rule.target).collect();
        (targets.join(" "), decision.ask_again_at_ns.map(|at_ns| at_ns / SECOND_NS))
    }

    fn decisions(pairs: &[(&str, &str)], seconds: &[u64]) -> Vec<(String, Option<u64>)> {
        let mut rolling = Rolling::start(plan(pairs)).unwrap();
        seconds.iter().map(|second| decide(&mut rolling, *second, members(1))).collect()
    }

    fn expected(answers: &[(&str, u64)]) -> Vec<(String, Option<u64>)> {
        answers.iter().map(|(name, second)| ((*name).to_owned(), Some(*second))).collect()
    }

    #[test]
    fn each_member_has_a_turn_and_then_it_is_over() {
        assert_eq!(
            decisions(&[], &[0, 10, 19, 20, 30, 40]),
            expected(&[("", 10), ("n0", 20), ("n0", 20), ("n1", 30), ("n2", 40), ("", 110)])
        );
        assert_eq!(decisions(&[], &[110]), [(String::new(), None)]);
    }

    #[test]
    fn turns_have_pauses_between_them_and_rounds_repeat() {
        let settings = [("each", "4s"), ("pause", "1s"), ("members", "followers"), ("repeat", "true")];
        assert_eq!(
            decisions(&settings, &[10, 14, 15, 19, 20, 25, 31]),
            expected(&[("n0", 14), ("", 15), ("n2", 19), ("", 20), ("n0", 24), ("n2", 29), ("n0", 34)])
        );
    }

    #[test]
    fn a_round_waits_for_a_leader_and_the_next_has_the_new_one() {
        let mut rolling = Rolling::start(plan(&[("members", "leaders"), ("repeat", "true")])).unwrap();
        assert_eq!(decide(&mut rolling, 10, members(9)).0, "");
        assert_eq!(decide(&mut rolling, 11, members(2)), ("n2".to_owned(), Some(21)));
        assert_eq!(decide(&mut rolling, 15, members(0)), ("n2".to_owned(), Some(21)));
        assert_eq!(decide(&mut rolling, 21, members(0)), ("n0".to_owned(), Some(31)));
    }

    #[test]
    fn no_rules_are_a_baseline() {
        let mut rolling = Rolling::start(Plan { rules: Vec::new(), ..plan(&[]) }).unwrap();
        assert_eq!(decide(&mut rolling, 10, members(1)), (String::new(), None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |pairs: &[(&str, &str)]| Rolling::start(plan(pairs)).err().unwrap();
        assert!(refused(&[("members", "some")]).contains("followers"));
        assert!(refused(&[("pause", "1ms")]).contains("10ms"));
        assert!(refused(&[("node", "n1")]).contains("unknown"));
    }
}
