//! Targets that move: a container that is started again, made anew or connected to another network. Its fault
//! stays the same one; only its rules are others.

use faultd_api::fault::Direction;
use faultd_kernel::datapath::{InterfaceReference, RuleId};

use super::{
    handle::{Application, EngineError},
    owner::Owner,
    port::RulePort,
};
use crate::target::{ResolvedTarget, Whereabouts};

impl<P: RulePort> Owner<P> {
    /// Brings a fault to where its target is now. One that has ended meanwhile stays so.
    pub(super) fn move_fault(&mut self, id: &str, whereabouts: Whereabouts) {
        let number = self.faults.iter().find(|(_, fault)| fault.id == id).map(|(number, _)| *number);
        let Some(number) = number else { return };
        match whereabouts {
            Whereabouts::There(target) => self.follow_target(number, target),
            Whereabouts::Away(why) => self.leave_target(number, &why),
        }
        self.tell_followed();
    }

    /// Takes the rules of a fault away, which hold nothing any more or would hold somebody else.
    fn leave_target(&mut self, number: u64, why: &str) {
        let Some(fault) = self.faults.get_mut(&number).filter(|fault| !fault.away) else { return };
        fault.away = true;
        // They keep the namespace of a container that has ended.
        fault.application.target.interfaces.clear();
        let rules = std::mem::take(&mut fault.rules);
        tracing::info!(
            fault = fault.id,
            target = fault.application.target.name,
            why,
            "the container is away, and its fault waits for it"
        );
        self.uninstall_and_keep(number, &rules);
    }

    fn follow_target(&mut self, number: u64, target: ResolvedTarget) {
        let Some(fault) = self.faults.get_mut(&number) else { return };
        let known = &mut fault.application.target;
        if known.name != target.name {
            return;
        }
        if !fault.away && are_the_same(&known.interfaces, &target.interfaces) {
            let interfaces = std::mem::take(&mut known.interfaces);
            *known = ResolvedTarget { interfaces, ..target };
            return;
        }
        match self.move_rules(number, target) {
            Ok(interfaces) => self.note_followed(number, &interfaces),
            Err(why) => self.note_not_followed(number, &why.to_string()),
        }
    }

    /// Installs rules where there are none yet, and removes those that are where the target is not any more.
    /// The others stay as they are. Answers where the fault holds now.
    fn move_rules(&mut self, number: u64, target: ResolvedTarget) -> Result<String, EngineError> {
        let Some(fault) = self.faults.get(&number) else { return Ok(String::new()) };
        let (seed, deadline_ns) = (fault.seed, fault.deadline_ns);
        let before = fault.application.clone();
        let rules = of_interfaces(&before, &fault.rules);
        let mut application = Application { target, ..before };
        let is_known = |interface: &InterfaceReference| rules.iter().any(|(known, _)| known == interface);
        let wanted = std::mem::take(&mut application.target.interfaces);
        let (stay, come): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_known);
        application.target.interfaces = come;
        self.refuse_occupied(&application, Some(number))?;
        let (new_rules, _effective_ns) = self.install(&application, seed, deadline_ns)?;

        let (kept, gone): (Vec<_>, Vec<_>) = rules.into_iter().partition(|(known, _)| stay.contains(known));
        let (mut interfaces, kept): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
        interfaces.append(&mut application.target.interfaces);
        application.target.interfaces = interfaces;
        let names: Vec<&str> =
            application.target.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        let names = names.join(",");
        if let Some(fault) = self.faults.get_mut(&number) {
            fault.application = application;
            fault.rules = kept.into_iter().flatten().chain(new_rules).collect();
        }
        let gone: Vec<RuleId> = gone.into_iter().flat_map(|(_, rules)| rules).collect();
        self.uninstall_and_keep(number, &gone);
        Ok(names)
    }

    fn note_followed(&mut self, number: u64, interfaces: &str) {
        let Some(fault) = self.faults.get_mut(&number) else { return };
        (fault.away, fault.refused_to_follow) = (false, false);
        fault.follows = fault.follows.saturating_add(1);
        let target = fault.application.target.name.as_str();
        self.metrics.target_followed(target);
        tracing::info!(fault = fault.id, target, interfaces, "the fault follows its container");
    }

    /// It is tried again with the next look, and told once.
    fn note_not_followed(&mut self, number: u64, why: &str) {
        let Some(fault) = self.faults.get_mut(&number) else { return };
        if !std::mem::replace(&mut fault.refused_to_follow, true) {
            let target = fault.application.target.name.as_str();
            tracing::error!(fault = fault.id, target, why, "the fault cannot follow its container");
        }
        self.leave_target(number, why);
    }

    /// Removes rules of a fault and keeps what they counted.
    fn uninstall_and_keep(&mut self, number: u64, rules: &[RuleId]) {
        let (_cleared_ns, report, failures) = self.uninstall(rules);
        let Some(fault) = self.faults.get_mut(&number) else { return };
        for failure in failures {
            tracing::error!(fault = fault.id, failure, "clean-up failed");
        }
        fault.kept.merge(report);
    }
}

/// Whether they are the same ones, in whatever order.
fn are_the_same(known: &[InterfaceReference], now: &[InterfaceReference]) -> bool {
    known.len() == now.len() && now.iter().all(|interface| known.contains(interface))
}

/// Which rules of a fault are at which interface.
fn of_interfaces(application: &Application, rules: &[RuleId]) -> Vec<(InterfaceReference, Vec<RuleId>)> {
    let hooks = if application.spec.direction == Direction::Both { 2 } else { 1 };
    let at_each = hooks * application.selectors().len();
    let rules = rules.chunks(at_each.max(1)).map(<[RuleId]>::to_vec);
    application.target.interfaces.iter().cloned().zip(rules).collect()
}
