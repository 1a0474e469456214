//! Who leads a cluster now, for as long as somebody watches it: a role that nobody looks at any more
//! would soon be a wrong one.

use std::collections::BTreeSet;

use prometheus::GaugeVec;

const ROLES: [&str; 3] = ["leader", "follower", "unknown"];

/// The roles of one cluster's members; their series go when this is dropped.
pub struct RoleMetrics {
    family: GaugeVec,
    cluster: String,
    members: BTreeSet<String>,
}

impl RoleMetrics {
    pub(super) fn new(family: GaugeVec, cluster: &str) -> Self {
        Self { family, cluster: cluster.to_owned(), members: BTreeSet::new() }
    }

    /// Shows the role of a member: `leader`, `follower` or `unknown`.
    pub fn set(&mut self, member: &str, role: &str) {
        self.members.insert(member.to_owned());
        for name in ROLES {
            let value = if name == role { 1.0 } else { 0.0 };
            self.family.with_label_values(&[self.cluster.as_str(), member, name]).set(value);
        }
    }
}

impl Drop for RoleMetrics {
    fn drop(&mut self) {
        for member in &self.members {
            for role in ROLES {
                // Every one of them was set, so that there is nothing that could be missing.
                let _ = self.family.remove_label_values(&[self.cluster.as_str(), member, role]);
            }
        }
    }
}
