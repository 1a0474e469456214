//! Who leads, from what each member says of itself.

use faultd_plugin_sdk::driver::Role;

/// What one member says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Its own id.
    pub member: u64,
    /// Id of the member that it follows; 0 while there is none.
    pub leader: u64,
    /// Raft's count of elections, as far as it has heard of them.
    pub term: u64,
}

impl Status {
    fn claims_to_lead(self) -> bool {
        self.knows_a_leader() && self.leader == self.member
    }

    fn knows_a_leader(self) -> bool {
        self.leader != 0
    }
}

/// The role of each member, from the answers in the order of the members; missing where there was none.
pub fn roles(answers: &[Option<Status>]) -> Vec<Role> {
    // A leader that was cut off believes in itself until it hears of a newer term.
    let claims = answers.iter().flatten().filter(|status| status.claims_to_lead());
    let newest_claim = claims.map(|status| status.term).max();
    let role = |answer: &Option<Status>| match answer {
        Some(status) if status.claims_to_lead() && Some(status.term) == newest_claim => Role::Leader,
        Some(status) if status.knows_a_leader() && !status.claims_to_lead() => Role::Follower,
        _ => Role::Unknown,
    };
    answers.iter().map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(member: u64, leader: u64, term: u64) -> Option<Status> {
        Some(Status { member, leader, term })
    }

    #[test]
    fn members_that_are_down_or_have_no_leader_are_unknown() {
        assert_eq!(
            roles(&[answer(1, 2, 5), None, answer(3, 0, 6), answer(0, 0, 7)]),
            [Role::Follower, Role::Unknown, Role::Unknown, Role::Unknown]
        );
    }

    #[test]
    fn of_two_who_claim_to_lead_the_newer_term_wins() {
        let answers = [answer(1, 1, 4), answer(2, 2, 5), answer(3, 2, 5)];
        assert_eq!(roles(&answers), [Role::Unknown, Role::Leader, Role::Follower]);
    }
}
