//! The devices of one namespace that rules use: holding devices and the cutter, and what they lost.

use std::cell::Cell;

use super::{Claim, Freshness, Instance};
use crate::{
    LINK_NAME_PREFIX, clock,
    datapath::{
        DatapathError, Effects, Hook, RuleCounters, RulePlan,
        attachment::Attachment,
        encoding::{self, Devices},
        object::{CUT_RETURN_PROGRAM, RETURN_PROGRAM},
    },
    holding::{Cutter, EdtPair, HoldingDevice, HoldingKind, HoldingStatistics, NetemPair, Relay, Terminals},
    link,
};

/// One relay and one fq serve all rules; netem's parameters belong to the device, so that each rule has
/// one of its own, which the slot names.
pub(super) type HoldingKey = (HoldingKind, Option<u32>);

/// A figure of a device and when the kernel told it.
#[derive(Debug, Default)]
struct Remembered(Cell<Option<(u64, u64)>>);

impl Remembered {
    const RECENT_NS: u64 = 100_000_000;

    /// As it was told last, 0 of a new device: a rule that begins does not wait for the kernel to tell. A
    /// rule of which packets are missing asks at its end, so that what was lost before is known.
    fn last(&self) -> u64 {
        self.0.get().map_or(0, |(_at_ns, figure)| figure)
    }

    fn get(&self, freshness: Freshness, ask: impl FnOnce() -> u64) -> u64 {
        let now_ns = clock::monotonic_ns();
        match self.0.get() {
            Some((at_ns, figure))
                if freshness == Freshness::Recent && now_ns.saturating_sub(at_ns) < Self::RECENT_NS =>
            {
                figure
            }
            _ => {
                let figure = ask();
                self.0.set(Some((now_ns, figure)));
                figure
            }
        }
    }
}

pub(super) struct HoldingState {
    pub(super) device: Box<dyn HoldingDevice>,
    entering: Attachment,
    returning: Attachment,
    pub(super) users: usize,
    drops: Remembered,
}

impl HoldingState {
    fn drops(&self, freshness: Freshness) -> u64 {
        self.drops.get(freshness, || self.device.drops_of_anybody())
    }
}

pub(super) struct CutterState {
    device: Cutter,
    returning: Attachment,
    users: usize,
    drops: Remembered,
}

impl Instance {
    /// Claims what the plan needs beyond what is claimed already.
    pub(super) fn claim_devices(
        &mut self,
        plan: &RulePlan,
        claim: &mut Claim,
    ) -> Result<Devices, DatapathError> {
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
                claim.drops_before.of_slot = state.device.drops_of(claim.slot);
                claim.drops_before.in_holding = state.drops.last();
            }
            claim.holding = Some(key);
            state.device.admit(claim.slot, &plan.effects)?;
        }
        Ok(())
    }

    fn ensure_holding(&mut self, key: HoldingKey, effects: &Effects) -> Result<(), DatapathError> {
        if self.is_kept_and_gone(key) {
            for error in self.remove_holding(key) {
                tracing::debug!(error = &error as &dyn std::error::Error, "a device that had gone");
            }
        }
        if !self.holdings.contains_key(&key) {
            let state = self.start_holding(key.0, effects)?;
            self.holdings.insert(key, state);
        }
        Ok(())
    }

    /// Whether somebody has deleted a device that stays without a rule.
    fn is_kept_and_gone(&self, key: HoldingKey) -> bool {
        let kept = self.holdings.get(&key).filter(|state| state.users == 0);
        kept.is_some_and(|state| {
            link::name_of(&self.namespace, state.device.terminals().entrance_index).is_err()
        })
    }

    fn start_holding(&mut self, kind: HoldingKind, effects: &Effects) -> Result<HoldingState, DatapathError> {
        let name = self.free_device_name()?;
        let device: Box<dyn HoldingDevice> = match kind {
            HoldingKind::Relay => Box::new(Relay::start(&self.namespace, name)?),
            HoldingKind::Edt => Box::new(EdtPair::start(&self.namespace, &name)?),
            HoldingKind::Netem => Box::new(NetemPair::start(&self.namespace, &name, effects)?),
        };
        let Terminals { entrance_index, exit_index, entrance_program, .. } = *device.terminals();
        let attacher = &mut self.device_attacher;
        let entering = attacher.attach(&mut self.ebpf, entrance_program, entrance_index, Hook::Egress)?;
        let returning = attacher.attach(&mut self.ebpf, RETURN_PROGRAM, exit_index, Hook::Ingress)?;
        Ok(HoldingState { device, entering, returning, users: 0, drops: Remembered::default() })
    }

    fn claim_cutter(&mut self, claim: &mut Claim) -> Result<(), DatapathError> {
        if claim.cutter {
            return Ok(());
        }
        if self.cutter.is_none() {
            let device = Cutter::start(&self.namespace, &self.free_device_name()?)?;
            let exit = device.exit_index();
            let attacher = &mut self.device_attacher;
            let returning = attacher.attach(&mut self.ebpf, CUT_RETURN_PROGRAM, exit, Hook::Ingress)?;
            self.cutter = Some(CutterState { device, returning, users: 0, drops: Remembered::default() });
        }
        if let Some(state) = &mut self.cutter {
            state.users = state.users.saturating_add(1);
        }
        claim.cutter = true;
        claim.drops_before.in_cutter = self.cutter.as_ref().map_or(0, |state| state.drops.last());
        Ok(())
    }

    fn cutter_drops(&self, claim: &Claim, freshness: Freshness) -> u64 {
        let used = self.cutter.as_ref().filter(|_state| claim.cutter);
        used.map_or(0, |state| state.drops.get(freshness, || state.device.drops()))
    }

    /// Another faultd may work in the same namespace: names are taken in turn, as they are free.
    fn free_device_name(&self) -> Result<String, DatapathError> {
        let links = link::list_names(&self.namespace)?;
        let taken = |name: &str| links.iter().any(|link| link.starts_with(name));
        let candidates = (1..100_000_u32).map(|number| format!("{LINK_NAME_PREFIX}{number:04}"));
        let free = candidates.into_iter().find(|name| !taken(name));
        free.ok_or_else(|| crate::netlink::NetlinkError::Missing("free device name".to_owned()).into())
    }

    pub(super) fn give_back_holding(&mut self, key: HoldingKey) -> Vec<DatapathError> {
        let Some(state) = self.holdings.get_mut(&key) else { return Vec::new() };
        state.users = state.users.saturating_sub(1);
        if state.users > 0 || self.kept == Some(key.0) {
            return Vec::new();
        }
        self.remove_holding(key)
    }

    fn remove_holding(&mut self, key: HoldingKey) -> Vec<DatapathError> {
        let Some(state) = self.holdings.remove(&key) else { return Vec::new() };
        let removed = state.device.remove().map_err(DatapathError::from);
        for attachment in [state.entering, state.returning] {
            self.device_attacher.forget(&attachment);
        }
        removed.err().into_iter().collect()
    }

    pub(super) fn give_back_cutter(&mut self) -> Vec<DatapathError> {
        let Some(state) = &mut self.cutter else { return Vec::new() };
        state.users = state.users.saturating_sub(1);
        if state.users > 0 {
            return Vec::new();
        }
        self.close_cutter()
    }

    pub(super) fn close_cutter(&mut self) -> Vec<DatapathError> {
        let Some(state) = self.cutter.take() else { return Vec::new() };
        let removed = state.device.remove().map_err(DatapathError::from);
        self.device_attacher.forget(&state.returning);
        removed.err().into_iter().collect()
    }

    /// Packets of the rule that devices lost although nobody asked for it. What a device lost of somebody
    /// counts as the rule's as far as packets of the rule are missing.
    pub(super) fn lost_in_devices(
        &self,
        claim: &Claim,
        counters: &RuleCounters,
        freshness: Freshness,
    ) -> u64 {
        let before = claim.drops_before;
        let state = claim.holding.and_then(|key| self.holdings.get(&key));
        let of_slot = state.map_or(0, |state| state.device.drops_of(claim.slot));
        let of_slot = of_slot.saturating_sub(before.of_slot);
        let known = counters.returned.saturating_add(counters.overflowed).saturating_add(of_slot);
        let missing = counters.delayed.saturating_sub(known);
        let in_holding = state.filter(|_state| missing > 0).map_or(0, |state| state.drops(freshness));
        let in_holding = in_holding.saturating_sub(before.in_holding).min(missing);
        let in_cutter = self.cutter_drops(claim, freshness).saturating_sub(before.in_cutter);
        of_slot.saturating_add(in_holding).saturating_add(in_cutter)
    }

    /// Makes the devices ahead that rules of this kind will need.
    pub(in crate::datapath) fn keep(&mut self, kind: Option<HoldingKind>) -> Result<(), DatapathError> {
        let Some(kind) = kind.filter(|kind| *kind != HoldingKind::Netem) else { return Ok(()) };
        self.ensure_holding((kind, None), &Effects::default())?;
        self.kept = Some(kind);
        Ok(())
    }

    pub(in crate::datapath) fn holding_statistics(&self) -> Vec<(String, HoldingStatistics)> {
        let devices = self.holdings.values().map(|state| &state.device);
        devices.map(|device| (device.terminals().name.clone(), device.statistics())).collect()
    }

    pub(super) fn close_holdings(&mut self) -> Vec<DatapathError> {
        let keys: Vec<HoldingKey> = self.holdings.keys().copied().collect();
        keys.into_iter().flat_map(|key| self.remove_holding(key)).collect()
    }
}
