//! Targets that move: a container that is started again, made anew or connected to another network. Its fault
//! stays the same one; only what carries it out is other.

use faultd_api::fault::Direction;
use faultd_kernel::datapath::InterfaceReference;

use super::{
    carrier::{Carried, Ended, InstalledRule},
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

    /// Takes away what carries a fault out, which holds nothing any more or would hold somebody else.
    fn leave_target(&mut self, number: u64, why: &str) {
        let Some(fault) = self.faults.get_mut(&number).filter(|fault| !fault.away) else { return };
        fault.away = true;
        // They keep the namespace of a container that has ended.
        fault.application.target.interfaces.clear();
        let carried = std::mem::take(&mut fault.carried);
        tracing::info!(
            fault = fault.id,
            target = fault.application.target.name,
            why,
            "the container is away, and its fault waits for it"
        );
        self.uninstall_and_keep(number, &carried);
    }

    fn follow_target(&mut self, number: u64, target: ResolvedTarget) {
        let Some(fault) = self.faults.get_mut(&number) else { return };
        if fault.application.target.name != target.name {
            return;
        }
        let is_on_processes = fault.application.spec.processes.is_some();
        // What is to be spared there was not asked for, when the fault was let in.
        if !is_on_processes && target.shares_host && !fault.application.target.shares_host {
            return self
                .note_not_followed(number, "it is in the network of the host now: add the fault again");
        }
        let known = &mut fault.application.target;
        let stays = match is_on_processes {
            true => known.processes == target.processes,
            false => are_the_same(&known.interfaces, &target.interfaces),
        };
        if !fault.away && stays {
            let interfaces = std::mem::take(&mut known.interfaces);
            *known = ResolvedTarget { interfaces, ..target };
            return;
        }
        let moved =
            if is_on_processes { self.move_control(number, target) } else { self.move_rules(number, target) };
        match moved {
            Ok(to) => self.note_followed(number, &to),
            Err(why) => self.note_not_followed(number, &why.to_string()),
        }
    }

    /// Lets the processes go that were there, and takes those that are there now. Answers whose they are.
    fn move_control(&mut self, number: u64, target: ResolvedTarget) -> Result<String, EngineError> {
        let Some(fault) = self.faults.get_mut(&number) else { return Ok(String::new()) };
        let before = std::mem::take(&mut fault.carried);
        fault.application.target = target;
        let (application, seed, deadline_ns) = (fault.application.clone(), fault.seed, fault.deadline_ns);
        self.uninstall_and_keep(number, &before);
        let (carried, _effective_ns) = self.carriers.install(&application, seed, deadline_ns, || true)?;
        if let Some(fault) = self.faults.get_mut(&number) {
            fault.carried = carried;
        }
        Ok(application.target.name)
    }

    /// Installs rules where there are none yet, and removes those that are where the target is not any more.
    /// The others stay as they are. Answers where the fault holds now.
    fn move_rules(&mut self, number: u64, target: ResolvedTarget) -> Result<String, EngineError> {
        let Some(fault) = self.faults.get(&number) else { return Ok(String::new()) };
        let (seed, deadline_ns) = (fault.seed, fault.deadline_ns);
        let before = fault.application.clone();
        let rules = of_interfaces(&before, &fault.carried.rules);
        let mut application = Application { target, ..before };
        let is_known = |interface: &InterfaceReference| rules.iter().any(|(known, _)| known == interface);
        let wanted = std::mem::take(&mut application.target.interfaces);
        let (stay, come): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_known);
        application.target.interfaces = come;
        self.refuse_occupied(&application, Some(number))?;
        let (new, _effective_ns) = self.carriers.install(&application, seed, deadline_ns, || true)?;

        let (kept, gone): (Vec<_>, Vec<_>) = rules.into_iter().partition(|(known, _)| stay.contains(known));
        let (mut interfaces, kept): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
        interfaces.append(&mut application.target.interfaces);
        application.target.interfaces = interfaces;
        let names: Vec<&str> =
            application.target.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        let names = names.join(",");
        if let Some(fault) = self.faults.get_mut(&number) {
            fault.application = application;
            fault.carried.rules = kept.into_iter().flatten().chain(new.rules).collect();
        }
        let rules: Vec<InstalledRule> = gone.into_iter().flat_map(|(_, rules)| rules).collect();
        self.uninstall_and_keep(number, &Carried { rules, control: None });
        Ok(names)
    }

    fn note_followed(&mut self, number: u64, to: &str) {
        let Some(fault) = self.faults.get_mut(&number) else { return };
        (fault.away, fault.refused_to_follow) = (false, false);
        fault.follows = fault.follows.saturating_add(1);
        let target = fault.application.target.name.as_str();
        self.metrics.target_followed(target);
        tracing::info!(fault = fault.id, target, to, "the fault follows its container");
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

    /// Ends what carried a fault out and keeps what it counted.
    fn uninstall_and_keep(&mut self, number: u64, carried: &Carried) {
        let Ended { report, failures, .. } = self.uninstall(carried);
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
fn of_interfaces(
    application: &Application,
    rules: &[InstalledRule],
) -> Vec<(InterfaceReference, Vec<InstalledRule>)> {
    let hooks = if application.spec.direction == Direction::Both { 2 } else { 1 };
    let at_each = hooks * (application.spared.len() + application.selectors().len());
    let rules = rules.chunks(at_each.max(1)).map(<[InstalledRule]>::to_vec);
    application.target.interfaces.iter().cloned().zip(rules).collect()
}
