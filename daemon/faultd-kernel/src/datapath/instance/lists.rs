//! The lists of rules in the kernel: which compete for the packets of whom, written when that changes.

use std::collections::BTreeSet;

use faultd_abi::{
    HOOK_HAS_NETWORKS, HOOK_HAS_PEERS, HOOK_LEAVES_TARGET, HOOK_NAMES_PORTS, RULES_PER_LIST, RuleList,
};

use super::{Claim, HookKey, HookState, Instance};
use crate::datapath::{
    DatapathError, Selector,
    competition::{Audience, Overcrowded},
};

impl Instance {
    /// Puts a rule into the lists of its hook: from then on packets fall under it.
    pub(super) fn list(&mut self, claim: &Claim, selector: &Selector) -> Result<(), DatapathError> {
        let Some((key, state)) = claim.hook.and_then(|key| Some((key, self.hooks.get_mut(&key)?))) else {
            return Ok(());
        };
        let changed = state.competition.add(claim.rank, claim.slot, selector);
        let crowded =
            changed.iter().any(|audience| state.competition.list(*audience, RULES_PER_LIST).is_err());
        if crowded {
            state.competition.remove(claim.rank);
            let interface = state.interface_name.clone();
            return Err(DatapathError::TooManyRules { interface, limit: RULES_PER_LIST });
        }
        self.write_lists(key, &changed)
    }

    /// Takes a rule off the lists of its hook: from then on no packet falls under it.
    pub(in crate::datapath) fn unlist(&mut self, claim: &Claim) -> Result<(), DatapathError> {
        let Some((key, state)) = claim.hook.and_then(|key| Some((key, self.hooks.get_mut(&key)?))) else {
            return Ok(());
        };
        let changed = state.competition.remove(claim.rank);
        self.write_lists(key, &changed)
    }

    pub(super) fn rank_last(&mut self, claim: &Claim) -> Result<(), DatapathError> {
        let Some((key, state)) = claim.hook.and_then(|key| Some((key, self.hooks.get_mut(&key)?))) else {
            return Ok(());
        };
        let changed = state.competition.rank_last(claim.rank);
        self.write_lists(key, &changed)
    }

    fn write_lists(&mut self, key: HookKey, changed: &BTreeSet<Audience>) -> Result<(), DatapathError> {
        let Some(state) = self.hooks.get(&key) else { return Ok(()) };
        if state.competition.is_empty() {
            self.maps.remove_hook(key.abi())?;
        } else {
            let flags = hook_flags(state);
            // First, so that networks that are named now are looked for from now on.
            let any_peer = rule_list(state.competition.list(Audience::Others, RULES_PER_LIST));
            let any_peer = any_peer.unwrap_or(RuleList { slots: [0; RULES_PER_LIST] });
            let hook = faultd_abi::Hook { hook_id: state.hook_id, flags, any_peer };
            self.maps.set_hook(key.abi(), hook)?;
        }
        for audience in changed {
            if let Audience::Network(network) = audience {
                let list = rule_list(state.competition.list(*audience, RULES_PER_LIST));
                self.maps.set_network(state.hook_id, *network, list)?;
            }
        }
        Ok(())
    }
}

fn hook_flags(state: &HookState) -> u32 {
    let bits = [
        (HOOK_HAS_PEERS, state.competition.names_hosts()),
        (HOOK_HAS_NETWORKS, state.competition.names_networks()),
        (HOOK_NAMES_PORTS, state.competition.names_ports()),
        (HOOK_LEAVES_TARGET, state.leaves_target),
    ];
    bits.into_iter().filter(|(_bit, set)| *set).fold(0, |flags, (bit, _set)| flags | bit)
}

fn rule_list(slots: Result<Option<Vec<u32>>, Overcrowded>) -> Option<RuleList> {
    // A crowd was refused when it came.
    let slots = slots.ok()??;
    let mut list = RuleList { slots: [0; RULES_PER_LIST] };
    for (place, slot) in list.slots.iter_mut().zip(slots) {
        *place = slot;
    }
    Some(list)
}
