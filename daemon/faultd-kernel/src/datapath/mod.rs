//! Rules in the kernel: which packets of an interface meet which fate, until when, and what became of them.
//!
//! ```text
//! add_rule ── instance of the namespace ── slot ── devices, hook attached, rule listed ── effective
//! set_rule ── the slot's parameters are replaced as a whole
//! lease    ── every 200 ms: now + 0.9 s for the whole object; a dead or stopped daemon renews nothing
//! remove   ── let held packets go ── unlist ── cleared ── drained ── detach, give back the slot
//! ```

pub(crate) mod attachment;
mod competition;
mod effect;
mod encoding;
mod error;
pub(crate) mod instance;
mod jitter;
mod lease;
pub(crate) mod object;
mod proof;
#[cfg(test)]
mod properties;
pub(crate) mod record;
mod rule;
mod selector;
mod slots;
mod spare;
#[cfg(test)]
mod verdict_tests;
mod written;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    clock,
    holding::Drained,
    journal::Journal,
    namespace::Namespace,
    probe::{Capabilities, Support},
};

pub(crate) use self::jitter::sampled as sampled_distribution;
pub use self::{
    attachment::AttachKind,
    effect::{
        Corrupt, CorruptKind, Delay, Distribution, Effects, Jitter, LONGEST_TRACE, Loss, LossTrace, Rate,
        Reorder,
    },
    error::DatapathError,
    proof::{DelayMeasured, TimeHistogram},
    record::NamespaceRecord,
    rule::{
        AddedRule, Hook, InterfaceReference, RemovedRule, RuleCounters, RuleId, RulePlan, RuleReport,
        RuleState, TargetSide, Unit,
    },
    selector::{ANY_PORT, Network, Selector},
};
pub use crate::holding::{HoldingKind, HoldingStatistics};

use self::{
    instance::{AttachKinds, Claim, Freshness, Instance},
    lease::LeaseKeeper,
    spare::Spare,
    written::WrittenNamespaces,
};

/// How long the end of a datapath waits for packets that the kernel still holds.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// How long a packet may still be on its way out of a device after nothing is held there any more.
const WAY_OUT: Duration = Duration::from_millis(50);

/// How often ended rules are looked at whose packets the kernel still holds.
const DRAIN_CHECK: Duration = Duration::from_millis(10);

/// All rules of this process. What it made is removed when it is dropped.
pub struct Datapath {
    shared: Arc<Shared>,
    drain_thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when `State::draining` or `State::stopping` changes.
    changed: Condvar,
}

struct State {
    spare: Spare,
    attach: AttachKinds,
    /// The device that rules most likely need.
    likely_holding: Option<HoldingKind>,
    instances: HashMap<Namespace, Instance>,
    /// Written down before anything is made in one.
    written: WrittenNamespaces,
    /// Namespaces whose instance stays loaded without rules, and how many asked for that.
    prepared: HashMap<Namespace, usize>,
    rules: BTreeMap<RuleId, InstalledRule>,
    draining: Vec<Draining>,
    leases: LeaseKeeper,
    last_id: u64,
    stopping: bool,
}

struct InstalledRule {
    plan: RulePlan,
    claim: Claim,
    effective_at_ns: u64,
}

/// What a removed rule still occupies because the kernel may hold packets of it.
struct Draining {
    until_ns: u64,
    drained: Drained,
    /// When the last packet has left its device for sure; nothing while some are held.
    gone_at_ns: Option<u64>,
    namespace: Namespace,
    claim: Claim,
}

impl Datapath {
    /// Makes a datapath that loads the given eBPF object, once for each namespace when it is first
    /// needed, and attaches its programs in the way that probing found. Each namespace is written down in the
    /// journal before anything is made in it.
    ///
    /// # Errors
    /// When the kernel can attach programs in no way, or a thread cannot be started.
    pub fn start(
        ebpf_object: &[u8],
        capabilities: &Capabilities,
        journal: Journal,
    ) -> Result<Self, DatapathError> {
        let attach = capabilities.attach_kind().ok_or(DatapathError::NoAttachKind)?;
        let available = |support: &Support| *support == Support::Available;
        let likely_holding = if available(&capabilities.fq) {
            Some(HoldingKind::Edt)
        } else {
            available(&capabilities.tap).then_some(HoldingKind::Relay)
        };
        let devices = if available(&capabilities.clsact) { AttachKind::Clsact } else { attach };
        Self::start_attaching(ebpf_object, AttachKinds { hooks: attach, devices }, likely_holding, journal)
    }

    /// As [`Datapath::start`], with programs attached in the way that the caller says, and with that
    /// device, if any, made ready by [`Datapath::prepare`].
    pub fn start_with(
        ebpf_object: &[u8],
        attach: AttachKind,
        likely_holding: Option<HoldingKind>,
        journal: Journal,
    ) -> Result<Self, DatapathError> {
        let attach = AttachKinds { hooks: attach, devices: attach };
        Self::start_attaching(ebpf_object, attach, likely_holding, journal)
    }

    fn start_attaching(
        ebpf_object: &[u8],
        attach: AttachKinds,
        likely_holding: Option<HoldingKind>,
        journal: Journal,
    ) -> Result<Self, DatapathError> {
        let state = State {
            spare: Spare::of(ebpf_object),
            attach,
            likely_holding,
            instances: HashMap::new(),
            written: WrittenNamespaces::in_journal(journal),
            prepared: HashMap::new(),
            rules: BTreeMap::new(),
            draining: Vec::new(),
            leases: LeaseKeeper::start().map_err(DatapathError::Thread)?,
            last_id: 0,
            stopping: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let drain_thread = {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name("faultd-drain".to_owned());
            builder.spawn(move || shared.finish_drained()).map_err(DatapathError::Thread)?
        };
        Ok(Self { shared, drain_thread: Some(drain_thread) })
    }

    /// Keeps one more object loaded than there are namespaces with rules, from soon on, so that the first
    /// rule in a namespace does not wait for the verifier.
    pub fn keep_spare(&self) {
        self.shared.lock().spare.keep();
    }

    /// How programs are attached.
    pub fn attach_kind(&self) -> AttachKind {
        self.shared.lock().attach.hooks
    }

    /// Gets a namespace ready for rules, the next of which then takes effect in a fraction of the time:
    /// the verifier has done its work and the holding device is there. Undone by [`Datapath::release`].
    ///
    /// # Errors
    /// When the kernel refuses the programs or the device.
    pub fn prepare(&self, namespace: &Namespace) -> Result<(), DatapathError> {
        let mut state = self.shared.lock();
        let kind = state.likely_holding;
        let kept = state.load(namespace)?.keep(kind);
        if kept.is_err() {
            state.unload_if_idle(namespace);
        }
        kept?;
        *state.prepared.entry(namespace.clone()).or_default() += 1;
        Ok(())
    }

    /// Takes back one [`Datapath::prepare`]; the programs go when no rule needs them either.
    pub fn release(&self, namespace: &Namespace) {
        let mut state = self.shared.lock();
        if let Some(count) = state.prepared.get_mut(namespace) {
            *count = count.saturating_sub(1);
        }
        state.prepared.retain(|_, count| *count > 0);
        state.unload_if_idle(namespace);
    }

    /// As [`Datapath::prepare`] for the namespace of an interface, and attaches the programs to it: a rule
    /// on it then takes effect in well below a millisecond. Undone by [`Datapath::release_interface`].
    ///
    /// # Errors
    /// When the kernel refuses; nothing is held ready then.
    pub fn prepare_interface(&self, interface: &InterfaceReference) -> Result<(), DatapathError> {
        self.prepare(&interface.namespace)?;
        let held = match self.shared.lock().instances.get_mut(&interface.namespace) {
            Some(instance) => instance.hold_hooks(interface),
            None => Ok(()),
        };
        if held.is_err() {
            self.release(&interface.namespace);
        }
        held
    }

    /// Takes back one [`Datapath::prepare_interface`].
    pub fn release_interface(&self, interface: &InterfaceReference) {
        if let Some(instance) = self.shared.lock().instances.get_mut(&interface.namespace) {
            for error in instance.let_hooks_go(interface) {
                tracing::error!(error = &error as &dyn std::error::Error, "could not detach a program");
            }
        }
        self.release(&interface.namespace);
    }

    /// Installs a rule. When this returns it holds, since the instant that is returned.
    ///
    /// # Errors
    /// When the plan makes no sense or the kernel refuses; nothing is left behind then.
    pub fn add_rule(&self, plan: RulePlan) -> Result<AddedRule, DatapathError> {
        self.shared.lock().add(plan)
    }

    /// Changes what a rule does, to which packets and until when, at once for each packet: none is lost
    /// and none meets half of a change. What it counted, and what it remembers of earlier packets, goes on.
    ///
    /// # Errors
    /// When the plan makes no sense, moves the rule or its packets to another place, or the kernel
    /// refuses; the rule holds as it was, then.
    pub fn set_rule(&self, id: RuleId, plan: RulePlan) -> Result<(), DatapathError> {
        self.shared.lock().set(id, plan)
    }

    /// Removes a rule. When this returns it does not hold any more, an error or not. Packets that
    /// the relay held have left by then, in order; those that the kernel holds leave when they are due,
    /// and later ones wait for them.
    ///
    /// # Errors
    /// [`DatapathError::UnknownRule`], or what could not be taken down or read.
    pub fn remove_rule(&self, id: RuleId) -> Result<RemovedRule, DatapathError> {
        let removed = self.shared.lock().remove(id);
        self.shared.changed.notify_all();
        removed
    }

    /// What a rule did so far, and how exactly.
    pub fn report(&self, id: RuleId) -> Result<RuleReport, DatapathError> {
        let state = self.shared.lock();
        let rule = state.rules.get(&id).ok_or(DatapathError::UnknownRule(id))?;
        state.report(&rule.plan.interface.namespace, &rule.claim)
    }

    /// What a rule did so far, in packets.
    pub fn counters(&self, id: RuleId) -> Result<RuleCounters, DatapathError> {
        self.report(id).map(|report| report.counters)
    }

    /// Changes until when a rule may act, on [`clock::monotonic_ns`]; nothing means until removed.
    pub fn set_deadline(&self, id: RuleId, deadline_monotonic_ns: Option<u64>) -> Result<(), DatapathError> {
        let mut state = self.shared.lock();
        let rule = state.rules.get(&id).ok_or(DatapathError::UnknownRule(id))?;
        let plan = RulePlan { deadline_monotonic_ns, ..rule.plan.clone() };
        state.set(id, plan)
    }

    /// All rules, oldest first, expired ones included until they are removed.
    pub fn rules(&self) -> Vec<RuleState> {
        let state = self.shared.lock();
        let rules = state.rules.iter();
        rules
            .map(|(&id, rule)| RuleState {
                id,
                plan: rule.plan.clone(),
                effective_at_ns: rule.effective_at_ns,
            })
            .collect()
    }

    /// The holding devices by name, with what they did.
    pub fn holding_devices(&self) -> Vec<(String, HoldingStatistics)> {
        self.shared.lock().instances.values().flat_map(Instance::holding_statistics).collect()
    }

    /// Removes all rules and devices; goes on after errors and returns them all.
    ///
    /// # Errors
    /// [`DatapathError::Teardown`] with everything that went wrong.
    pub fn shutdown(mut self) -> Result<(), DatapathError> {
        DatapathError::from_teardown(self.stop())
    }

    fn stop(&mut self) -> Vec<DatapathError> {
        let Some(drain_thread) = self.drain_thread.take() else { return Vec::new() };
        let mut errors = self.shared.lock().remove_all();
        errors.extend(self.shared.wait_for_drain(SHUTDOWN_PATIENCE));
        let mut state = self.shared.lock();
        state.stopping = true;
        let namespaces: Vec<Namespace> = state.instances.keys().cloned().collect();
        namespaces.iter().for_each(|namespace| state.unload(namespace));
        drop(state);
        self.shared.changed.notify_all();
        if drain_thread.join().is_err() {
            tracing::error!("the thread that waits for held packets panicked");
        }
        errors
    }
}

impl Drop for Datapath {
    fn drop(&mut self) {
        for error in self.stop() {
            tracing::error!(error = &error as &dyn std::error::Error, "could not clean up the datapath");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not keep us from removing faults.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The drain thread: takes down what removed rules left, as soon as no packet can be in it.
    fn finish_drained(&self) {
        let mut state = self.lock();
        while !state.stopping {
            for error in state.finish_drained(clock::monotonic_ns()) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "could not take down a drained rule"
                );
            }
            let wait = if state.draining.is_empty() { Duration::from_secs(3600) } else { DRAIN_CHECK };
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until nothing drains, then takes down at once what is left.
    fn wait_for_drain(&self, patience: Duration) -> Vec<DatapathError> {
        let mut errors = Vec::new();
        let give_up_ns = clock::monotonic_ns().saturating_add(clock::nanoseconds(patience));
        loop {
            let now_ns = clock::monotonic_ns();
            let mut state = self.lock();
            errors.extend(state.finish_drained(if now_ns < give_up_ns { now_ns } else { u64::MAX }));
            if state.draining.is_empty() {
                return errors;
            }
            drop(state);
            thread::sleep(DRAIN_CHECK);
        }
    }
}

impl State {
    fn add(&mut self, plan: RulePlan) -> Result<AddedRule, DatapathError> {
        plan.check()?;
        let namespace = plan.interface.namespace.clone();
        let id = RuleId::new(self.last_id.wrapping_add(1));
        let installed = self.load(&namespace).and_then(|instance| instance.install(&plan, id.get()));
        match installed {
            Ok((claim, effective_at_ns)) => {
                self.last_id = id.get();
                self.rules.insert(id, InstalledRule { plan, claim, effective_at_ns });
                Ok(AddedRule { id, effective_at_ns })
            }
            Err(error) => {
                self.unload_if_idle(&namespace);
                Err(error)
            }
        }
    }

    fn set(&mut self, id: RuleId, plan: RulePlan) -> Result<(), DatapathError> {
        plan.check()?;
        let rule = self.rules.get_mut(&id).ok_or(DatapathError::UnknownRule(id))?;
        if rule.plan.interface.namespace != plan.interface.namespace {
            return Err(DatapathError::Moved);
        }
        let instance = self.instances.get_mut(&plan.interface.namespace);
        let instance = instance.ok_or(DatapathError::UnknownRule(id))?;
        instance.change(&mut rule.claim, &rule.plan, &plan)?;
        rule.plan = plan;
        Ok(())
    }

    fn remove(&mut self, id: RuleId) -> Result<RemovedRule, DatapathError> {
        let InstalledRule { plan, claim, .. } =
            self.rules.remove(&id).ok_or(DatapathError::UnknownRule(id))?;
        let namespace = plan.interface.namespace;
        let instance = self.instances.get_mut(&namespace).ok_or(DatapathError::UnknownRule(id))?;
        let report = instance.report(&claim, Freshness::Now);
        let (drained, mut errors) = instance.begin_end(&claim);
        let cleared_at_ns = clock::monotonic_ns();
        // Once more, for what was on its way; if that is not possible any more, what was known before.
        let report = instance.report(&claim, Freshness::Now).or(report);
        let longest = instance::longest_drain(drained);
        let until_ns = cleared_at_ns.saturating_add(clock::nanoseconds(longest));
        self.draining.push(Draining { until_ns, drained, gone_at_ns: None, namespace, claim });
        errors.extend(self.finish_drained(clock::monotonic_ns()));
        DatapathError::from_teardown(errors)?;
        Ok(RemovedRule { report: report?, cleared_at_ns })
    }

    fn remove_all(&mut self) -> Vec<DatapathError> {
        let ids: Vec<RuleId> = self.rules.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.remove(id).err()).collect()
    }

    fn report(&self, namespace: &Namespace, claim: &Claim) -> Result<RuleReport, DatapathError> {
        self.instances
            .get(namespace)
            .map_or_else(|| Ok(RuleReport::default()), |instance| instance.report(claim, Freshness::Recent))
    }

    fn finish_drained(&mut self, now_ns: u64) -> Vec<DatapathError> {
        let mut errors = Vec::new();
        for mut draining in std::mem::take(&mut self.draining) {
            let Some(instance) = self.instances.get_mut(&draining.namespace) else { continue };
            let over = draining.until_ns <= now_ns;
            if draining.gone_at_ns.is_none()
                && (over || instance.is_drained(&draining.claim, draining.drained))
            {
                // From here on nothing comes to the device any more.
                errors.extend(instance.unlist(&draining.claim).err());
                let way_out = if draining.drained == Drained::Now { Duration::ZERO } else { WAY_OUT };
                draining.gone_at_ns = Some(now_ns.saturating_add(clock::nanoseconds(way_out)));
            }
            if draining.gone_at_ns.is_some_and(|at_ns| at_ns <= now_ns) {
                errors.extend(instance.give_back(draining.claim));
                self.unload_if_idle(&draining.namespace);
            } else {
                self.draining.push(draining);
            }
        }
        errors
    }

    /// The instance of a namespace, loaded where it is not yet.
    fn load(&mut self, namespace: &Namespace) -> Result<&mut Instance, DatapathError> {
        match self.instances.entry(namespace.clone()) {
            Entry::Occupied(loaded) => Ok(loaded.into_mut()),
            Entry::Vacant(place) => {
                let instance = Instance::new(namespace, self.spare.take()?, self.attach);
                self.written.begin(namespace)?;
                if let Err(error) = self.leases.keep(instance.lease()) {
                    self.written.end(namespace, true);
                    return Err(error);
                }
                Ok(place.insert(instance))
            }
        }
    }

    fn unload_if_idle(&mut self, namespace: &Namespace) {
        let idle = self.instances.get(namespace).is_some_and(Instance::is_idle);
        if idle && !self.prepared.contains_key(namespace) {
            self.unload(namespace);
        }
    }

    /// Unloads the programs of a namespace with all that is still attached there.
    fn unload(&mut self, namespace: &Namespace) {
        let Some(instance) = self.instances.remove(namespace) else { return };
        self.leases.end(&instance.lease());
        let (errors, is_clean) = instance.close();
        for error in errors {
            tracing::error!(error = &error as &dyn std::error::Error, "could not take down a device");
        }
        self.written.end(namespace, is_clean);
    }
}
