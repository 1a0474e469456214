//! Rules in the kernel: which packets of an interface are lost or delayed, until when, and what
//! became of them.
//!
//! ```text
//! add_rule ── instance of the namespace ── slot ── holding device, hook attached, rule listed ── effective
//! lease    ── every 200 ms: deadline = min(the user's, now + 0.9 s); a dead or stopped daemon renews nothing
//! remove   ── let held packets go ── unlist ── cleared ── drained ── detach, give back the slot
//! ```

pub(crate) mod attachment;
mod error;
pub(crate) mod instance;
mod lease;
mod rule;
mod slots;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{clock, namespace::Namespace, probe::Capabilities};

pub use self::{
    attachment::AttachKind,
    error::DatapathError,
    rule::{AddedRule, Hook, InterfaceReference, RemovedRule, RuleCounters, RuleId, RulePlan, RuleState},
};
pub use crate::holding::{HoldingKind, HoldingStatistics};

use self::{
    instance::{Claim, Instance},
    lease::LeaseKeeper,
};

/// How long the end of a datapath waits for packets that the kernel still holds.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

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
    object: Vec<u8>,
    attach: AttachKind,
    instances: HashMap<Namespace, Instance>,
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
    namespace: Namespace,
    claim: Claim,
}

impl Datapath {
    /// Makes a datapath that loads the given eBPF object, once for each namespace when it is first
    /// needed, and attaches its programs in the way that probing found.
    ///
    /// # Errors
    /// When the kernel can attach programs in no way, or a thread cannot be started.
    pub fn start(ebpf_object: &[u8], capabilities: &Capabilities) -> Result<Self, DatapathError> {
        let attach = capabilities.attach_kind().ok_or(DatapathError::NoAttachKind)?;
        Self::start_with(ebpf_object, attach)
    }

    /// As [`Datapath::start`], with programs attached in the way that the caller says.
    pub fn start_with(ebpf_object: &[u8], attach: AttachKind) -> Result<Self, DatapathError> {
        let state = State {
            object: ebpf_object.to_vec(),
            attach,
            instances: HashMap::new(),
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

    /// How programs are attached.
    pub fn attach_kind(&self) -> AttachKind {
        self.shared.lock().attach
    }

    /// Loads the programs for a namespace ahead of its first rule, which then takes effect in a
    /// fraction of the time: the verifier has done its work. Undone by [`Datapath::release`].
    ///
    /// # Errors
    /// When the kernel refuses the programs.
    pub fn prepare(&self, namespace: &Namespace) -> Result<(), DatapathError> {
        let mut state = self.shared.lock();
        let State { instances, object, attach, .. } = &mut *state;
        load(instances, namespace, object, *attach)?;
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

    /// Installs a rule. When this returns it holds, since the instant that is returned.
    ///
    /// # Errors
    /// When the plan makes no sense or the kernel refuses; nothing is left behind then.
    pub fn add_rule(&self, plan: RulePlan) -> Result<AddedRule, DatapathError> {
        self.shared.lock().add(plan)
    }

    /// Removes a rule. When this returns it does not hold any more, an error or not. Packets that
    /// the relay held have left by then, in order; those that netem holds leave when they are due.
    ///
    /// # Errors
    /// [`DatapathError::UnknownRule`], or what could not be taken down or read.
    pub fn remove_rule(&self, id: RuleId) -> Result<RemovedRule, DatapathError> {
        let removed = self.shared.lock().remove(id);
        self.shared.changed.notify_all();
        removed
    }

    /// What a rule did so far.
    pub fn counters(&self, id: RuleId) -> Result<RuleCounters, DatapathError> {
        let state = self.shared.lock();
        let rule = state.rules.get(&id).ok_or(DatapathError::UnknownRule(id))?;
        state.counters(&rule.plan.interface.namespace, &rule.claim)
    }

    /// Changes until when a rule may act, on [`clock::monotonic_ns`]; nothing means until removed.
    pub fn set_deadline(&self, id: RuleId, deadline_monotonic_ns: Option<u64>) -> Result<(), DatapathError> {
        let mut state = self.shared.lock();
        let rule = state.rules.get_mut(&id).ok_or(DatapathError::UnknownRule(id))?;
        rule.plan.deadline_monotonic_ns = deadline_monotonic_ns;
        state.leases.set_deadline(id, deadline_monotonic_ns)
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
        self.shared.lock().stopping = true;
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
            let wait = state.time_to_drain().unwrap_or(Duration::from_secs(3600));
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until nothing drains, then takes down at once what is left.
    fn wait_for_drain(&self, patience: Duration) -> Vec<DatapathError> {
        let wait = self.lock().time_to_drain_all().unwrap_or_default();
        thread::sleep(wait.min(patience));
        self.lock().finish_drained(u64::MAX)
    }
}

impl State {
    fn add(&mut self, plan: RulePlan) -> Result<AddedRule, DatapathError> {
        plan.check()?;
        let namespace = plan.interface.namespace.clone();
        let instance = load(&mut self.instances, &namespace, &self.object, self.attach)?;
        let id = RuleId::new(self.last_id.wrapping_add(1));
        let leases = &mut self.leases;
        let installed = instance
            .install(&plan, |deadlines, slot| leases.grant(id, deadlines, slot, plan.deadline_monotonic_ns));
        match installed {
            Ok((claim, effective_at_ns)) => {
                self.last_id = id.get();
                self.rules.insert(id, InstalledRule { plan, claim, effective_at_ns });
                Ok(AddedRule { id, effective_at_ns })
            }
            Err(error) => {
                self.leases.end(id);
                self.unload_if_idle(&namespace);
                Err(error)
            }
        }
    }

    fn remove(&mut self, id: RuleId) -> Result<RemovedRule, DatapathError> {
        let rule = self.rules.remove(&id).ok_or(DatapathError::UnknownRule(id))?;
        let namespace = rule.plan.interface.namespace;
        let mut errors = Vec::new();
        let instance = self.instances.get_mut(&namespace).ok_or(DatapathError::UnknownRule(id))?;
        instance.let_go(&rule.claim);
        // Ends the rule even if it could not be unlisted.
        self.leases.end(id);
        errors.extend(instance.unlist(&rule.claim).err());
        let cleared_at_ns = clock::monotonic_ns();
        let drain = instance.let_go(&rule.claim);
        let counters = self.counters(&namespace, &rule.claim);
        let until_ns = clock::monotonic_ns().saturating_add(clock::nanoseconds(drain));
        self.draining.push(Draining { until_ns, namespace, claim: rule.claim });
        errors.extend(self.finish_drained(clock::monotonic_ns()));
        DatapathError::from_teardown(errors)?;
        Ok(RemovedRule { counters: counters?, cleared_at_ns })
    }

    fn remove_all(&mut self) -> Vec<DatapathError> {
        let ids: Vec<RuleId> = self.rules.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.remove(id).err()).collect()
    }

    fn counters(&self, namespace: &Namespace, claim: &Claim) -> Result<RuleCounters, DatapathError> {
        self.instances
            .get(namespace)
            .map_or_else(|| Ok(RuleCounters::default()), |instance| instance.counters(claim))
    }

    fn finish_drained(&mut self, now_ns: u64) -> Vec<DatapathError> {
        let (done, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.draining).into_iter().partition(|draining| draining.until_ns <= now_ns);
        self.draining = waiting;
        let mut errors = Vec::new();
        for Draining { namespace, claim, .. } in done {
            if let Some(instance) = self.instances.get_mut(&namespace) {
                errors.extend(instance.give_back(claim));
            }
            self.unload_if_idle(&namespace);
        }
        errors
    }

    fn unload_if_idle(&mut self, namespace: &Namespace) {
        if self.prepared.contains_key(namespace) {
            return;
        }
        if self.instances.get(namespace).is_some_and(Instance::is_idle) {
            self.instances.remove(namespace);
        }
    }

    fn time_to_drain(&self) -> Option<Duration> {
        self.draining.iter().map(|draining| remaining(draining.until_ns)).min()
    }

    fn time_to_drain_all(&self) -> Option<Duration> {
        self.draining.iter().map(|draining| remaining(draining.until_ns)).max()
    }
}

/// The instance of a namespace, loaded where it is not yet.
fn load<'a>(
    instances: &'a mut HashMap<Namespace, Instance>,
    namespace: &Namespace,
    object: &[u8],
    attach: AttachKind,
) -> Result<&'a mut Instance, DatapathError> {
    match instances.entry(namespace.clone()) {
        Entry::Occupied(loaded) => Ok(loaded.into_mut()),
        Entry::Vacant(place) => Ok(place.insert(Instance::load(namespace, object, attach)?)),
    }
}

fn remaining(until_ns: u64) -> Duration {
    Duration::from_nanos(until_ns.saturating_sub(clock::monotonic_ns()))
}
