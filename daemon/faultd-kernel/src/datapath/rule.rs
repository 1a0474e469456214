//! What a rule is, as callers say it and as they are told about it.

use std::{fmt, time::Duration};

use faultd_abi::{HOOK_EGRESS, HOOK_INGRESS};

use super::{DatapathError, Effects, Selector, proof::DelayMeasured};
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

/// Where the target is, seen from the interface under fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TargetSide {
    /// At the other end of it: the interface is the host side of the target's veth.
    #[default]
    Beyond,
    /// On this side of it: the interface is the target's own.
    Here,
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
    /// Where the target is, seen from it.
    pub target: TargetSide,
}

impl InterfaceReference {
    /// Where to catch what leaves the target.
    #[must_use]
    pub fn hook_for_leaving(&self) -> Hook {
        match self.target {
            TargetSide::Beyond => Hook::Ingress,
            TargetSide::Here => Hook::Egress,
        }
    }

    /// Where to catch what enters the target.
    #[must_use]
    pub fn hook_for_entering(&self) -> Hook {
        match self.target {
            TargetSide::Beyond => Hook::Egress,
            TargetSide::Here => Hook::Ingress,
        }
    }
}

/// What shares and numbers of packets count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Packets as they would be on a wire. A super-packet of segmentation offload is looked at as a
    /// whole and cut only if some, but not all, of its packets are hit.
    #[default]
    WirePacket,
    /// Packets as the kernel handles them: cheaper, and coarser by up to 45 times.
    KernelPacket,
}

/// What a rule shall do to which packets, until when.
#[derive(Clone, Debug, PartialEq)]
pub struct RulePlan {
    /// Where packets are caught.
    pub interface: InterfaceReference,
    /// At which side of it.
    pub hook: Hook,
    /// Which packets.
    pub selector: Selector,
    /// Of rules that fit a packet, the one with the lowest number acts; among equals, the older.
    pub priority: u32,
    /// What happens to them.
    pub effects: Effects,
    /// What shares count.
    pub unit: Unit,
    /// The same seed gives the same packets the same fate, counted from the rule's beginning.
    pub seed: u64,
    /// Which device makes packets wait; needed where [`Effects::holds`] or [`Effects::needs_relay`].
    pub holding: Option<HoldingKind>,
    /// When the rule ends by itself, on [`crate::clock::monotonic_ns`]; nothing: when it is removed.
    pub deadline_monotonic_ns: Option<u64>,
}

impl RulePlan {
    /// A rule for all packets of a hook, that only counts them until something is set.
    #[must_use]
    pub fn new(interface: InterfaceReference, hook: Hook) -> Self {
        Self {
            interface,
            hook,
            selector: Selector::default(),
            priority: 0,
            effects: Effects::default(),
            unit: Unit::default(),
            seed: 0,
            holding: None,
            deadline_monotonic_ns: None,
        }
    }

    /// Whether the packets of its hook leave the target.
    #[must_use]
    pub fn leaves_target(&self) -> bool {
        self.hook == self.interface.hook_for_leaving()
    }

    /// The device that the effects need, if they need one.
    pub(super) fn needed_holding(&self) -> Option<HoldingKind> {
        if self.effects.holds() || self.effects.needs_relay() { self.holding } else { None }
    }

    pub(super) fn check(&self) -> Result<(), DatapathError> {
        self.effects.check()?;
        self.selector.check()?;
        match self.holding {
            None if self.effects.holds() || self.effects.needs_relay() => Err(DatapathError::NoHoldingDevice),
            Some(kind) => self.check_holding(kind),
            None => Ok(()),
        }
    }

    fn check_holding(&self, kind: HoldingKind) -> Result<(), DatapathError> {
        match kind.cannot(&self.effects) {
            Some(what) if self.needed_holding().is_some() => Err(DatapathError::BackendCannot { kind, what }),
            _ => Ok(()),
        }
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
#[derive(Clone, Debug, PartialEq)]
pub struct RemovedRule {
    /// What it did. Packets that the kernel still holds are counted as held, not as returned.
    pub report: RuleReport,
    /// Since when no packet falls under it, on [`crate::clock::monotonic_ns`]. Where the kernel holds
    /// packets, later ones only wait for those, so that their order is kept.
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

/// What a rule did so far, and how exactly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleReport {
    /// What became of packets.
    pub counters: RuleCounters,
    /// How long held packets were really held; nothing where none was.
    pub delay: Option<DelayMeasured>,
    /// When the first packet was affected, on [`crate::clock::monotonic_ns`].
    pub first_affected_at_ns: Option<u64>,
}

/// What a rule did, in packets of its [`Unit`] where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounters {
    /// Packets, as the kernel handles them, that passed the hook since the rule is there.
    pub seen: u64,
    /// Packets to which the rule applied.
    pub matched: u64,
    /// Bytes of the matched packets, link-layer header included.
    pub matched_bytes: u64,
    /// Lost on purpose.
    pub dropped: u64,
    /// Lost because the bottleneck's queue was full, which is on purpose too.
    pub overflowed: u64,
    /// Second copies that were made.
    pub duplicated: u64,
    /// Spoilt.
    pub corrupted: u64,
    /// Sent ahead of those that wait.
    pub reordered: u64,
    /// Super-packets that were cut.
    pub cut: u64,
    /// Sent to the holding device, as the kernel handles them.
    pub delayed: u64,
    /// Came back from the holding device, as the kernel handles them.
    pub returned: u64,
    /// Passed because the deadline or the lease was over.
    pub expired: u64,
    /// Lost or passed untreated although nobody asked for it, as far as that is known.
    pub unintended: u64,
}

impl RuleCounters {
    pub(super) fn add(&mut self, part: &faultd_abi::RuleCounters) {
        let sums = [
            (&mut self.matched, part.matched),
            (&mut self.matched_bytes, part.matched_bytes),
            (&mut self.dropped, part.dropped),
            (&mut self.overflowed, part.overflowed),
            (&mut self.duplicated, part.duplicated),
            (&mut self.corrupted, part.corrupted),
            (&mut self.reordered, part.reordered),
            (&mut self.cut, part.cut),
            (&mut self.delayed, part.held),
            (&mut self.returned, part.returned),
            (&mut self.expired, part.expired),
            (&mut self.unintended, part.failed),
        ];
        for (sum, more) in sums {
            *sum = sum.wrapping_add(more);
        }
    }
}

/// A threshold of the programs: the ratio times 2^32. The ratio was checked to be from 0 to 1.
pub(super) fn threshold(ratio: f64) -> u64 {
    const ONE: f64 = 4_294_967_296.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 2^32, which is exact in a double"
    )]
    let threshold = (ratio * ONE).round() as u64;
    threshold
}

/// Nanoseconds that so many bytes take at a rate.
pub(super) fn transfer_time(bytes: u64, bytes_per_second: u64) -> Duration {
    let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{DatapathError, Effects, Hook, InterfaceReference, RulePlan, TargetSide, threshold};
    use crate::{datapath::Delay, namespace::Namespace};
    use std::time::Duration;

    fn interface(target: TargetSide) -> InterfaceReference {
        let namespace = Namespace::current().expect("own namespace");
        InterfaceReference { namespace, index: 1, name: "lo".to_owned(), target }
    }

    #[test]
    fn thresholds_are_exact_at_both_ends() {
        assert_eq!((threshold(0.0), threshold(0.5), threshold(1.0)), (0, 1 << 31, 1 << 32));
    }

    #[test]
    fn a_delay_needs_a_device() {
        let delay = Some(Delay { base: Duration::from_millis(1), jitter: None });
        let plan = RulePlan {
            effects: Effects { delay, ..Effects::default() },
            ..RulePlan::new(interface(TargetSide::Beyond), Hook::Ingress)
        };
        assert!(matches!(plan.check(), Err(DatapathError::NoHoldingDevice)));
    }

    #[test]
    fn what_leaves_a_target_beyond_a_veth_comes_in_through_it() {
        let plan = |side, hook| RulePlan::new(interface(side), hook);
        assert!(plan(TargetSide::Beyond, Hook::Ingress).leaves_target());
        assert!(!plan(TargetSide::Beyond, Hook::Egress).leaves_target());
        assert!(plan(TargetSide::Here, Hook::Egress).leaves_target());
    }
}
