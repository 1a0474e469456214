//! What a rule is, as callers say it and as they are told about it.

use std::{fmt, time::Duration};

use faultd_abi::{HOOK_EGRESS, HOOK_INGRESS, LOSS_ALWAYS};

use super::DatapathError;
use crate::{holding::HoldingKind, namespace::Namespace};

/// The side of an interface at which packets are caught, seen from the interface. At the host side
/// of a container's veth, what the container sends is caught at ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Packets that come in through the interface.
    Ingress,
    /// Packets that go out through the interface.
    Egress,
}

impl Hook {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    pub(crate) fn abi(self) -> u32 {
        match self {
            Self::Ingress => HOOK_INGRESS,
            Self::Egress => HOOK_EGRESS,
        }
    }
}

/// The interface under fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceReference {
    /// The namespace in which it is.
    pub namespace: Namespace,
    /// Its index there.
    pub index: u32,
    /// Its name, for people.
    pub name: String,
}

/// What a rule shall do. Without delay and loss it only counts.
#[derive(Clone, Debug, PartialEq)]
pub struct RulePlan {
    /// Where packets are caught.
    pub interface: InterfaceReference,
    /// At which side of it.
    pub hook: Hook,
    /// How long each packet that is not lost waits.
    pub delay: Option<Duration>,
    /// The ratio of packets that are lost, from 0 to 1.
    pub loss: Option<f64>,
    /// The same seed loses the same packets, counted from the rule's beginning.
    pub seed: u64,
    /// Which device makes packets wait; needed with a delay, ignored without.
    pub holding: Option<HoldingKind>,
    /// When the rule ends by itself, on [`crate::clock::monotonic_ns`]; nothing: when it is removed.
    pub deadline_monotonic_ns: Option<u64>,
}

impl RulePlan {
    pub(super) fn check(&self) -> Result<(), DatapathError> {
        if let Some(loss) = self.loss
            && !(0.0..=1.0).contains(&loss)
        {
            return Err(DatapathError::InvalidLoss(loss));
        }
        match (self.delay, self.holding) {
            (Some(_), None) => Err(DatapathError::NoHoldingDevice),
            _ => Ok(()),
        }
    }

    /// The program loses a packet if 32 random bits are below this.
    pub(super) fn loss_threshold(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "the ratio was checked to be from 0 to 1, and 2^32 is exact in a double"
        )]
        let threshold = (self.loss.unwrap_or(0.0) * LOSS_ALWAYS as f64).round() as u64;
        threshold
    }
}

/// Number of a rule, never used twice by one datapath.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

impl RuleId {
    /// The id with this number: for those who stand in for a datapath in tests.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A rule that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedRule {
    /// Its number.
    pub id: RuleId,
    /// Since when, on [`crate::clock::monotonic_ns`].
    pub effective_at_ns: u64,
}

/// A rule that does not hold any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedRule {
    /// What it did. Packets that netem still holds are counted as delayed, not as returned.
    pub counters: RuleCounters,
    /// Since when no packet falls under it, on [`crate::clock::monotonic_ns`].
    pub cleared_at_ns: u64,
}

/// A rule and since when it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleState {
    /// Its number.
    pub id: RuleId,
    /// What it does, with the deadline as it is now.
    pub plan: RulePlan,
    /// Since when, on [`crate::clock::monotonic_ns`].
    pub effective_at_ns: u64,
}

/// What a rule did, in packets as the kernel sees them: one of segmentation offload counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounters {
    /// Packets that the rule looked at.
    pub seen: u64,
    /// Of those seen: IPv4 or IPv6, no neighbour discovery, while the rule was in force.
    pub matched: u64,
    /// Bytes of the matched packets, link-layer header included.
    pub matched_bytes: u64,
    /// Lost on purpose.
    pub dropped: u64,
    /// Sent to the holding device.
    pub delayed: u64,
    /// Came back from the holding device.
    pub returned: u64,
    /// Passed because the deadline or the lease was over.
    pub expired: u64,
    /// Lost or passed untreated although nobody asked for it, as far as that is known.
    pub unintended: u64,
}

impl RuleCounters {
    pub(super) fn add(&mut self, part: &faultd_abi::RuleCounters) {
        self.seen = self.seen.wrapping_add(part.seen);
        self.matched = self.matched.wrapping_add(part.matched);
        self.matched_bytes = self.matched_bytes.wrapping_add(part.matched_bytes);
        self.dropped = self.dropped.wrapping_add(part.dropped);
        self.delayed = self.delayed.wrapping_add(part.delayed);
        self.returned = self.returned.wrapping_add(part.returned);
        self.expired = self.expired.wrapping_add(part.expired);
        self.unintended = self.unintended.wrapping_add(part.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::{DatapathError, Hook, InterfaceReference, RulePlan};
    use crate::namespace::Namespace;

    fn plan(loss: f64) -> RulePlan {
        let namespace = Namespace::current().expect("own namespace");
        let interface = InterfaceReference { namespace, index: 1, name: "lo".to_owned() };
        let (delay, holding, deadline_monotonic_ns) = (None, None, None);
        RulePlan {
            interface,
            hook: Hook::Egress,
            delay,
            loss: Some(loss),
            seed: 1,
            holding,
            deadline_monotonic_ns,
        }
    }

    #[test]
    fn ratios_outside_of_zero_to_one_are_refused() {
        for loss in [-0.01, 1.01, f64::NAN, f64::INFINITY] {
            assert!(matches!(plan(loss).check(), Err(DatapathError::InvalidLoss(_))), "{loss}");
        }
        assert!(plan(0.2).check().is_ok());
    }

    #[test]
    fn thresholds_are_exact_at_both_ends() {
        assert_eq!(plan(0.0).loss_threshold(), 0);
        assert_eq!(plan(1.0).loss_threshold(), 1 << 32);
        assert_eq!(plan(0.5).loss_threshold(), 1 << 31);
    }

    #[test]
    fn a_delay_needs_a_device() {
        let mut plan = plan(0.0);
        plan.delay = Some(std::time::Duration::from_millis(1));
        assert!(matches!(plan.check(), Err(DatapathError::NoHoldingDevice)));
    }
}
