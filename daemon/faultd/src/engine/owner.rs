//! The engine's thread: the only place where faults begin and end.

use std::{
    collections::{BTreeMap, BTreeSet},
    io, thread,
    time::Duration,
};

use faultd_api::{
    fault::{Direction, FaultStatus},
    units::nanoseconds,
};
use faultd_kernel::{
    clock,
    datapath::{Effects, Hook, InterfaceReference, RulePlan, Selector},
    kill_points,
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    active::{ActiveFault, Applied, Cleared},
    carrier::{Carried, Carriers, Ended},
    handle::{Application, Command, EngineError, EngineHandle, FollowedContainers, Selection, Told},
    port::{ProcessPort, RulePort},
    queue::{Clearings, Waiting, queues},
    report::FaultReport,
};
use crate::{engine::FaultOwner, error_chain, fault::ProcessFault, metrics::Metrics, random_seed};

/// Callers wait for a reply, so a short queue is enough: it bounds callers, not work.
const QUEUE_LENGTH: usize = 64;

/// Starts the engine's thread.
///
/// # Errors
/// When the thread or its timer cannot be had.
pub fn start(
    rules: impl RulePort,
    processes: impl ProcessPort,
    metrics: Metrics,
) -> io::Result<EngineHandle> {
    let (callers, waiting) = queues(QUEUE_LENGTH);
    // A runtime of its own: calls into the kernel block, and nothing else may wait for them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut owner = Owner::new(rules, Box::new(processes), metrics);
    let handle = EngineHandle::new(callers, owner.told());
    let serve = move || {
        let who_stops = runtime.block_on(owner.serve(waiting));
        // What stayed ready without a fault goes before anybody is told that everything has.
        drop(owner);
        if let Some(reply) = who_stops {
            // They may not wait for it any more.
            let _ = reply.send(());
        }
    };
    thread::Builder::new().name("engine".to_owned()).spawn(serve)?;
    Ok(handle)
}

pub(super) struct Owner<P> {
    pub(super) carriers: Carriers<P>,
    pub(super) metrics: Metrics,
    pub(super) faults: BTreeMap<u64, ActiveFault>,
    last_id: u64,
    clearings: Clearings,
    /// What is to be followed.
    pub(super) named_peers: watch::Sender<BTreeSet<String>>,
    pub(super) containers: watch::Sender<FollowedContainers>,
    /// Counts changes, for those who look on.
    pub(super) changes: watch::Sender<u64>,
}

impl<P: RulePort> Owner<P> {
    pub(super) fn new(rules: P, processes: Box<dyn ProcessPort>, metrics: Metrics) -> Self {
        let carriers = Carriers { rules, processes };
        let (named_peers, containers) = (watch::Sender::default(), watch::Sender::default());
        let (faults, clearings, changes) = (BTreeMap::new(), Clearings::default(), watch::Sender::default());
        Self { carriers, metrics, faults, last_id: 0, clearings, named_peers, containers, changes }
    }

    /// What those hear who follow.
    pub(super) fn told(&self) -> Told {
        Told {
            named_peers: self.named_peers.subscribe(),
            containers: self.containers.subscribe(),
            changes: self.changes.subscribe(),
        }
    }

    /// One thing at a time: first what clears everything, then what is over, then what was asked for, in its order.
    /// Answers who waits for the end.
    pub(super) async fn serve(&mut self, waiting: Waiting) -> Option<oneshot::Sender<()>> {
        let Waiting { mut in_order, mut ahead, clearings } = waiting;
        self.clearings = clearings;
        loop {
            let next_deadline = self.faults.values().filter_map(|fault| fault.deadline).min();
            tokio::select! {
                biased;
                Some(command) = ahead.recv() => match command {
                    Command::Stop { reply } => {
                        self.clear(&Selection::All, "stop");
                        return Some(reply);
                    }
                    command => self.handle(command),
                },
                () = sleep_until_some(next_deadline) => self.expire(),
                command = in_order.recv() => match command {
                    Some(command) => self.handle(command),
                    None => break,
                },
            }
        }
        self.clear(&Selection::All, "stop");
        None
    }

    /// Replies are dropped where the caller has gone in the meantime: the deed stands, its owner's
    /// end will clear it.
    fn handle(&mut self, command: Command) {
        match command {
            Command::Add { application, clearings, reply } => {
                kill_points::here("engine.add.begin");
                let result = self.add(*application, clearings);
                kill_points::here("engine.add.done");
                self.metrics.fault_transition("add", result.is_ok());
                let _ = reply.send(result);
            }
            Command::Set { id, application, reply } => {
                let result = self.set(&id, *application);
                kill_points::here("engine.set.done");
                self.metrics.fault_transition("set", result.is_ok());
                let _ = reply.send(result);
            }
            Command::Clear { selection, reply } => {
                kill_points::here("engine.clear.begin");
                let cleared = self.clear(&selection, "remove");
                kill_points::here("engine.clear.done");
                let _ = reply.send(cleared);
            }
            Command::List { reply } => {
                let _ = reply.send(self.list());
            }
            Command::Follow { found, reply } => {
                self.follow(&found);
                let _ = reply.send(());
            }
            Command::Move { id, whereabouts, reply } => {
                self.move_fault(&id, *whereabouts);
                let _ = reply.send(());
            }
            Command::Prepare { interfaces, reply } => {
                let _ = reply.send(self.prepare(&interfaces));
            }
            Command::Release { interfaces, reply } => {
                interfaces.iter().for_each(|interface| self.carriers.rules.release(interface));
                let _ = reply.send(());
            }
            Command::Stop { .. } => {}
        }
    }

    fn prepare(&mut self, interfaces: &[InterfaceReference]) -> Result<(), EngineError> {
        for (position, interface) in interfaces.iter().enumerate() {
            if let Err(error) = self.carriers.rules.prepare(interface) {
                interfaces.iter().take(position).for_each(|ready| self.carriers.rules.release(ready));
                return Err(EngineError::NotPrepared(error_chain(&error)));
            }
        }
        Ok(())
    }

    fn add(&mut self, application: Application, clearings: u64) -> Result<Applied, EngineError> {
        let commanded_ns = clock::monotonic_ns();
        if self.clearings.so_far() != clearings {
            return Err(EngineError::ClearedMeanwhile(application.target.name));
        }
        self.refuse_occupied(&application, None)?;
        self.refuse_beyond_budget(&application)?;
        let seed = application.spec.seed.unwrap_or_else(random_seed);
        let hold_for = application.spec.hold_for;
        let deadline_ns = deadline_after(commanded_ns, hold_for);
        let deadline = ActiveFault::deadline_in(hold_for);
        let is_wanted = || self.clearings.so_far() == clearings;
        let installed = self.carriers.install(&application, seed, deadline_ns, is_wanted);
        let (carried, effective_ns) = installed?;
        self.last_id += 1;
        let id = format!("f{}", self.last_id);
        let fault = ActiveFault {
            id,
            application,
            carried,
            kept: FaultReport::default(),
            away: false,
            follows: 0,
            seed,
            deadline,
            deadline_ns,
            refused_to_follow: false,
            commanded_ns,
            begun_ns: effective_ns,
        };
        let status = fault.status(&FaultReport::default());
        tracing::info!(
            fault = status.id,
            target = status.target,
            kind = status.kind,
            backend = status.backend,
            "fault applied"
        );
        self.faults.insert(self.last_id, fault);
        self.tell_followed();
        Ok(Applied { status, commanded_ns, effective_ns })
    }

    /// Another fault may hold on the same target for other packets, or with another priority: which of
    /// two that are alike would act, could not be seen. Of faults on its processes there is one of each kind.
    pub(super) fn refuse_occupied(
        &self,
        application: &Application,
        itself: Option<u64>,
    ) -> Result<(), EngineError> {
        for (_, other) in self.faults.iter().filter(|(number, _)| Some(**number) != itself) {
            let theirs = &other.application;
            refuse_same_kind(&other.id, theirs, application)?;
            let on_packets = |one: &Application| one.spec.processes.is_none();
            let alike = on_packets(theirs)
                && on_packets(application)
                && theirs.spec.shape.priority == application.spec.shape.priority
                && share_a_hook(theirs, application)
                && theirs.selectors() == application.selectors();
            if alike {
                return Err(EngineError::Occupied {
                    target: application.target.name.clone(),
                    direction: theirs.spec.direction.text().to_owned(),
                    id: other.id.clone(),
                });
            }
        }
        Ok(())
    }

    fn refuse_beyond_budget(&self, application: &Application) -> Result<(), EngineError> {
        let under_fault = self.faults.values().map(|fault| fault.application.target.name.as_str());
        Ok(application.budget.check(&application.target.name, under_fault.collect())?)
    }

    /// Changes every rule of a fault. Those that are changed when the kernel refuses one stay changed: it
    /// refuses plans, and those of one fault are alike.
    fn set(&mut self, id: &str, application: Application) -> Result<FaultStatus, EngineError> {
        let fault = self.faults.values_mut().find(|fault| fault.id == id);
        let fault = fault.ok_or_else(|| EngineError::NoSuchFault(id.to_owned()))?;
        let holds = &fault.application;
        if holds.target.name != application.target.name
            || holds.spec.network != application.spec.network
            || holds.spec.direction != application.spec.direction
            || kind_of_processes(holds) != kind_of_processes(&application)
            || holds.selectors().len() != application.selectors().len()
        {
            return Err(EngineError::NotTheSame(id.to_owned()));
        }
        if !fault.away && !self.carriers.is_anywhere(fault) {
            let what = if holds.spec.processes.is_some() { "hold on its processes" } else { "interface" };
            let reason = format!("its {what} has gone: remove it and add a new one");
            return Err(EngineError::NotChanged { id: id.to_owned(), reason });
        }
        // Where nothing waited so far, anything may; otherwise packets stay with the device they are in.
        let holding = holds.backend.holding.or(application.backend.holding);
        let commanded_ns = clock::monotonic_ns();
        let hold_for = application.spec.hold_for;
        let deadline_ns = deadline_after(commanded_ns, hold_for);
        // The rules are where they are, also if the target has more interfaces by now.
        let (target, owner, spared) = (holds.target.clone(), holds.owner.clone(), holds.spared.clone());
        let mut application = Application { target, owner, spared, ..application };
        application.backend.holding = holding;
        application.keep_containers(&holds.peers);
        self.carriers
            .set(fault, &application, deadline_ns)
            .map_err(|reason| EngineError::NotChanged { id: id.to_owned(), reason })?;
        fault.application = application;
        fault.deadline = ActiveFault::deadline_in(hold_for);
        fault.deadline_ns = deadline_ns;
        let report = self.carriers.report(fault);
        let status = fault.status(&report);
        tracing::info!(fault = status.id, target = status.target, does = status.text, "fault changed");
        self.tell_followed();
        Ok(status)
    }

    /// Ends what carries a fault out, and counts what could not be removed.
    pub(super) fn uninstall(&mut self, carried: &Carried) -> Ended {
        let ended = self.carriers.uninstall(carried);
        ended.failures.iter().for_each(|_failure| self.metrics.cleanup_failure());
        ended
    }

    fn clear(&mut self, selection: &Selection, action: &'static str) -> Vec<Cleared> {
        let chosen: Vec<u64> = self
            .faults
            .iter()
            .filter(|(_, fault)| is_selected(fault, selection))
            .map(|(id, _)| *id)
            .collect();
        chosen.into_iter().filter_map(|id| self.remove(id, action)).collect()
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let over: Vec<u64> =
            self.faults.iter().filter(|(_, fault)| fault.is_over(now)).map(|(id, _)| *id).collect();
        for id in over {
            kill_points::here("engine.expire");
            self.remove(id, "expire");
        }
    }

    fn remove(&mut self, id: u64, action: &'static str) -> Option<Cleared> {
        let fault = self.faults.remove(&id)?;
        self.tell_followed();
        let commanded_ns = clock::monotonic_ns();
        let Ended { cleared_ns, report: last, failures } = self.uninstall(&fault.carried);
        let mut report = fault.kept.clone();
        report.merge(last);
        self.metrics.fault_transition(action, failures.is_empty());
        let status = fault.status(&report);
        for failure in &failures {
            tracing::error!(fault = status.id, target = status.target, failure, "clean-up failed");
        }
        tracing::info!(fault = status.id, target = status.target, action, "fault cleared");
        self.metrics.fault_ended(&status);
        Some(Cleared { status, commanded_ns, cleared_ns, failures })
    }

    fn list(&mut self) -> Vec<FaultStatus> {
        let carriers = &mut self.carriers;
        self.faults
            .values()
            .map(|fault| {
                let report = carriers.report(fault);
                let mut status = fault.status(&report);
                if fault.away || !carriers.is_anywhere(fault) {
                    fault.absence().clone_into(&mut status.state);
                }
                status
            })
            .collect()
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn is_selected(fault: &ActiveFault, selection: &Selection) -> bool {
    match selection {
        Selection::All => true,
        Selection::Id(id) => fault.id == *id,
        Selection::Target(name) => fault.application.target.name == *name,
        Selection::Lab(lab) => {
            fault.application.target.name.split_once('/').is_some_and(|(of_lab, _)| of_lab == lab)
        }
        Selection::Owner(owner) => fault.application.owner == *owner && *owner != FaultOwner::Daemon,
    }
}

/// The kind of a fault on processes.
fn kind_of_processes(application: &Application) -> Option<&'static str> {
    application.spec.processes.map(ProcessFault::kind)
}

/// Two of a kind on the same processes could not be told apart.
fn refuse_same_kind(id: &str, theirs: &Application, ours: &Application) -> Result<(), EngineError> {
    let kind = kind_of_processes(ours).filter(|kind| kind_of_processes(theirs) == Some(kind));
    let is_same_target = theirs.target.processes.is_some()
        && theirs.target.processes == ours.target.processes
        || theirs.target.name == ours.target.name;
    match kind {
        Some(kind) if is_same_target => {
            Err(EngineError::SameKind { target: ours.target.name.clone(), kind, id: id.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Whether two faults would treat packets at the same side of an interface: a target may have two names.
fn share_a_hook(one: &Application, other: &Application) -> bool {
    let hooks = |application: &Application| {
        let direction = application.spec.direction;
        let interfaces = application.target.interfaces.clone().into_iter();
        let hooks = move |interface: InterfaceReference| {
            let hooks = hooks_of(&interface, direction).into_iter();
            hooks.map(move |hook| (interface.namespace.clone(), interface.index, hook))
        };
        interfaces.flat_map(hooks).collect::<Vec<_>>()
    };
    let of_one = hooks(one);
    hooks(other).iter().any(|hook| of_one.contains(hook))
}

fn hooks_of(interface: &InterfaceReference, direction: Direction) -> Vec<Hook> {
    match direction {
        Direction::Egress => vec![interface.hook_for_leaving()],
        Direction::Ingress => vec![interface.hook_for_entering()],
        Direction::Both => vec![interface.hook_for_leaving(), interface.hook_for_entering()],
    }
}

/// When a fault ends by itself, on the monotonic clock.
fn deadline_after(commanded_ns: u64, hold_for: Option<Duration>) -> Option<u64> {
    hold_for.map(|hold| commanded_ns.saturating_add(nanoseconds(hold)))
}

/// All rules of a fault, always in the same order. Those for packets that are spared come before the others at their
/// hook: of two rules that fit a packet, the older one acts.
pub(super) fn rule_plans(application: &Application, seed: u64, deadline_ns: Option<u64>) -> Vec<RulePlan> {
    let mut plans = Vec::new();
    let selectors = application.selectors();
    for interface in &application.target.interfaces {
        for hook in hooks_of(interface, application.spec.direction) {
            for selector in &application.spared {
                let plan = rule_plan(application, interface, hook, selector, seed, deadline_ns);
                plans.push(RulePlan { effects: Effects::default(), priority: 0, holding: None, ..plan });
            }
            for selector in &selectors {
                plans.push(rule_plan(application, interface, hook, selector, seed, deadline_ns));
            }
        }
    }
    plans
}

fn rule_plan(
    application: &Application,
    interface: &InterfaceReference,
    hook: Hook,
    selector: &Selector,
    seed: u64,
    deadline_monotonic_ns: Option<u64>,
) -> RulePlan {
    RulePlan {
        interface: interface.clone(),
        hook,
        selector: selector.clone(),
        priority: application.spec.shape.priority,
        effects: application.spec.effects.clone(),
        unit: application.spec.unit,
        seed,
        holding: application.backend.holding,
        deadline_monotonic_ns,
    }
}
