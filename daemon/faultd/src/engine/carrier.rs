//! What carries a fault out: rules for the packets of its target, or control of its processes. The rest of the engine
//! does not care which.

use faultd_kernel::{
    clock,
    control_group::{ControlId, ControlPlan},
    datapath::{Effects, RuleId},
};

use super::{
    active::ActiveFault,
    handle::{Application, EngineError},
    owner::rule_plans,
    port::{ProcessPort, RulePort},
    report::FaultReport,
};
use crate::{error_chain, fault::ProcessFault};

/// Looking for a target refuses those without processes of their own; this is for those who do not look.
const NO_PROCESSES: &str = "it has no processes of its own";

/// What a fault has in the kernel; nothing while its target is away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// As many for each interface of the target, in the order of those.
    pub(super) rules: Vec<InstalledRule>,
    /// Of a fault on processes.
    pub(super) control: Option<ControlId>,
}

/// A rule in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InstalledRule {
    id: RuleId,
    /// Whether it only keeps packets from the others: what it counts is not what the fault did.
    spares: bool,
}

/// Those who carry faults out.
pub(super) struct Carriers<P> {
    pub(super) rules: P,
    pub(super) processes: Box<dyn ProcessPort>,
}

/// What ending something gave.
pub(super) struct Ended {
    pub(super) cleared_ns: u64,
    pub(super) report: FaultReport,
    /// What could not be removed, one line each.
    pub(super) failures: Vec<String>,
}

impl<P: RulePort> Carriers<P> {
    /// Has a fault carried out as a whole, or not at all; it is given up between two of its rules when it is not
    /// wanted any more. Answers since when it holds.
    pub(super) fn install(
        &mut self,
        application: &Application,
        seed: u64,
        deadline_ns: Option<u64>,
        is_wanted: impl Fn() -> bool,
    ) -> Result<(Carried, u64), EngineError> {
        let not_applied =
            |reason: String| EngineError::NotApplied { target: application.target.name.clone(), reason };
        if let Some(fault) = application.spec.processes {
            let plan = control_plan(application, fault, deadline_ns);
            let begun = self.processes.begin(plan.ok_or_else(|| not_applied(NO_PROCESSES.to_owned()))?);
            let (control, since_ns) = begun.map_err(|error| not_applied(error_chain(&error)))?;
            return Ok((Carried { control: Some(control), ..Carried::default() }, since_ns));
        }
        let mut carried = Carried::default();
        let mut effective_ns = 0;
        for plan in rule_plans(application, seed, deadline_ns) {
            if !is_wanted() {
                self.uninstall(&carried);
                return Err(EngineError::ClearedMeanwhile(application.target.name.clone()));
            }
            let spares = plan.effects == Effects::default();
            match self.rules.add(plan) {
                Ok((id, since_ns)) => {
                    carried.rules.push(InstalledRule { id, spares });
                    effective_ns = since_ns;
                }
                Err(error) => {
                    self.uninstall(&carried);
                    return Err(not_applied(error_chain(&error)));
                }
            }
        }
        Ok((carried, effective_ns))
    }

    /// Ends what carries a fault out, going on after errors, which are collected.
    pub(super) fn uninstall(&mut self, carried: &Carried) -> Ended {
        let mut ended =
            Ended { cleared_ns: clock::monotonic_ns(), report: FaultReport::default(), failures: Vec::new() };
        // The last first: as long as a rule acts, packets are kept from it that are to be spared.
        for rule in carried.rules.iter().rev() {
            match self.rules.remove(rule.id) {
                Ok(_) if rule.spares => {}
                Ok((since_ns, last)) => {
                    ended.cleared_ns = since_ns;
                    ended.report.add(last);
                }
                Err(error) => ended.failures.push(error_chain(&error)),
            }
        }
        match carried.control.map(|control| self.processes.end(control)) {
            Some(Ok((since_ns, last))) => {
                ended.cleared_ns = since_ns;
                ended.report.add_processes(last);
            }
            Some(Err(error)) => ended.failures.push(error_chain(&error)),
            None => {}
        }
        ended
    }

    /// Changes what carries a fault out to what it is to be. Rules that are changed when one is refused stay so: the
    /// kernel refuses plans, and those of one fault are alike.
    pub(super) fn set(
        &mut self,
        fault: &ActiveFault,
        application: &Application,
        deadline_ns: Option<u64>,
    ) -> Result<(), String> {
        if let Some(of_processes) = application.spec.processes {
            // While its target is away there is nothing to change.
            let Some(control) = fault.carried.control else { return Ok(()) };
            let plan = control_plan(application, of_processes, deadline_ns);
            let changed = self.processes.set(control, plan.ok_or_else(|| NO_PROCESSES.to_owned())?);
            return changed.map_err(|error| error_chain(&error));
        }
        let plans = rule_plans(application, fault.seed, deadline_ns);
        let mut changes = fault.carried.rules.iter().zip(plans);
        changes
            .try_for_each(|(rule, plan)| self.rules.set(rule.id, plan))
            .map_err(|error| error_chain(&error))
    }

    /// What a fault did so far.
    pub(super) fn report(&mut self, fault: &ActiveFault) -> FaultReport {
        let mut sum = fault.kept.clone();
        for rule in fault.carried.rules.iter().filter(|rule| !rule.spares) {
            match self.rules.report(rule.id) {
                Ok(report) => sum.add(report),
                Err(error) => tracing::warn!(fault = fault.id, %error, "counters cannot be read"),
            }
        }
        match fault.carried.control.map(|control| self.processes.report(control)) {
            Some(Ok(report)) => sum.add_processes(report),
            Some(Err(error)) => tracing::warn!(fault = fault.id, %error, "counters cannot be read"),
            None => {}
        }
        sum
    }

    /// Whether a fault's target still has something that carries it out. An interface or a group that has gone has
    /// taken that along; others of its interfaces may be left.
    pub(super) fn is_anywhere(&mut self, fault: &ActiveFault) -> bool {
        match fault.carried.control {
            Some(control) => self.processes.is_there(control),
            None => {
                let mut interfaces = fault.application.target.interfaces.iter();
                interfaces.any(|interface| self.rules.is_there(interface))
            }
        }
    }
}

/// What is to be done to the processes of a target; nothing where it has none of its own.
fn control_plan(
    application: &Application,
    fault: ProcessFault,
    deadline_monotonic_ns: Option<u64>,
) -> Option<ControlPlan> {
    let processes = application.target.processes.as_ref()?;
    let (process, owner) = (processes.first, processes.owner.clone());
    Some(ControlPlan { process, owner, effect: fault.effect(), deadline_monotonic_ns })
}
