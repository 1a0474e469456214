//! The eBPF object of one namespace, loaded: its maps, its hooks, its devices. Interface indices are
//! unique only within a namespace, so each has programs and maps of its own.

pub(super) mod lists;

use std::{collections::HashMap, time::Duration};

use aya::Ebpf;
use faultd_abi::{HOOK_COUNT, InterfaceKey};

use super::{
    AttachKind, DatapathError, Hook, InterfaceReference, Loss, RuleCounters, RulePlan, RuleReport,
    attachment::{Attacher, Attachment},
    competition::{Competition, Rank},
    encoding::{self, Devices},
    jitter::JitterTables,
    object::{CUT_RETURN_PROGRAM, EGRESS_PROGRAM, INGRESS_PROGRAM, Lease, Maps, RETURN_PROGRAM, load_object},
    proof,
    slots::NumberPool,
};
use crate::{
    LINK_NAME_PREFIX, clock,
    holding::{Cutter, Drained, EdtPair, HoldingDevice, HoldingKind, HoldingStatistics, NetemPair, Relay, Terminals},
    link,
    namespace::Namespace,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct HookKey {
    interface_index: u32,
    hook: Hook,
}

impl HookKey {
    fn abi(self) -> InterfaceKey {
        InterfaceKey { interface_index: self.interface_index, hook: self.hook.abi() }
    }
}

/// One relay and one fq serve all rules; netem's parameters belong to the device, so that each rule has
/// one of its own, which the slot names.
type HoldingKey = (HoldingKind, Option<u32>);

/// What a rule occupies in the instance.
pub(super) struct Claim {
    slot: u32,
    rank: Rank,
    hook: Option<HookKey>,
    holding: Option<HoldingKey>,
    cutter: bool,
    jitter_table: Option<u32>,
    trace_words: Vec<u32>,
    seen_before: u64,
    /// What the holding device and the cutter had lost before.
    holding_drops_before: u64,
    cutter_drops_before: u64,
}

struct HookState {
    attachment: Attachment,
    hook_id: u32,
    leaves_target: bool,
    competition: Competition,
    interface_name: String,
    /// Claims on the hook, those of removed rules included whose packets still come back.
    users: usize,
}

struct HoldingState {
    device: Box<dyn HoldingDevice>,
    entering: Attachment,
    returning: Attachment,
    users: usize,
}

struct CutterState {
    device: Cutter,
    returning: Attachment,
    users: usize,
}

pub(super) struct Instance {
    namespace: Namespace,
    ebpf: Ebpf,
    attach: AttachKind,
    attacher: Attacher,
    maps: Maps,
    slots: NumberPool,
    hook_ids: NumberPool,
    jitter_tables: JitterTables,
    hooks: HashMap<HookKey, HookState>,
    holdings: HashMap<HoldingKey, HoldingState>,
    cutter: Option<CutterState>,
    /// Devices that stay without a rule, so that the next one takes effect sooner.
    kept: Option<HoldingKind>,
}

impl Instance {
    pub(super) fn load(
        namespace: &Namespace,
        object: &[u8],
        attach: AttachKind,
    ) -> Result<Self, DatapathError> {
        let mut ebpf = load_object(object)?;
        let mut maps = Maps::take(&mut ebpf)?;
        let (jitter_tables, normal) = JitterTables::new();
        maps.set_jitter_table(0, normal)?;
        Ok(Self {
            namespace: namespace.clone(),
            attach,
            attacher: Attacher::new(namespace.clone(), attach),
            maps,
            ebpf,
            slots: NumberPool::slots(),
            hook_ids: NumberPool::of(0..HOOK_COUNT),
            jitter_tables,
            hooks: HashMap::new(),
            holdings: HashMap::new(),
            cutter: None,
            kept: None,
        })
    }

    pub(super) fn lease(&self) -> Lease {
        self.maps.lease()
    }

    /// Puts a rule into force and returns since when. Of rules of the same priority, the lower age acts.
    pub(super) fn install(&mut self, plan: &RulePlan, age: u64) -> Result<(Claim, u64), DatapathError> {
        let slot = self.slots.take().ok_or(DatapathError::NoFreeSlot)?;
        let mut claim = Claim {
            slot,
            rank: Rank { priority: plan.priority, age },
            hook: None,
            holding: None,
            cutter: false,
            jitter_table: None,
            trace_words: Vec::new(),
            seen_before: 0,
            holding_drops_before: 0,
            cutter_drops_before: 0,
        };
        match self.install_claim(plan, &mut claim) {
            Ok(effective_at_ns) => Ok((claim, effective_at_ns)),
            Err(error) => {
                for error in self.give_back(claim) {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot undo half a rule");
                }
                Err(error)
            }
        }
    }

    fn install_claim(&mut self, plan: &RulePlan, claim: &mut Claim) -> Result<u64, DatapathError> {
        self.claim_hook(plan, claim)?;
        let devices = self.claim_devices(plan, claim)?;
        self.maps.open_slot(claim.slot, claim.holding.is_some())?;
        self.write_trace(plan, claim)?;
        self.maps.set_rule(claim.slot, encoding::encode(plan, devices, self.attach))?;
        self.list(claim, &plan.selector)?;
        Ok(clock::monotonic_ns())
    }

    /// Changes what a rule does and to which packets, at once for each packet.
    pub(super) fn change(
        &mut self,
        claim: &mut Claim,
        old: &RulePlan,
        new: &RulePlan,
    ) -> Result<(), DatapathError> {
        if old.interface.index != new.interface.index || old.hook != new.hook {
            return Err(DatapathError::Moved);
        }
        if let (Some((kind, _slot)), Some(needed)) = (claim.holding, new.needed_holding())
            && kind != needed
        {
            return Err(DatapathError::HoldingChange);
        }
        let table_before = claim.jitter_table.take();
        let devices = self.claim_devices(new, claim);
        if let Some(table) = table_before {
            self.jitter_tables.give_back(table);
        }
        let devices = devices?;
        if claim.holding.is_some() {
            self.maps.open_proof(claim.slot)?;
        }
        self.write_trace(new, claim)?;
        let before = self.maps.rule(claim.slot)?;
        self.maps.set_rule(claim.slot, encoding::encode(new, devices, self.attach))?;
        if old.selector == new.selector && old.priority == new.priority {
            return Ok(());
        }
        let relisted = self.relist(claim, &old.selector, new);
        if relisted.is_err() {
            self.maps.set_rule(claim.slot, before)?;
        }
        relisted
    }

    /// Begins to end a rule: no packet falls under it any more, but where the kernel holds packets of it,
    /// later ones still wait for those, so that their order is kept.
    pub(super) fn begin_end(&mut self, claim: &Claim) -> (Drained, Vec<DatapathError>) {
        let drained = self.release(claim);
        if drained == Drained::Now {
            let errors = self.unlist(claim).err().into_iter().collect();
            // Once more, for what came in between.
            self.release(claim);
            return (Drained::Now, errors);
        }
        let ended = self.maps.rule(claim.slot).map(encoding::drained);
        let ended = ended.and_then(|rule| self.maps.set_rule(claim.slot, rule));
        // After all others, or a new rule would have to wait for this one's end.
        let last = self.rank_last(claim);
        (drained, ended.err().into_iter().chain(last.err()).collect())
    }

    fn release(&mut self, claim: &Claim) -> Drained {
        let state = claim.holding.and_then(|key| self.holdings.get_mut(&key));
        state.map_or(Drained::Now, |state| state.device.release(claim.slot))
    }

    /// Whether no packet of the rule is held any more.
    pub(super) fn is_drained(&self, claim: &Claim, drained: Drained) -> bool {
        match drained {
            Drained::Now => true,
            Drained::WhenDue => {
                let state = self.maps.state(claim.slot);
                let due_ns = state.map_or(0, |state| state.last_departure_ns);
                due_ns <= clock::monotonic_ns() && (self.shares_holding(claim) || self.is_empty(claim))
            }
            Drained::WhenEmpty { .. } => self.is_empty(claim),
        }
    }

    fn shares_holding(&self, claim: &Claim) -> bool {
        claim.holding.and_then(|key| self.holdings.get(&key)).is_some_and(|state| state.users > 1)
    }

    /// Whether nothing waits in the rule's device.
    fn is_empty(&self, claim: &Claim) -> bool {
        let device = claim.holding.and_then(|key| self.holdings.get(&key));
        device.is_none_or(|state| state.device.statistics().waiting == 0)
    }

    /// Ends a claim: what nobody else uses is detached and removed. Goes on after errors.
    pub(super) fn give_back(&mut self, claim: Claim) -> Vec<DatapathError> {
        let mut errors: Vec<DatapathError> = self.unlist(&claim).err().into_iter().collect();
        errors.extend(self.maps.close_slot(claim.slot));
        for index in claim.trace_words {
            errors.extend(self.maps.remove_trace_word(claim.slot, index).err());
        }
        errors.extend(claim.hook.and_then(|key| self.give_back_hook(key).err()));
        if let Some(key) = claim.holding {
            errors.extend(self.give_back_holding(key));
        }
        if claim.cutter {
            errors.extend(self.give_back_cutter());
        }
        if let Some(table) = claim.jitter_table {
            self.jitter_tables.give_back(table);
        }
        self.slots.give_back(claim.slot);
        errors
    }

    /// Whether no rule is left in it.
    pub(super) fn is_idle(&self) -> bool {
        self.hooks.is_empty() && self.holdings.values().all(|state| state.users == 0)
    }

    /// Makes the devices ahead that rules of this kind will need.
    pub(super) fn keep(&mut self, kind: Option<HoldingKind>) -> Result<(), DatapathError> {
        let Some(kind) = kind.filter(|kind| *kind != HoldingKind::Netem) else { return Ok(()) };
        self.ensure_holding((kind, None), &super::Effects::default())?;
        self.kept = Some(kind);
        Ok(())
    }

    /// Attaches both hooks of an interface ahead of its first rule: the kernel waits for all readers of
    /// the old state before an attachment is done, which takes longer than all else.
    pub(super) fn hold_hooks(&mut self, interface: &InterfaceReference) -> Result<(), DatapathError> {
        for (done, hook) in Hook::ALL.into_iter().enumerate() {
            let key = HookKey { interface_index: interface.index, hook };
            if let Err(error) = self.use_hook(&RulePlan::new(interface.clone(), hook), key) {
                for attached in Hook::ALL.into_iter().take(done) {
                    self.give_back_hook(HookKey { hook: attached, ..key })?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes one [`Instance::hold_hooks`] back.
    pub(super) fn let_hooks_go(&mut self, interface: &InterfaceReference) -> Vec<DatapathError> {
        let key = |hook| HookKey { interface_index: interface.index, hook };
        Hook::ALL.into_iter().filter_map(|hook| self.give_back_hook(key(hook)).err()).collect()
    }

    /// What the rule did, on all CPUs together.
    pub(super) fn report(&self, claim: &Claim) -> Result<RuleReport, DatapathError> {
        let mut counters = RuleCounters::default();
        for part in &*self.maps.counters(claim.slot)? {
            counters.add(part);
        }
        let hook = claim.hook.and_then(|key| self.hooks.get(&key));
        if let Some(hook) = hook {
            counters.seen = self.maps.seen(hook.hook_id)?.wrapping_sub(claim.seen_before);
        }
        let device = claim.holding.and_then(|key| self.holdings.get(&key));
        let held_lost = device.map_or(0, |state| state.device.unintended_drops(claim.slot));
        let held_lost = held_lost.saturating_sub(claim.holding_drops_before);
        let cut_lost = self.cutter_drops(claim.cutter).saturating_sub(claim.cutter_drops_before);
        counters.unintended = counters.unintended.saturating_add(held_lost).saturating_add(cut_lost);
        let proofs = self.maps.proofs(claim.slot)?;
        let delay = proofs.and_then(|parts| proof::measured(parts.iter()));
        let first = self.maps.state(claim.slot)?.first_affected_ns;
        Ok(RuleReport { counters, delay, first_affected_at_ns: (first != 0).then_some(first) })
    }

    pub(super) fn holding_statistics(&self) -> Vec<(String, HoldingStatistics)> {
        let devices = self.holdings.values().map(|state| &state.device);
        devices.map(|device| (device.terminals().name.clone(), device.statistics())).collect()
    }

    fn claim_hook(&mut self, plan: &RulePlan, claim: &mut Claim) -> Result<(), DatapathError> {
        let key = HookKey { interface_index: plan.interface.index, hook: plan.hook };
        let hook_id = self.use_hook(plan, key)?;
        claim.hook = Some(key);
        claim.seen_before = self.maps.seen(hook_id)?;
        Ok(())
    }

    /// Attaches the program of a hook unless it is attached; the hook's number.
    fn use_hook(&mut self, plan: &RulePlan, key: HookKey) -> Result<u32, DatapathError> {
        if !self.hooks.contains_key(&key) {
            let state = self.start_hook(plan, key)?;
            self.hooks.insert(key, state);
        }
        Ok(self.hooks.get_mut(&key).map_or(0, |state| {
            state.users = state.users.saturating_add(1);
            state.hook_id
        }))
    }

    fn start_hook(&mut self, plan: &RulePlan, key: HookKey) -> Result<HookState, DatapathError> {
        let hook_id = self.hook_ids.take().ok_or(DatapathError::NoFreeSlot)?;
        let program = hook_program(plan.hook);
        let attached = self.attacher.attach(&mut self.ebpf, program, key.interface_index, key.hook);
        if attached.is_err() {
            self.hook_ids.give_back(hook_id);
        }
        Ok(HookState {
            attachment: attached?,
            hook_id,
            leaves_target: plan.leaves_target(),
            competition: Competition::default(),
            interface_name: plan.interface.name.clone(),
            users: 0,
        })
    }

    /// Claims what the plan needs beyond what is claimed already.
    fn claim_devices(&mut self, plan: &RulePlan, claim: &mut Claim) -> Result<Devices, DatapathError> {
        let mut devices = Devices::default();
        // A device that was needed once stays: packets that are not held any more must not overtake.
        if let Some(kind) = plan.needed_holding().or(claim.holding.map(|(kind, _slot)| kind)) {
            self.claim_holding(kind, plan, claim)?;
        }
        if let Some(state) = claim.holding.and_then(|key| self.holdings.get(&key)) {
            let terminals = state.device.terminals();
            devices.holding = terminals.entrance_index;
            devices.holding_exit = terminals.exit_index;
            devices.holding_mode = terminals.mode;
        }
        if encoding::may_cut(plan) || encoding::needs_sink(plan, self.attach) {
            self.claim_cutter(claim)?;
        }
        if let Some(state) = self.cutter.as_ref().filter(|_state| claim.cutter) {
            devices.cutter_entrance = state.device.entrance_index();
            devices.cutter_exit = state.device.exit_index();
        }
        if let Some(jitter) = plan.effects.delay.as_ref().and_then(|delay| delay.jitter.as_ref()) {
            let (index, table) = self.jitter_tables.claim(jitter)?;
            claim.jitter_table = Some(index);
            devices.jitter_table = index;
            table.map_or(Ok(()), |table| self.maps.set_jitter_table(index, table))?;
        }
        Ok(devices)
    }

    fn claim_holding(
        &mut self,
        kind: HoldingKind,
        plan: &RulePlan,
        claim: &mut Claim,
    ) -> Result<(), DatapathError> {
        let key = (kind, (kind == HoldingKind::Netem).then_some(claim.slot));
        self.ensure_holding(key, &plan.effects)?;
        if let Some(state) = self.holdings.get_mut(&key) {
            if claim.holding.is_none() {
                state.users = state.users.saturating_add(1);
                claim.holding_drops_before = state.device.unintended_drops(claim.slot);
            }
            claim.holding = Some(key);
            state.device.admit(claim.slot, &plan.effects)?;
        }
        Ok(())
    }

    fn ensure_holding(&mut self, key: HoldingKey, effects: &super::Effects) -> Result<(), DatapathError> {
        if !self.holdings.contains_key(&key) {
            let state = self.start_holding(key.0, effects)?;
            self.holdings.insert(key, state);
        }
        Ok(())
    }

    fn start_holding(
        &mut self,
        kind: HoldingKind,
        effects: &super::Effects,
    ) -> Result<HoldingState, DatapathError> {
        let name = self.free_device_name()?;
        let device: Box<dyn HoldingDevice> = match kind {
            HoldingKind::Relay => Box::new(Relay::start(&self.namespace, name)?),
            HoldingKind::Edt => Box::new(EdtPair::start(&self.namespace, &name)?),
            HoldingKind::Netem => Box::new(NetemPair::start(&self.namespace, &name, effects)?),
        };
        let Terminals { entrance_index, exit_index, entrance_program, .. } = *device.terminals();
        let entering =
            self.attacher.attach(&mut self.ebpf, entrance_program, entrance_index, Hook::Egress)?;
        let returning = self.attacher.attach(&mut self.ebpf, RETURN_PROGRAM, exit_index, Hook::Ingress)?;
        Ok(HoldingState { device, entering, returning, users: 0 })
    }

    fn claim_cutter(&mut self, claim: &mut Claim) -> Result<(), DatapathError> {
        if claim.cutter {
            return Ok(());
        }
        if self.cutter.is_none() {
            let device = Cutter::start(&self.namespace, &self.free_device_name()?)?;
            let exit = device.exit_index();
            let returning = self.attacher.attach(&mut self.ebpf, CUT_RETURN_PROGRAM, exit, Hook::Ingress)?;
            self.cutter = Some(CutterState { device, returning, users: 0 });
        }
        if let Some(state) = &mut self.cutter {
            state.users = state.users.saturating_add(1);
        }
        claim.cutter = true;
        claim.cutter_drops_before = self.cutter_drops(true);
        Ok(())
    }

    fn cutter_drops(&self, used: bool) -> u64 {
        self.cutter.as_ref().filter(|_state| used).map_or(0, |state| state.device.drops())
    }

    /// Another faultd may work in the same namespace: names are taken in turn, as they are free.
    fn free_device_name(&self) -> Result<String, DatapathError> {
        let links = link::list(&self.namespace)?;
        let taken = |name: &str| links.iter().any(|link| link.name.starts_with(name));
        let candidates = (1..100_000_u32).map(|number| format!("{LINK_NAME_PREFIX}{number:04}"));
        let free = candidates.into_iter().find(|name| !taken(name));
        free.ok_or_else(|| crate::netlink::NetlinkError::Missing("free device name".to_owned()).into())
    }

    fn write_trace(&mut self, plan: &RulePlan, claim: &mut Claim) -> Result<(), DatapathError> {
        let words = match &plan.effects.loss {
            Some(Loss::Trace(trace)) => encoding::trace_words(&trace.lost),
            _ => Vec::new(),
        };
        let indices: Vec<u32> = words.iter().map(|(index, _word)| *index).collect();
        for old in std::mem::replace(&mut claim.trace_words, indices) {
            if !words.iter().any(|(index, _word)| *index == old) {
                self.maps.remove_trace_word(claim.slot, old)?;
            }
        }
        words.into_iter().try_for_each(|(index, word)| self.maps.set_trace_word(claim.slot, index, word))
    }

    fn give_back_hook(&mut self, key: HookKey) -> Result<(), DatapathError> {
        let Some(state) = self.hooks.get_mut(&key) else { return Ok(()) };
        state.users = state.users.saturating_sub(1);
        if state.users > 0 {
            return Ok(());
        }
        let Some(state) = self.hooks.remove(&key) else { return Ok(()) };
        self.hook_ids.give_back(state.hook_id);
        self.attacher.detach(state.attachment)
    }

    fn give_back_holding(&mut self, key: HoldingKey) -> Vec<DatapathError> {
        let Some(state) = self.holdings.get_mut(&key) else { return Vec::new() };
        state.users = state.users.saturating_sub(1);
        if state.users > 0 || self.kept == Some(key.0) {
            return Vec::new();
        }
        self.remove_holding(key)
    }

    fn remove_holding(&mut self, key: HoldingKey) -> Vec<DatapathError> {
        let Some(state) = self.holdings.remove(&key) else { return Vec::new() };
        let detached = [state.entering, state.returning].map(|attachment| self.attacher.detach(attachment));
        let removed = state.device.remove().map_err(DatapathError::from);
        detached.into_iter().chain([removed]).filter_map(Result::err).collect()
    }

    fn give_back_cutter(&mut self) -> Vec<DatapathError> {
        let Some(state) = &mut self.cutter else { return Vec::new() };
        state.users = state.users.saturating_sub(1);
        if state.users > 0 {
            return Vec::new();
        }
        let Some(state) = self.cutter.take() else { return Vec::new() };
        let detached = self.attacher.detach(state.returning);
        let removed = state.device.remove().map_err(DatapathError::from);
        [detached, removed].into_iter().filter_map(Result::err).collect()
    }

    /// Takes down the hooks and devices that stayed without a rule.
    pub(super) fn close(mut self) -> Vec<DatapathError> {
        let hooks: Vec<HookState> = self.hooks.drain().map(|(_key, state)| state).collect();
        let detached: Vec<_> =
            hooks.into_iter().map(|state| self.attacher.detach(state.attachment)).collect();
        let keys: Vec<HoldingKey> = self.holdings.keys().copied().collect();
        let removed: Vec<_> = keys.into_iter().flat_map(|key| self.remove_holding(key)).collect();
        detached.into_iter().filter_map(Result::err).chain(removed).collect()
    }
}

/// The longest that the end of a rule may take.
pub(super) fn longest_drain(drained: Drained) -> Duration {
    match drained {
        Drained::Now => Duration::ZERO,
        Drained::WhenEmpty { within } => within,
        Drained::WhenDue => Duration::MAX,
    }
}

/// The program for a hook.
pub(crate) fn hook_program(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => INGRESS_PROGRAM,
        Hook::Egress => EGRESS_PROGRAM,
    }
}
