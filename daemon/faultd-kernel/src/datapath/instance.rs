//! The eBPF object of one namespace, loaded: its maps, its hooks, its holding devices. Interface
//! indices are unique only within a namespace, so each has programs and maps of its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{Array, HashMap as EbpfHashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues},
};
use faultd_abi::{HOLD_NONE, InterfaceKey, RULES_PER_HOOK, Rule, RuleList};

use super::{
    AttachKind, DatapathError, Hook, RuleCounters, RulePlan,
    attachment::{Attacher, Attachment, load_program},
    lease::Deadlines,
    slots::SlotPool,
};
use crate::{
    LINK_NAME_PREFIX, clock,
    holding::{HoldingDevice, HoldingKind, HoldingStatistics, NetemPair, Relay},
    link,
    namespace::Namespace,
};

const INGRESS_PROGRAM: &str = "hook_ingress";
const EGRESS_PROGRAM: &str = "hook_egress";
const RETURN_PROGRAM: &str = "hold_return";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct HookKey {
    interface_index: u32,
    hook: Hook,
}

/// One relay serves all delays; netem's delay belongs to the device.
type HoldingKey = (HoldingKind, Duration);

/// What a rule occupies in the instance.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    slot: u32,
    hook: Option<HookKey>,
    holding: Option<HoldingKey>,
}

struct HookState {
    attachment: Attachment,
    /// Slots in the order in which they act.
    listed: Vec<u32>,
    /// Claims on the hook, those of removed rules included whose packets still come back.
    users: usize,
}

struct HoldingState {
    device: Box<dyn HoldingDevice>,
    returning: Attachment,
    users: usize,
}

pub(super) struct Instance {
    namespace: Namespace,
    ebpf: Ebpf,
    attacher: Attacher,
    interfaces: EbpfHashMap<MapData, InterfaceKey, RuleList>,
    rules: Array<MapData, Rule>,
    deadlines: Deadlines,
    packet_numbers: Array<MapData, u64>,
    counters: PerCpuArray<MapData, faultd_abi::RuleCounters>,
    slots: SlotPool,
    hooks: HashMap<HookKey, HookState>,
    holdings: HashMap<HoldingKey, HoldingState>,
}

impl Instance {
    pub(super) fn load(
        namespace: &Namespace,
        object: &[u8],
        attach: AttachKind,
    ) -> Result<Self, DatapathError> {
        let mut ebpf = load_object(object)?;
        Ok(Self {
            namespace: namespace.clone(),
            attacher: Attacher::new(namespace.clone(), attach),
            interfaces: take_map(&mut ebpf, "INTERFACES")?,
            rules: take_map(&mut ebpf, "RULES")?,
            deadlines: Arc::new(Mutex::new(take_map(&mut ebpf, "DEADLINES")?)),
            packet_numbers: take_map(&mut ebpf, "PACKET_NUMBERS")?,
            counters: take_map(&mut ebpf, "COUNTERS")?,
            ebpf,
            slots: SlotPool::new(),
            hooks: HashMap::new(),
            holdings: HashMap::new(),
        })
    }

    /// Puts a rule into force and returns since when. `grant` gives the slot its lease.
    pub(super) fn install(
        &mut self,
        plan: &RulePlan,
        grant: impl FnOnce(&Deadlines, u32) -> Result<(), DatapathError>,
    ) -> Result<(Claim, u64), DatapathError> {
        let slot = self.slots.take().ok_or(DatapathError::NoFreeSlot)?;
        let mut claim = Claim { slot, hook: None, holding: None };
        match self.install_claim(plan, &mut claim, grant) {
            Ok(effective_at_ns) => Ok((claim, effective_at_ns)),
            Err(error) => {
                for error in self.give_back(claim) {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot undo half a rule");
                }
                Err(error)
            }
        }
    }

    fn install_claim(
        &mut self,
        plan: &RulePlan,
        claim: &mut Claim,
        grant: impl FnOnce(&Deadlines, u32) -> Result<(), DatapathError>,
    ) -> Result<u64, DatapathError> {
        let hook = self.claim_hook(plan, claim)?;
        if let (Some(delay), Some(kind)) = (plan.delay, plan.holding) {
            self.claim_holding(kind, delay, claim)?;
        }
        let rule = self.abi_rule(plan, claim);
        self.rules.set(claim.slot, rule, 0).map_err(DatapathError::map("RULES"))?;
        self.packet_numbers.set(claim.slot, 0, 0).map_err(DatapathError::map("PACKET_NUMBERS"))?;
        self.clear_counters(claim.slot)?;
        grant(&self.deadlines, claim.slot)?;
        if let Some(state) = self.hooks.get_mut(&hook) {
            state.listed.push(claim.slot);
        }
        self.write_list(hook)?;
        Ok(clock::monotonic_ns())
    }

    /// Lets held packets of a rule go and makes it hold no more; tells how long some may still come.
    pub(super) fn let_go(&mut self, claim: &Claim) -> Duration {
        let state = claim.holding.and_then(|key| self.holdings.get_mut(&key));
        state.map_or(Duration::ZERO, |state| state.device.release(claim.slot))
    }

    /// Takes a rule off its hook's list: from then on no packet falls under it.
    pub(super) fn unlist(&mut self, claim: &Claim) -> Result<(), DatapathError> {
        let Some(hook) = claim.hook else { return Ok(()) };
        let Some(state) = self.hooks.get_mut(&hook) else { return Ok(()) };
        if !state.listed.contains(&claim.slot) {
            return Ok(());
        }
        state.listed.retain(|&slot| slot != claim.slot);
        self.write_list(hook)
    }

    /// Ends a claim: what nobody else uses is detached and removed. Goes on after errors.
    pub(super) fn give_back(&mut self, claim: Claim) -> Vec<DatapathError> {
        let mut errors = Vec::new();
        errors.extend(self.unlist(&claim).err());
        errors.extend(claim.hook.and_then(|key| self.give_back_hook(key).err()));
        if let Some(key) = claim.holding {
            errors.extend(self.give_back_holding(key));
        }
        self.slots.give_back(claim.slot);
        errors
    }

    /// Whether no rule is left in it.
    pub(super) fn is_idle(&self) -> bool {
        self.hooks.is_empty() && self.holdings.is_empty()
    }

    /// What the rule in a slot did, on all CPUs together.
    pub(super) fn counters(&self, claim: &Claim) -> Result<RuleCounters, DatapathError> {
        let parts = self.counters.get(&claim.slot, 0).map_err(DatapathError::map("COUNTERS"))?;
        let mut counters = RuleCounters::default();
        for part in &*parts {
            counters.add(part);
        }
        let device = claim.holding.and_then(|key| self.holdings.get(&key));
        let lost = device.map_or(0, |state| state.device.unintended_drops(claim.slot));
        counters.unintended = counters.unintended.saturating_add(lost);
        Ok(counters)
    }

    pub(super) fn holding_statistics(&self) -> Vec<(String, HoldingStatistics)> {
        let devices = self.holdings.values().map(|state| &state.device);
        devices.map(|device| (device.name().to_owned(), device.statistics())).collect()
    }

    fn claim_hook(&mut self, plan: &RulePlan, claim: &mut Claim) -> Result<HookKey, DatapathError> {
        let key = HookKey { interface_index: plan.interface.index, hook: plan.hook };
        if let Some(state) = self.hooks.get_mut(&key) {
            if state.listed.len() >= RULES_PER_HOOK {
                let interface = plan.interface.name.clone();
                return Err(DatapathError::TooManyRules { interface, limit: RULES_PER_HOOK });
            }
            state.users = state.users.saturating_add(1);
        } else {
            let program = hook_program(plan.hook);
            let attachment = self.attacher.attach(&mut self.ebpf, program, key.interface_index, key.hook)?;
            self.hooks.insert(key, HookState { attachment, listed: Vec::new(), users: 1 });
        }
        claim.hook = Some(key);
        Ok(key)
    }

    fn claim_holding(
        &mut self,
        kind: HoldingKind,
        delay: Duration,
        claim: &mut Claim,
    ) -> Result<(), DatapathError> {
        let key = match kind {
            HoldingKind::Relay => (kind, Duration::ZERO),
            HoldingKind::Netem => (kind, delay),
        };
        if !self.holdings.contains_key(&key) {
            let state = self.start_holding(kind, delay)?;
            self.holdings.insert(key, state);
        }
        if let Some(state) = self.holdings.get_mut(&key) {
            state.users = state.users.saturating_add(1);
            state.device.admit(claim.slot, delay);
        }
        claim.holding = Some(key);
        Ok(())
    }

    fn start_holding(&mut self, kind: HoldingKind, delay: Duration) -> Result<HoldingState, DatapathError> {
        let name = self.free_device_name()?;
        let device: Box<dyn HoldingDevice> = match kind {
            HoldingKind::Relay => Box::new(Relay::start(&self.namespace, name)?),
            HoldingKind::Netem => Box::new(NetemPair::start(&self.namespace, &name, delay)?),
        };
        let exit = device.exit_index();
        let returning = self.attacher.attach(&mut self.ebpf, RETURN_PROGRAM, exit, Hook::Ingress)?;
        Ok(HoldingState { device, returning, users: 0 })
    }

    /// Another faultd may work in the same namespace: names are taken in turn, as they are free.
    fn free_device_name(&self) -> Result<String, DatapathError> {
        let links = link::list(&self.namespace)?;
        let taken = |name: &str| links.iter().any(|link| link.name.starts_with(name));
        let candidates = (1..10_000_u32).map(|number| format!("{LINK_NAME_PREFIX}{number:04}"));
        let free = candidates.into_iter().find(|name| !taken(name));
        free.ok_or_else(|| crate::netlink::NetlinkError::Missing("free device name".to_owned()).into())
    }

    fn give_back_hook(&mut self, key: HookKey) -> Result<(), DatapathError> {
        let Some(state) = self.hooks.get_mut(&key) else { return Ok(()) };
        state.users = state.users.saturating_sub(1);
        if state.users > 0 {
            return Ok(());
        }
        self.hooks.remove(&key).map_or(Ok(()), |state| self.attacher.detach(state.attachment))
    }

    fn give_back_holding(&mut self, key: HoldingKey) -> Vec<DatapathError> {
        let Some(state) = self.holdings.get_mut(&key) else { return Vec::new() };
        state.users = state.users.saturating_sub(1);
        if state.users > 0 {
            return Vec::new();
        }
        let Some(state) = self.holdings.remove(&key) else { return Vec::new() };
        let detached = self.attacher.detach(state.returning).err();
        let removed = state.device.remove().map_err(DatapathError::from).err();
        detached.into_iter().chain(removed).collect()
    }

    fn abi_rule(&self, plan: &RulePlan, claim: &Claim) -> Rule {
        let device = claim.holding.and_then(|key| self.holdings.get(&key)).map(|state| &state.device);
        Rule {
            // Mixed, so that neighbouring seeds of a user have nothing in common.
            loss_seed: faultd_abi::mix(plan.seed),
            loss_threshold: plan.loss_threshold(),
            interface_index: plan.interface.index,
            hook: plan.hook.abi(),
            holding_index: device.map_or(0, |device| device.entrance_index()),
            holding_mode: device.map_or(HOLD_NONE, |device| device.mode()),
        }
    }

    fn write_list(&mut self, key: HookKey) -> Result<(), DatapathError> {
        let abi_key = InterfaceKey { interface_index: key.interface_index, hook: key.hook.abi() };
        let listed = self.hooks.get(&key).map(|state| state.listed.as_slice()).unwrap_or_default();
        if listed.is_empty() {
            return match self.interfaces.remove(&abi_key) {
                Err(MapError::KeyNotFound) => Ok(()),
                result => result.map_err(DatapathError::map("INTERFACES")),
            };
        }
        let mut list = RuleList::default();
        for (place, &slot) in list.slots.iter_mut().zip(listed) {
            *place = slot;
        }
        self.interfaces.insert(abi_key, list, 0).map_err(DatapathError::map("INTERFACES"))
    }

    fn clear_counters(&mut self, slot: u32) -> Result<(), DatapathError> {
        let cpus = aya::util::nr_cpus().map_err(|(_file, error)| DatapathError::Counters(error))?;
        let zeros = PerCpuValues::try_from(vec![faultd_abi::RuleCounters::default(); cpus]);
        let zeros = zeros.map_err(DatapathError::Counters)?;
        self.counters.set(slot, zeros, 0).map_err(DatapathError::map("COUNTERS"))
    }
}

/// Loads the object and all of its programs into the kernel, attached to nothing.
pub(crate) fn load_object(object: &[u8]) -> Result<Ebpf, DatapathError> {
    let mut ebpf = Ebpf::load(object).map_err(|error| DatapathError::Load(Box::new(error)))?;
    for program in [INGRESS_PROGRAM, EGRESS_PROGRAM, RETURN_PROGRAM] {
        load_program(&mut ebpf, program)?;
    }
    Ok(ebpf)
}

/// The program for a hook.
pub(crate) fn hook_program(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => INGRESS_PROGRAM,
        Hook::Egress => EGRESS_PROGRAM,
    }
}

fn take_map<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, DatapathError> {
    let map = ebpf.take_map(name).ok_or(DatapathError::MissingInObject(name))?;
    M::try_from(map).map_err(DatapathError::map(name))
}
