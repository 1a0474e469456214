//! The eBPF object of one namespace, loaded: its maps, its hooks, its devices. Interface indices are
//! unique only within a namespace, so each has programs and maps of its own.

mod devices;
mod hooks;
pub(super) mod lists;

use std::{collections::HashMap, time::Duration};

use aya::Ebpf;
use faultd_abi::HOOK_COUNT;

use self::{
    devices::{CutterState, HoldingKey, HoldingState},
    hooks::{HookKey, HookState},
};
use super::{
    AttachKind, DatapathError, Loss, RuleCounters, RulePlan, RuleReport,
    attachment::Attacher,
    competition::Rank,
    encoding,
    jitter::JitterTables,
    object::{Lease, Maps, load_object},
    proof,
    slots::NumberPool,
};
use crate::{
    clock,
    holding::{Drained, HoldingKind},
    kill_points,
    namespace::Namespace,
};

pub(crate) use self::hooks::hook_program;

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
    /// What the devices had lost before.
    drops_before: DropsBefore,
}

#[derive(Clone, Copy, Debug, Default)]
struct DropsBefore {
    of_slot: u64,
    in_holding: u64,
    in_cutter: u64,
}

/// How old a figure may be that the kernel has to be asked for: a look at a thousand rules must not ask
/// it a thousand times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// A tenth of a second.
    Recent,
    /// As it is now.
    Now,
}

pub(super) struct Instance {
    namespace: Namespace,
    ebpf: Ebpf,
    attach: AttachKind,
    attacher: Attacher,
    /// For devices of our own.
    device_attacher: Attacher,
    maps: Maps,
    slots: NumberPool,
    hook_ids: NumberPool,
    jitter_tables: JitterTables,
    hooks: HashMap<HookKey, HookState>,
    holdings: HashMap<HoldingKey, HoldingState>,
    cutter: Option<CutterState>,
    /// Devices that stay without a rule, so that the next one takes effect sooner.
    kept: Option<HoldingKind>,
    /// Whether everything could be taken down so far that was to be.
    is_clean: bool,
}

/// How programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttachKinds {
    /// To interfaces under fault.
    pub(super) hooks: AttachKind,
    /// To devices of our own: by clsact where the kernel has it, since a TCX link waits for a grace period
    /// each time, and our devices need no link that ends with the process.
    pub(super) devices: AttachKind,
}

/// An object in the kernel that belongs to no namespace yet.
pub(super) struct Loaded {
    ebpf: Ebpf,
    maps: Maps,
    jitter_tables: JitterTables,
}

impl Loaded {
    /// Loads an object; the verifier takes most of the time.
    pub(super) fn load(object: &[u8]) -> Result<Self, DatapathError> {
        let mut ebpf = load_object(object)?;
        let mut maps = Maps::take(&mut ebpf)?;
        let (jitter_tables, normal) = JitterTables::new();
        maps.set_jitter_table(0, normal)?;
        Ok(Self { ebpf, maps, jitter_tables })
    }
}

impl Instance {
    pub(super) fn new(namespace: &Namespace, loaded: Loaded, attach: AttachKinds) -> Self {
        let Loaded { ebpf, maps, jitter_tables } = loaded;
        Self {
            namespace: namespace.clone(),
            attach: attach.hooks,
            attacher: Attacher::new(namespace.clone(), attach.hooks),
            device_attacher: Attacher::new(namespace.clone(), attach.devices),
            maps,
            ebpf,
            slots: NumberPool::slots(),
            hook_ids: NumberPool::of(0..HOOK_COUNT),
            jitter_tables,
            hooks: HashMap::new(),
            holdings: HashMap::new(),
            cutter: None,
            kept: None,
            is_clean: true,
        }
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
            drops_before: DropsBefore::default(),
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
        let key = self.claim_hook(plan, claim)?;
        let devices = self.claim_devices(plan, claim)?;
        kill_points::here("rule.add.devices");
        self.maps.open_slot(claim.slot, claim.holding.is_some())?;
        self.write_trace(plan, claim)?;
        self.maps.set_rule(claim.slot, encoding::encode(plan, devices, self.attach))?;
        kill_points::here("rule.add.written");
        self.list(claim, &plan.selector)?;
        kill_points::here("rule.add.listed");
        self.attach_hook(key)?;
        kill_points::here("rule.add.attached");
        // A packet may have met it already, while the kernel was still busy attaching.
        let first_ns = self.maps.state(claim.slot)?.first_affected_ns;
        let now_ns = clock::monotonic_ns();
        Ok(if first_ns == 0 { now_ns } else { first_ns.min(now_ns) })
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
        kill_points::here("rule.set.written");
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
        kill_points::here("rule.remove.released");
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
        kill_points::here("rule.remove.unlisted");
        errors.extend(self.maps.close_slot(claim.slot));
        for index in claim.trace_words {
            errors.extend(self.maps.remove_trace_word(claim.slot, index).err());
        }
        let mut left: Vec<DatapathError> =
            claim.hook.and_then(|key| self.give_back_hook(key).err()).into_iter().collect();
        if let Some(key) = claim.holding {
            left.extend(self.give_back_holding(key));
        }
        if claim.cutter {
            left.extend(self.give_back_cutter());
        }
        self.is_clean &= left.is_empty();
        errors.extend(left);
        if let Some(table) = claim.jitter_table {
            self.jitter_tables.give_back(table);
        }
        self.slots.give_back(claim.slot);
        kill_points::here("rule.remove.given-back");
        errors
    }

    /// Whether no rule is left in it.
    pub(super) fn is_idle(&self) -> bool {
        self.hooks.is_empty() && self.holdings.values().all(|state| state.users == 0)
    }

    /// What the rule did, on all CPUs together.
    pub(super) fn report(&self, claim: &Claim, freshness: Freshness) -> Result<RuleReport, DatapathError> {
        let mut counters = RuleCounters::default();
        for part in &*self.maps.counters(claim.slot)? {
            counters.add(part);
        }
        let hook = claim.hook.and_then(|key| self.hooks.get(&key));
        if let Some(hook) = hook {
            counters.seen = self.maps.seen(hook.hook_id)?.wrapping_sub(claim.seen_before);
        }
        let lost = self.lost_in_devices(claim, &counters, freshness);
        counters.unintended = counters.unintended.saturating_add(lost);
        let proofs = self.maps.proofs(claim.slot)?;
        let delay = proofs.and_then(|parts| proof::measured(parts.iter()));
        let first = self.maps.state(claim.slot)?.first_affected_ns;
        Ok(RuleReport { counters, delay, first_affected_at_ns: (first != 0).then_some(first) })
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

    /// Takes down the hooks and devices that stayed without a rule. Answers what could not be, and whether everything
    /// ever could.
    pub(super) fn close(mut self) -> (Vec<DatapathError>, bool) {
        let mut errors = self.close_hooks();
        errors.extend(self.close_holdings());
        errors.extend(self.close_cutter());
        let is_clean = self.is_clean && errors.is_empty();
        (errors, is_clean)
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
