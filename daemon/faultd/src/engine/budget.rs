//! How many targets may be under fault at once: of all, and of one cluster. Pure; the engine asks, which alone knows
//! what holds.

use std::collections::BTreeSet;

use faultd_api::units::share_text;

/// What the operator allows, as far as it concerns one target. Missing limits nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Budget {
    /// The most targets, of whatever kind.
    pub most_targets: Option<usize>,
    /// The cluster of the target.
    pub cluster: Option<ClusterBudget>,
}

/// The share of a cluster that may be under fault.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterBudget {
    /// The full names of its members.
    pub members: BTreeSet<String>,
    /// The share of them, 0 to 1. A part of a member is none.
    pub share: f64,
}

/// Another target would be one too many.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BudgetSpent {
    /// Of all.
    #[error(
        "the policy allows faults on {most} {targets} at once, and there are as many: remove one first ('faultctl fault ls')",
        targets = if *.most == 1 { "target" } else { "targets" }
    )]
    Targets {
        /// How many may be.
        most: usize,
    },
    /// Of a cluster.
    #[error(
        "the policy allows faults on {} of a cluster at once, which is {most} of the {members} that {target} belongs to: \
         remove one first ('faultctl fault ls')",
        share_text(*.share)
    )]
    Cluster {
        /// Which one it would have been.
        target: String,
        /// The share that may be.
        share: f64,
        /// How many members that is.
        most: usize,
        /// How many there are.
        members: usize,
    },
}

impl Budget {
    /// Whether a fault on `target` is within it, when there are faults on the others.
    ///
    /// # Errors
    /// When it is one target too many. A second fault on one that has one already is no further target.
    pub fn check<'a>(&self, target: &'a str, mut under_fault: BTreeSet<&'a str>) -> Result<(), BudgetSpent> {
        if !under_fault.insert(target) {
            return Ok(());
        }
        if let Some(most) = self.most_targets.filter(|most| under_fault.len() > *most) {
            return Err(BudgetSpent::Targets { most });
        }
        let Some(ClusterBudget { members, share }) = &self.cluster else { return Ok(()) };
        let most = most_of(members.len(), *share);
        let slow = members.iter().filter(|member| under_fault.contains(member.as_str())).count();
        if slow <= most {
            return Ok(());
        }
        let (target, share, members) = (target.to_owned(), *share, members.len());
        Err(BudgetSpent::Cluster { target, share, most, members })
    }
}

/// How many of so many a share is, rounded down.
fn most_of(members: usize, share: f64) -> usize {
    // A third of three members is one, whatever the last digit of the share.
    const ROUNDING: f64 = 1e-6;
    (0..=members).rev().find(|most| precise(*most) <= precise(members) * share + ROUNDING).unwrap_or(0)
}

fn precise(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
        names.iter().copied().collect()
    }

    fn of_three(share: f64) -> Budget {
        let members = ["a", "b", "c"].map(str::to_owned).into();
        Budget { most_targets: None, cluster: Some(ClusterBudget { members, share }) }
    }

    #[test]
    fn without_limits_anything_goes() {
        assert_eq!(Budget::default().check("a", set(&["b", "c", "d"])), Ok(()));
    }

    #[test]
    fn one_target_too_many_is_refused_and_a_second_fault_on_one_is_not() {
        let budget = Budget { most_targets: Some(2), cluster: None };
        assert_eq!(budget.check("a", set(&["b"])), Ok(()));
        assert_eq!(budget.check("b", set(&["a", "b"])), Ok(()));
        let refusal = budget.check("c", set(&["a", "b"])).unwrap_err();
        assert!(
            refusal.to_string().starts_with("the policy allows faults on 2 targets at once"),
            "{refusal}"
        );
    }

    #[test]
    fn the_share_of_a_cluster_is_rounded_down_and_others_do_not_count() {
        for (share, most) in [(0.0, 0), (0.3333, 0), (1.0 / 3.0, 1), (0.5, 1), (0.67, 2), (1.0, 3)] {
            assert_eq!(most_of(3, share), most, "{share}");
        }
        assert_eq!(of_three(0.5).check("a", set(&["x", "y"])), Ok(()));
        let refusal = of_three(0.5).check("b", set(&["a", "x"])).unwrap_err().to_string();
        assert!(
            refusal.contains("50% of a cluster at once, which is 1 of the 3 that b belongs to"),
            "{refusal}"
        );
        assert!(of_three(0.0).check("a", set(&[])).is_err());
    }
}
