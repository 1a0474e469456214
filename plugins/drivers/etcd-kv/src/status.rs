//! Who leads, from what each member says of itself (`/v3/maintenance/status`).

use faultd_plugin_sdk::driver::Role;
use serde::Deserialize;

/// What one member says. Ids are decimal text: the gateway writes 64-bit numbers so.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Status {
    header: Header,
    /// Id of the member that it follows; absent or `0` while there is none.
    #[serde(default)]
    leader: String,
    #[serde(default, rename = "raftTerm")]
    raft_term: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Header {
    member_id: String,
}

impl Status {
    fn claims_to_lead(&self) -> bool {
        self.leader == self.header.member_id
    }

    fn knows_a_leader(&self) -> bool {
        !matches!(self.leader.as_str(), "" | "0")
    }

    fn term(&self) -> u64 {
        self.raft_term.parse().unwrap_or(0)
    }
}

/// The answer of a member, if it is one.
pub fn parse(status: u16, body: &[u8]) -> Option<Status> {
    if status != 200 {
        return None;
    }
    serde_json::from_slice(body).ok()
}

/// The role of each member, from the answers in the order of the members; missing where there was none.
pub fn roles(answers: &[Option<Status>]) -> Vec<Role> {
    // A leader that was cut off believes in itself until it hears of a newer term.
    let newest_claim =
        answers.iter().flatten().filter(|status| status.claims_to_lead()).map(Status::term).max();
    let role = |answer: &Option<Status>| match answer {
        Some(status) if status.claims_to_lead() && Some(status.term()) == newest_claim => Role::Leader,
        Some(status) if status.knows_a_leader() && !status.claims_to_lead() => Role::Follower,
        _ => Role::Unknown,
    };
    answers.iter().map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(member: &str, leader: &str, term: u64) -> Option<Status> {
        let header = Header { member_id: member.to_owned() };
        Some(Status { header, leader: leader.to_owned(), raft_term: term.to_string() })
    }

    #[test]
    fn the_answer_of_etcd_3_4_is_understood() {
        let body = br#"{"header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437",
            "revision":"1","raft_term":"2"},"version":"3.4.23","dbSize":"20480","leader":"10276657743932975437",
            "raftIndex":"4","raftTerm":"2","raftAppliedIndex":"4","dbSizeInUse":"16384"}"#;
        let status = parse(200, body);
        assert_eq!(status, answer("10276657743932975437", "10276657743932975437", 2));
        assert_eq!(roles(&[status]), [Role::Leader]);
    }

    #[test]
    fn an_error_or_something_else_is_no_answer() {
        assert_eq!(parse(503, br#"{"header":{"member_id":"1"}}"#), None);
        assert_eq!(parse(200, b"<html>"), None);
    }

    #[test]
    fn members_that_are_down_or_have_no_leader_are_unknown() {
        assert_eq!(
            roles(&[answer("1", "2", 5), None, answer("3", "", 6), answer("4", "0", 6)]),
            [Role::Follower, Role::Unknown, Role::Unknown, Role::Unknown]
        );
    }

    #[test]
    fn of_two_who_claim_to_lead_the_newer_term_wins() {
        let answers = [answer("1", "1", 4), answer("2", "2", 5), answer("3", "2", 5)];
        assert_eq!(roles(&answers), [Role::Unknown, Role::Leader, Role::Follower]);
    }
}
