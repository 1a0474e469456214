//! The hooks of one namespace: which programs are attached where, and for whom.

use faultd_abi::InterfaceKey;

use super::{Claim, Instance};
use crate::datapath::{
    DatapathError, Hook, InterfaceReference, RulePlan,
    attachment::Attachment,
    competition::Competition,
    object::{EGRESS_PROGRAM, INGRESS_PROGRAM},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct HookKey {
    pub(super) interface_index: u32,
    pub(super) hook: Hook,
}

impl HookKey {
    pub(super) fn abi(self) -> InterfaceKey {
        InterfaceKey { interface_index: self.interface_index, hook: self.hook.abi() }
    }
}

pub(super) struct HookState {
    /// Nothing until the first rule is written down: see [`Instance::attach_hook`].
    attachment: Option<Attachment>,
    pub(super) hook_id: u32,
    pub(super) leaves_target: bool,
    pub(super) competition: Competition,
    pub(super) interface_name: String,
    /// Claims on the hook, those of removed rules included whose packets still come back.
    users: usize,
}

impl Instance {
    /// Attaches both hooks of an interface ahead of its first rule: the kernel waits for all readers of
    /// the old state before an attachment is done, which takes longer than all else.
    pub(in crate::datapath) fn hold_hooks(
        &mut self,
        interface: &InterfaceReference,
    ) -> Result<(), DatapathError> {
        let mut held = Vec::new();
        for hook in Hook::ALL {
            let key = HookKey { interface_index: interface.index, hook };
            let used = self.use_hook(&RulePlan::new(interface.clone(), hook), key);
            held.extend(used.is_ok().then_some(key));
            if let Err(error) = used.and_then(|_number| self.attach_hook(key)) {
                for key in held {
                    self.give_back_hook(key)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes one [`Instance::hold_hooks`] back.
    pub(in crate::datapath) fn let_hooks_go(&mut self, interface: &InterfaceReference) -> Vec<DatapathError> {
        let key = |hook| HookKey { interface_index: interface.index, hook };
        let errors: Vec<_> =
            Hook::ALL.into_iter().filter_map(|hook| self.give_back_hook(key(hook)).err()).collect();
        self.is_clean &= errors.is_empty();
        errors
    }

    /// The hook of a rule, not attached yet if it is new.
    pub(super) fn claim_hook(
        &mut self,
        plan: &RulePlan,
        claim: &mut Claim,
    ) -> Result<HookKey, DatapathError> {
        let key = HookKey { interface_index: plan.interface.index, hook: plan.hook };
        let hook_id = self.use_hook(plan, key)?;
        claim.hook = Some(key);
        claim.seen_before = self.maps.seen(hook_id)?;
        Ok(key)
    }

    /// Counts one more user of a hook; the hook's number.
    fn use_hook(&mut self, plan: &RulePlan, key: HookKey) -> Result<u32, DatapathError> {
        if !self.hooks.contains_key(&key) {
            let state = HookState {
                attachment: None,
                hook_id: self.hook_ids.take().ok_or(DatapathError::NoFreeSlot)?,
                leaves_target: plan.leaves_target(),
                competition: Competition::default(),
                interface_name: plan.interface.name.clone(),
                users: 0,
            };
            self.hooks.insert(key, state);
        }
        let Some(state) = self.hooks.get_mut(&key) else { return Ok(0) };
        // Peers and ports are looked for at one end of a packet, the same for all rules of a hook.
        if state.leaves_target != plan.leaves_target() {
            return Err(DatapathError::OtherEnd { interface: state.interface_name.clone() });
        }
        state.users = state.users.saturating_add(1);
        Ok(state.hook_id)
    }

    pub(super) fn give_back_hook(&mut self, key: HookKey) -> Result<(), DatapathError> {
        let Some(state) = self.hooks.get_mut(&key) else { return Ok(()) };
        state.users = state.users.saturating_sub(1);
        if state.users > 0 {
            return Ok(());
        }
        let Some(state) = self.hooks.remove(&key) else { return Ok(()) };
        self.hook_ids.give_back(state.hook_id);
        state.attachment.map_or(Ok(()), |attachment| self.attacher.detach(attachment))
    }

    /// Attaches the program of a hook, unless it is attached. What rules say is written down before: the
    /// program acts from the moment at which the kernel knows of it, and the call returns much later, when
    /// all readers of the old state are done.
    pub(super) fn attach_hook(&mut self, key: HookKey) -> Result<(), DatapathError> {
        let Some(state) = self.hooks.get_mut(&key).filter(|state| state.attachment.is_none()) else {
            return Ok(());
        };
        let program = hook_program(key.hook);
        let attached = self.attacher.attach(&mut self.ebpf, program, key.interface_index, key.hook)?;
        state.attachment = Some(attached);
        Ok(())
    }

    pub(super) fn close_hooks(&mut self) -> Vec<DatapathError> {
        let states: Vec<HookState> = self.hooks.drain().map(|(_key, state)| state).collect();
        let attachments = states.into_iter().filter_map(|state| state.attachment);
        attachments.filter_map(|attachment| self.attacher.detach(attachment).err()).collect()
    }
}

/// The program for a hook.
pub(crate) fn hook_program(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => INGRESS_PROGRAM,
        Hook::Egress => EGRESS_PROGRAM,
    }
}
