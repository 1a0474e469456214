//! What the engine needs of the kernel, as narrow as that is, so that tests can stand in for it.

use faultd_kernel::{
    control_group::{ControlGroupError, ControlId, ControlPlan, ControlReport, ProcessControl},
    datapath::{Datapath, DatapathError, InterfaceReference, RuleId, RulePlan, RuleReport},
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
    /// Changes what a rule does and to which packets, at once for each packet.
    ///
    /// # Errors
    /// When the kernel refuses; the rule holds as it was, then.
    fn set(&mut self, rule: RuleId, plan: RulePlan) -> Result<(), DatapathError>;
    /// Removes a rule; when this returns, it no longer holds. Answers since when, and the last report.
    ///
    /// # Errors
    /// When something of the rule could not be removed; the rule does not hold any more even then.
    fn remove(&mut self, rule: RuleId) -> Result<(u64, RuleReport), DatapathError>;
    /// Whether the interface is still there: one that has gone has taken its rules along.
    fn is_there(&mut self, interface: &InterfaceReference) -> bool;
    /// What the rule did so far.
    ///
    /// # Errors
    /// When the rule is not there or its counters cannot be read.
    fn report(&mut self, rule: RuleId) -> Result<RuleReport, DatapathError>;
}

/// Processes that are paused or throttled.
pub trait ProcessPort: Send + 'static {
    /// Begins; when this returns, it holds. Answers since when, on the monotonic clock.
    ///
    /// # Errors
    /// When the target has no control group of its own or the kernel refuses; nothing is left behind then.
    fn begin(&mut self, plan: ControlPlan) -> Result<(ControlId, u64), ControlGroupError>;
    /// Changes what is done to the same processes.
    ///
    /// # Errors
    /// When the kernel refuses; it holds as it was, then.
    fn set(&mut self, control: ControlId, plan: ControlPlan) -> Result<(), ControlGroupError>;
    /// Ends; when this returns, processes run as before. Answers since when, and the last report.
    ///
    /// # Errors
    /// When there is no such control.
    fn end(&mut self, control: ControlId) -> Result<(u64, ControlReport), ControlGroupError>;
    /// What it did so far, and whether it still holds.
    ///
    /// # Errors
    /// When there is no such control.
    fn report(&mut self, control: ControlId) -> Result<ControlReport, ControlGroupError>;
    /// Whether it still holds: a group that has gone has taken it along, and so has a guard.
    fn is_there(&mut self, control: ControlId) -> bool;
}

impl ProcessPort for ProcessControl {
    fn begin(&mut self, plan: ControlPlan) -> Result<(ControlId, u64), ControlGroupError> {
        ProcessControl::begin(self, plan)
    }

    fn set(&mut self, control: ControlId, plan: ControlPlan) -> Result<(), ControlGroupError> {
        ProcessControl::set(self, control, plan).map(drop)
    }

    fn end(&mut self, control: ControlId) -> Result<(u64, ControlReport), ControlGroupError> {
        ProcessControl::end(self, control)
    }

    fn report(&mut self, control: ControlId) -> Result<ControlReport, ControlGroupError> {
        ProcessControl::report(self, control)
    }

    fn is_there(&mut self, control: ControlId) -> bool {
        ProcessControl::is_there(self, control)
    }
}

impl RulePort for Datapath {
    fn prepare(&mut self, interface: &InterfaceReference) -> Result<(), DatapathError> {
        self.prepare_interface(interface)
    }

    fn release(&mut self, interface: &InterfaceReference) {
        self.release_interface(interface);
    }

    fn add(&mut self, plan: RulePlan) -> Result<(RuleId, u64), DatapathError> {
        let added = self.add_rule(plan)?;
        Ok((added.id, added.effective_at_ns))
    }

    fn remove(&mut self, rule: RuleId) -> Result<(u64, RuleReport), DatapathError> {
        let removed = self.remove_rule(rule)?;
        Ok((removed.cleared_at_ns, removed.report))
    }

    fn set(&mut self, rule: RuleId, plan: RulePlan) -> Result<(), DatapathError> {
        self.set_rule(rule, plan)
    }

    fn is_there(&mut self, interface: &InterfaceReference) -> bool {
        link::by_index(&interface.namespace, interface.index).is_ok_and(|link| link.name == interface.name)
    }

    fn report(&mut self, rule: RuleId) -> Result<RuleReport, DatapathError> {
        Datapath::report(self, rule)
    }
}
