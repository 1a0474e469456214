//! What the engine needs of the kernel, as narrow as that is, so that tests can stand in for it.

use faultd_api::fault::PacketCounts;
use faultd_kernel::{
    datapath::{Datapath, DatapathError, InterfaceReference, RuleCounters, RuleId, RulePlan},
    link,
};

/// Rules in the kernel.
pub trait RulePort: Send + 'static {
    /// Makes ready for rules on this interface, so that the first one takes effect at once.
    ///
    /// # Errors
    /// When the kernel refuses the programs.
    fn prepare(&mut self, interface: &InterfaceReference) -> Result<(), DatapathError>;
    /// Takes one [`RulePort::prepare`] back.
    fn release(&mut self, interface: &InterfaceReference);
    /// Installs a rule; when this returns, it holds. Answers since when, on the monotonic clock.
    ///
    /// # Errors
    /// When the kernel refuses; nothing is left behind then.
    fn add(&mut self, plan: RulePlan) -> Result<(RuleId, u64), DatapathError>;
    /// Removes a rule; when this returns, it no longer holds. Answers since when, and the last counts.
    ///
    /// # Errors
    /// When something of the rule could not be removed; the rule does not hold any more even then.
    fn remove(&mut self, rule: RuleId) -> Result<(u64, PacketCounts), DatapathError>;
    /// Whether the interface is still there: one that has gone has taken its rules along.
    fn is_there(&mut self, interface: &InterfaceReference) -> bool;
    /// What the rule did so far.
    ///
    /// # Errors
    /// When the rule is not there or its counters cannot be read.
    fn counts(&mut self, rule: RuleId) -> Result<PacketCounts, DatapathError>;
}

impl RulePort for Datapath {
    fn prepare(&mut self, interface: &InterfaceReference) -> Result<(), DatapathError> {
        Datapath::prepare(self, &interface.namespace)
    }

    fn release(&mut self, interface: &InterfaceReference) {
        Datapath::release(self, &interface.namespace);
    }

    fn add(&mut self, plan: RulePlan) -> Result<(RuleId, u64), DatapathError> {
        let added = self.add_rule(plan)?;
        Ok((added.id, added.effective_at_ns))
    }

    fn remove(&mut self, rule: RuleId) -> Result<(u64, PacketCounts), DatapathError> {
        let removed = self.remove_rule(rule)?;
        Ok((removed.cleared_at_ns, packet_counts(&removed.counters)))
    }

    fn is_there(&mut self, interface: &InterfaceReference) -> bool {
        link::by_index(&interface.namespace, interface.index).is_ok_and(|link| link.name == interface.name)
    }

    fn counts(&mut self, rule: RuleId) -> Result<PacketCounts, DatapathError> {
        Ok(packet_counts(&self.counters(rule)?))
    }
}

fn packet_counts(counters: &RuleCounters) -> PacketCounts {
    PacketCounts {
        seen: counters.seen,
        matched: counters.matched,
        delayed: counters.delayed,
        dropped: counters.dropped,
        expired: counters.expired,
        unintended: counters.unintended,
    }
}
