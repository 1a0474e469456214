//! The lists of rules in the kernel: which compete for the packets of whom, written when that changes.

use std::collections::BTreeSet;

use faultd_abi::{
    HOOK_HAS_NETWORKS, HOOK_HAS_PEERS, HOOK_LEAVES_TARGET, HOOK_NAMES_PORTS, InterfaceKey, RULES_PER_LIST,
    RuleList,
};

use super::{
    Claim, Instance,
    hooks::{HookKey, HookState},
};
use crate::datapath::{
    DatapathError, RulePlan, Selector,
    competition::{Audience, Competition, Overcrowded, Rank},
    object::Maps,
};

impl Instance {
    /// Puts a rule into the lists of its hook: from then on packets fall under it.
    pub(super) fn list(&mut self, claim: &Claim, selector: &Selector) -> Result<(), DatapathError> {
        let Some((key, state)) = self.hook_of(claim) else { return Ok(()) };
        let changed = state.add(claim.rank, claim.slot, selector)?;
        self.write_lists(key, &changed)
    }

    /// Puts a rule into other lists of its hook, or to another place in them: each list is written once,
    /// so that no packet finds the rule in none.
    pub(super) fn relist(
        &mut self,
        claim: &mut Claim,
        before: &Selector,
        plan: &RulePlan,
    ) -> Result<(), DatapathError> {
        let rank = Rank { priority: plan.priority, ..claim.rank };
        let Some((key, state)) = self.hook_of(claim) else { return Ok(()) };
        let mut changed = state.competition.remove(claim.rank);
        match state.add(rank, claim.slot, &plan.selector) {
            Ok(more) => changed.extend(more),
            Err(error) => {
                state.competition.add(claim.rank, claim.slot, before);
                return Err(error);
            }
        }
        claim.rank = rank;
        self.write_lists(key, &changed)
    }

    fn hook_of(&mut self, claim: &Claim) -> Option<(HookKey, &mut HookState)> {
        let key = claim.hook?;
        Some((key, self.hooks.get_mut(&key)?))
    }

    /// Takes a rule off the lists of its hook: from then on no packet falls under it.
    pub(in crate::datapath) fn unlist(&mut self, claim: &Claim) -> Result<(), DatapathError> {
        let Some((key, state)) = self.hook_of(claim) else { return Ok(()) };
        let changed = state.competition.remove(claim.rank);
        self.write_lists(key, &changed)
    }

    pub(super) fn rank_last(&mut self, claim: &Claim) -> Result<(), DatapathError> {
        let Some((key, state)) = self.hook_of(claim) else { return Ok(()) };
        let changed = state.competition.rank_last(claim.rank);
        self.write_lists(key, &changed)
    }

    fn write_lists(&mut self, key: HookKey, changed: &BTreeSet<Audience>) -> Result<(), DatapathError> {
        let Some(state) = self.hooks.get(&key) else { return Ok(()) };
        let (hook_id, leaves_target) = (state.hook_id, state.leaves_target);
        ListedHook { key: key.abi(), hook_id, leaves_target, competition: &state.competition }
            .write(&mut self.maps, changed)
    }
}

/// A hook and whose rules compete at it.
pub(in crate::datapath) struct ListedHook<'a> {
    pub(in crate::datapath) key: InterfaceKey,
    pub(in crate::datapath) hook_id: u32,
    pub(in crate::datapath) leaves_target: bool,
    pub(in crate::datapath) competition: &'a Competition,
}

impl ListedHook<'_> {
    /// Writes the lists that have changed, and what the hook is.
    pub(in crate::datapath) fn write(
        &self,
        maps: &mut Maps,
        changed: &BTreeSet<Audience>,
    ) -> Result<(), DatapathError> {
        if self.competition.is_empty() {
            maps.remove_hook(self.key)?;
        } else {
            // First, so that networks that are named now are looked for from now on.
            let any_peer = rule_list(self.competition.list(Audience::Others, RULES_PER_LIST));
            let any_peer = any_peer.unwrap_or(RuleList { slots: [0; RULES_PER_LIST] });
            let hook = faultd_abi::Hook { hook_id: self.hook_id, flags: self.flags(), any_peer };
            maps.set_hook(self.key, hook)?;
        }
        for audience in changed {
            if let Audience::Network(network) = audience {
                let list = rule_list(self.competition.list(*audience, RULES_PER_LIST));
                maps.set_network(self.hook_id, *network, list)?;
            }
        }
        Ok(())
    }

    fn flags(&self) -> u32 {
        let bits = [
            (HOOK_HAS_PEERS, self.competition.names_hosts()),
            (HOOK_HAS_NETWORKS, self.competition.names_networks()),
            (HOOK_NAMES_PORTS, self.competition.names_ports()),
            (HOOK_LEAVES_TARGET, self.leaves_target),
        ];
        bits.into_iter().filter(|(_bit, set)| *set).fold(0, |flags, (bit, _set)| flags | bit)
    }
}

impl HookState {
    /// Adds a rule unless it comes into a crowd; whose lists have changed.
    fn add(
        &mut self,
        rank: Rank,
        slot: u32,
        selector: &Selector,
    ) -> Result<BTreeSet<Audience>, DatapathError> {
        let changed = self.competition.add(rank, slot, selector);
        if changed.iter().any(|audience| self.competition.list(*audience, RULES_PER_LIST).is_err()) {
            self.competition.remove(rank);
            let interface = self.interface_name.clone();
            return Err(DatapathError::TooManyRules { interface, limit: RULES_PER_LIST });
        }
        Ok(changed)
    }
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
