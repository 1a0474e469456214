//! From what a schedule proposes to faults that hold: each proposal is checked like anybody's
//! request, its target resolved at that moment, and every step recorded with its time.

use std::time::Duration;

use faultd_api::{
    fault::{Direction, FaultRequest, FaultStatus},
    shape::FaultShape,
    units::nanoseconds,
};
use faultd_kernel::{clock, probe::Capabilities};
use faultd_plugin_host::{
    Counters, Decision, Direction as ProposedDirection, Effect, PluginError, Role, Rule,
};
use faultd_results::{
    event::{EventKind, FaultEvent},
    metadata::FaultRecord,
    summary::{ProcessProof, RuleProof},
};
use tokio::{sync::watch, time::sleep_until};

use super::{
    clock::RunClock,
    dialogue::Dialogue,
    fault_records::{describe, fault_event, fault_record, onset_text, process_proof, without_effect},
    record::RunRecord,
    spec::RunSpec,
};
use crate::{
    cluster::{Cluster, RoleError, RoleObserver},
    engine::{Application, Cleared, EngineError, EngineHandle, FaultOwner, Selection},
    fault::{FaultError, FaultSpec, backend},
    policy::{FaultRefusal, Permit, Permits},
    target::{Part, Peers, ResolvedTarget, TargetError, Targets},
};

/// A fault may outlive the moment at which its schedule wants to be asked again by this, so that it
/// is the schedule that ends it, not the lease; and no longer, should the daemon be stopped.
const LEASE_MARGIN: Duration = Duration::from_millis(500);
/// A schedule is asked at most this often.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// More faults at once than this in one run are a plugin's mistake.
const MOST_FAULTS: usize = 64;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum InjectionError {
    /// The schedule broke.
    #[error(transparent)]
    Schedule(#[from] PluginError),
    /// It proposed nonsense.
    #[error("the schedule proposed a fault that cannot be: {0}")]
    Proposal(#[from] FaultError),
    /// It proposed too much.
    #[error("the schedule proposed {0} faults at once, at most {MOST_FAULTS} can be")]
    TooMany(usize),
    /// It proposed the same packets twice.
    #[error("the schedule proposed more than one fault for {0} in the same direction")]
    Twice(String),
    /// Nobody has the role.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// Who has it is a container that is not there, or cannot be faulted now.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The operator does not allow it.
    #[error(transparent)]
    Refused(#[from] FaultRefusal),
    /// The host cannot do it.
    #[error(transparent)]
    Backend(#[from] backend::NoBackend),
    /// The kernel refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The faults of one run.
pub struct Injection<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The run as asked for.
    pub spec: &'a RunSpec,
    /// Its seed.
    pub seed: u64,
    /// Its clock.
    pub clock: RunClock,
    /// Where it is written down.
    pub record: &'a RunRecord,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The members that serve the clients, by position.
    pub serving: &'a [usize],
    /// Who asks the cluster for roles.
    pub observer: &'a mut RoleObserver,
    /// Who applies faults.
    pub engine: &'a EngineHandle,
    /// What the host can do.
    pub capabilities: &'a Capabilities,
    /// What the operator allows.
    pub permits: &'a Permits,
    /// Where containers are now.
    pub targets: &'a Targets,
    /// The named peers of the run's fault.
    pub peers: &'a Peers,
    /// The faults that hold, for people.
    pub shown: watch::Sender<Vec<String>>,
    /// The faults that hold; none at first.
    pub held: Vec<Held>,
    /// What was done, for the record.
    pub done: InjectionRecord,
}

/// What became of the faults of a run.
#[derive(Debug, Default)]
pub struct InjectionRecord {
    /// As asked for and resolved.
    pub faults: Vec<FaultRecord>,
    /// What the kernel counted of packets.
    pub proofs: Vec<RuleProof>,
    /// What the kernel confirmed of processes.
    pub process_proofs: Vec<ProcessProof>,
    /// What speaks against the numbers.
    pub taints: Vec<String>,
}

/// A fault that holds, with the proposal that it came from.
pub struct Held {
    proposal: Rule,
    /// Name of the member that it is on.
    member: String,
    application: Application,
    role: Role,
    fault: FaultStatus,
    description: String,
    /// When its lease ends, on the run's clock.
    lease_ends: Duration,
}

/// Why there is nothing more to follow.
pub enum FollowingEnded {
    /// The schedule has ended the run.
    BySchedule,
    /// A stop condition of the run has held, and the run is to end with its faults.
    Stopped,
    /// The schedule broke, or proposed what cannot be done.
    Broken(InjectionError),
}

impl Injection<'_> {
    /// Follows the schedule until it ends the run, breaks, or proposes what cannot be done.
    pub async fn follow_to_the_end(&mut self, dialogue: &mut Dialogue<'_>) -> FollowingEnded {
        match self.follow(dialogue).await {
            Ok(()) => FollowingEnded::BySchedule,
            Err(error) => FollowingEnded::Broken(error),
        }
    }

    async fn follow(&mut self, dialogue: &mut Dialogue<'_>) -> Result<(), InjectionError> {
        sleep_until(self.clock.instant_at(Duration::ZERO)).await;
        loop {
            let counters = if dialogue.needs().counters { self.counters().await? } else { Vec::new() };
            let now = self.clock.now();
            let decision = dialogue.decide(now, counters).await?;
            dialogue.keep_findings(&decision);
            // Never in the past, or a plugin could keep this loop busy.
            let ask_again = decision.ask_again_at.map(|at| at.max(now + SHORTEST_WAIT));
            let Decision { active, end_run, .. } = decision;
            self.reconcile(active, ask_again).await?;
            if end_run {
                return Ok(());
            }
            tokio::select! {
                () = wait_until(self.clock, ask_again) => {}
                () = dialogue.role_change() => {}
            }
        }
    }

    /// Ends whatever holds.
    pub async fn end(&mut self) {
        for held in std::mem::take(&mut self.held) {
            self.clear(held).await;
        }
        self.show();
    }

    /// Ends whatever holds by one command, that which is under way to the engine included, before anything else is
    /// done; then it is told why.
    pub async fn end_at_once(&mut self, why: EventKind) {
        let decided_ns = clock::monotonic_ns();
        let owner = Selection::Owner(FaultOwner::Run(self.run.to_owned()));
        // An engine that is stopping clears all faults.
        let cleared = self.engine.clear(owner).await.unwrap_or_default();
        self.record.event_at(decided_ns, why);
        let mut held = std::mem::take(&mut self.held);
        for cleared in cleared {
            let known = held.iter().position(|held| held.fault.id == cleared.status.id);
            let described = || format!("{} on {}", cleared.status.text, cleared.status.target);
            let description = known.map_or_else(described, |place| held.swap_remove(place).description);
            self.note_cleared(&cleared, &description);
        }
        for held in held {
            self.done.taints.push(format!("{} ended before its time", held.description));
            self.note_gone(decided_ns, &held);
        }
        self.show();
    }

    async fn reconcile(&mut self, active: Vec<Rule>, until: Option<Duration>) -> Result<(), InjectionError> {
        // A rule without effects asks for nothing, unless the user's fault has what no effect can say.
        let active: Vec<Rule> = active.into_iter().filter(|rule| self.does_something(rule)).collect();
        check_proposals(&active)?;
        let (stay, go): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|held| active.iter().any(|rule| is_for_the_same(rule, &held.proposal)));
        self.held = stay;
        for held in go {
            self.clear(held).await;
        }
        for proposal in active {
            match self.held.iter().position(|held| is_for_the_same(&proposal, &held.proposal)) {
                Some(position) => self.change(position, proposal, until).await?,
                None => self.apply(proposal, until).await?,
            }
        }
        self.show();
        Ok(())
    }

    async fn apply(&mut self, proposal: Rule, until: Option<Duration>) -> Result<(), InjectionError> {
        let commanded_ns = clock::monotonic_ns();
        let (mut spec, lease_ends) = self.checked(&proposal, until)?;
        let (member, target, role) = self.resolve(&spec).await?;
        if target.container.is_some() {
            // By that it is found again when it is restarted or recreated.
            spec.target.clone_from(&target.name);
        }
        let Permit { spared, budget, .. } = self.permit(&spec, &target).await?;
        let application = Application {
            spared,
            budget,
            peers: self.peers.clone(),
            backend: backend::choose(&spec, self.capabilities)?,
            owner: FaultOwner::Run(self.run.to_owned()),
            target,
            spec,
        };
        let description = describe(&application, role);
        match self.engine.add(application.clone()).await {
            Ok(applied) => {
                self.note_applied(commanded_ns, applied.effective_ns, &applied.status, &description);
                self.done.faults.push(fault_record(&proposal.target, &applied.status, role));
                let fault = applied.status;
                let held = Held { proposal, member, application, role, fault, description, lease_ends };
                self.held.push(held);
                Ok(())
            }
            Err(error) => {
                let failed = FaultEvent {
                    fault: String::new(),
                    target: application.target.name,
                    detail: Some(error.to_string()),
                };
                self.record.fault_event_at(clock::monotonic_ns(), EventKind::FaultFailed, failed);
                Err(error.into())
            }
        }
    }

    /// Changes a fault that holds to what is proposed now, and lets it hold as long as that wants: in place,
    /// or, where the kernel cannot, by another fault.
    async fn change(
        &mut self,
        position: usize,
        proposal: Rule,
        until: Option<Duration>,
    ) -> Result<(), InjectionError> {
        let Some(held) = self.held.get(position) else { return Ok(()) };
        let is_other = held.proposal != proposal;
        if !is_other && self.lease_end(until) <= held.lease_ends {
            return Ok(());
        }
        let (mut spec, lease_ends) = self.checked(&proposal, until)?;
        spec.target.clone_from(&held.application.spec.target);
        let backend = backend::choose(&spec, self.capabilities)?;
        self.permits.policy().faults().check(&FaultSpec { hold_for: None, ..spec.clone() })?;
        let application = Application { spec, backend, ..held.application.clone() };
        match self.engine.set(&held.fault.id, application.clone()).await {
            Ok(fault) => {
                let description = describe(&application, held.role);
                if is_other {
                    let event = fault_event(&fault, &description);
                    self.record.fault_event_at(clock::monotonic_ns(), EventKind::FaultChanged, event);
                }
                let (member, role) = (held.member.clone(), held.role);
                let changed = Held { proposal, member, application, role, fault, description, lease_ends };
                if let Some(place) = self.held.get_mut(position) {
                    *place = changed;
                }
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "a fault cannot be changed in place: another one takes its place");
                let held = self.held.remove(position);
                self.clear(held).await;
                self.apply(proposal, until).await
            }
        }
    }

    fn checked(
        &self,
        proposal: &Rule,
        until: Option<Duration>,
    ) -> Result<(FaultSpec, Duration), InjectionError> {
        let mut spec = FaultSpec::checked(&self.request(proposal))?;
        let lease_ends = self.lease_end(until);
        spec.hold_for = Some(lease_ends.saturating_sub(self.clock.now()));
        Ok((spec, lease_ends))
    }

    /// For how long a run's fault may hold was decided at its begin: here it is a lease, taken again and again.
    async fn permit(&mut self, spec: &FaultSpec, target: &ResolvedTarget) -> Result<Permit, FaultRefusal> {
        let spec = FaultSpec { hold_for: None, ..spec.clone() };
        self.permits.of_fault(&spec, target, Some(self.cluster.target_names())).await
    }

    fn does_something(&self, rule: &Rule) -> bool {
        let shape = &self.spec.request.shape;
        let has_pattern = shape.loss_gilbert_elliott.is_some()
            || shape.loss_every.is_some()
            || shape.loss_packets.is_some()
            || !shape.delay_table_ms.is_empty()
            || shape.is_on_processes();
        !rule.effects.is_empty() || has_pattern
    }

    /// What the rules that hold have counted.
    async fn counters(&mut self) -> Result<Vec<Counters>, EngineError> {
        let faults = self.engine.list().await?;
        let of_held = |held: &Held| {
            let fault = faults.iter().find(|fault| fault.id == held.fault.id)?;
            let packets = &fault.packets;
            Some(Counters {
                target: held.member.clone(),
                direction: held.proposal.direction,
                matched: packets.matched,
                delayed: packets.delayed,
                dropped: packets.dropped,
                unintended: packets.unintended,
            })
        };
        Ok(self.held.iter().filter_map(of_held).collect())
    }

    async fn clear(&mut self, held: Held) {
        let commanded_ns = clock::monotonic_ns();
        let selection = Selection::Id(held.fault.id.clone());
        match self.engine.clear(selection).await.unwrap_or_default().pop() {
            Some(cleared) => self.note_cleared(&cleared, &held.description),
            None => {
                // Its lease ended it, or somebody removed it by hand: either way not as planned.
                self.done.taints.push(format!("{} ended before its time", held.description));
                self.note_gone(commanded_ns, &held);
            }
        }
    }

    fn note_applied(&self, commanded_ns: u64, effective_ns: u64, status: &FaultStatus, description: &str) {
        let event = fault_event(status, description);
        self.record.fault_event_at(commanded_ns, EventKind::FaultCommanded, event.clone());
        self.record.fault_event_at(effective_ns, EventKind::FaultEffective, event);
    }

    fn note_cleared(&mut self, cleared: &Cleared, description: &str) {
        let event = fault_event(&cleared.status, description);
        let mut ended = event.clone();
        ended.detail = Some(format!("{description}{}", onset_text(&cleared.status)));
        self.record.fault_event_at(cleared.commanded_ns, EventKind::FaultClearCommanded, ended);
        self.record.fault_event_at(cleared.cleared_ns, EventKind::FaultCleared, event);
        let packets = &cleared.status.packets;
        if packets.unintended > 0 {
            self.done
                .taints
                .push(format!("{} packets were lost that nobody asked to lose", packets.unintended));
        }
        if packets.expired > 0 {
            self.done.taints.push(format!("{} packets met the fault after its lease", packets.expired));
        }
        if let Some(why) = without_effect(&cleared.status) {
            self.done.taints.push(format!("{description} had no effect: {why}"));
        }
        if cleared.status.state == "gone" {
            self.done.taints.push(format!("{description} did not hold to its end"));
        }
        self.done.taints.extend(cleared.failures.iter().map(|failure| format!("clean-up failed: {failure}")));
        if let Some(counts) = &cleared.status.processes {
            self.done.process_proofs.push(process_proof(&cleared.status, counts));
            return;
        }
        self.done.proofs.push(RuleProof {
            fault: cleared.status.id.clone(),
            target: cleared.status.target.clone(),
            direction: cleared.status.direction_text().to_owned(),
            seen: packets.seen,
            matched: packets.matched,
            delayed: packets.delayed,
            dropped: packets.dropped,
            expired: packets.expired,
            unintended: packets.unintended,
        });
    }

    fn note_gone(&self, commanded_ns: u64, held: &Held) {
        let event = fault_event(&held.fault, &held.description);
        self.record.fault_event_at(commanded_ns, EventKind::FaultClearCommanded, event.clone());
        self.record.fault_event_at(commanded_ns, EventKind::FaultCleared, event);
    }

    async fn resolve(&mut self, spec: &FaultSpec) -> Result<(String, ResolvedTarget, Role), InjectionError> {
        let roles = self.observer.roles().await?;
        let (member, role) = self.cluster.member(&spec.target, &roles, self.serving)?;
        let found = match &member.target.container {
            // It may have been restarted since the run began.
            Some(_) => self.targets.resolve_for(&member.target.name, &Part::of(spec)).await?,
            None => member.target.clone(),
        };
        Ok((member.name.clone(), found, role))
    }

    /// What the schedule proposes, with what the user asked for and no effect can say.
    fn request(&self, proposal: &Rule) -> FaultRequest {
        let mut request = FaultRequest {
            target: proposal.target.clone(),
            network: self.spec.request.network.clone(),
            direction: direction(proposal.direction),
            backend: self.spec.request.backend,
            shape: without_effects(&self.spec.request.shape),
            seed: Some(self.seed),
            ..FaultRequest::default()
        };
        for effect in &proposal.effects {
            match effect {
                Effect::Delay(delay) => request.delay_ns = Some(nanoseconds(*delay)),
                Effect::Jitter(jitter) => request.shape.jitter_ns = Some(nanoseconds(*jitter)),
                Effect::Loss(ratio) => request.loss_ratio = Some(*ratio),
                Effect::Duplicate(ratio) => request.shape.duplicate_ratio = Some(*ratio),
                Effect::Corrupt(ratio) => request.shape.corrupt_ratio = Some(*ratio),
                Effect::Rate(bytes) => request.shape.rate_bytes_per_second = Some(*bytes),
            }
        }
        let shape = &mut request.shape;
        // Parts of what is not proposed now.
        if shape.jitter_ns.is_none() && shape.delay_table_ms.is_empty() {
            (shape.distribution, shape.jitter_correlation, shape.may_reorder) = (None, None, false);
        }
        if request.delay_ns.is_none() && shape.delay_table_ms.is_empty() {
            (shape.reorder_ratio, shape.reorder_gap) = (None, None);
        }
        if shape.rate_bytes_per_second.is_none() {
            (shape.burst_bytes, shape.queue_bytes) = (None, None);
        }
        request
    }

    /// Until the schedule wants to be asked again, or else until the end of the run, on the run's clock.
    fn lease_end(&self, until: Option<Duration>) -> Duration {
        until.unwrap_or(self.spec.duration).min(self.spec.duration) + LEASE_MARGIN
    }

    fn show(&self) {
        self.shown.send_replace(self.held.iter().map(|held| held.description.clone()).collect());
    }
}

async fn wait_until(clock: RunClock, at: Option<Duration>) {
    match at {
        Some(at) => sleep_until(clock.instant_at(at)).await,
        // It has nothing more to say by itself: what holds, holds until the end of the run.
        None => std::future::pending().await,
    }
}

/// Two proposals for the same packets: one takes the other's place.
fn is_for_the_same(left: &Rule, right: &Rule) -> bool {
    left.target == right.target && left.direction == right.direction
}

fn check_proposals(active: &[Rule]) -> Result<(), InjectionError> {
    if active.len() > MOST_FAULTS {
        return Err(InjectionError::TooMany(active.len()));
    }
    for (position, rule) in active.iter().enumerate() {
        if active.iter().take(position).any(|earlier| is_for_the_same(rule, earlier)) {
            return Err(InjectionError::Twice(rule.target.replace(char::is_control, " ")));
        }
    }
    Ok(())
}

/// What of a shape holds whatever a schedule proposes.
fn without_effects(shape: &FaultShape) -> FaultShape {
    FaultShape {
        jitter_ns: None,
        duplicate_ratio: None,
        corrupt_ratio: None,
        rate_bytes_per_second: None,
        ..shape.clone()
    }
}

/// The rules that a schedule is told about: the fault of the command line.
#[must_use]
pub fn proposals(spec: &RunSpec) -> Vec<Rule> {
    let Some(fault) = &spec.fault else { return Vec::new() };
    let shape = &spec.request.shape;
    let effects = [
        fault.delay.map(|delay| Effect::Delay(delay.duration())),
        shape.jitter_ns.map(|jitter| Effect::Jitter(Duration::from_nanos(jitter))),
        fault.loss.map(|loss| Effect::Loss(loss.ratio())),
        shape.duplicate_ratio.map(Effect::Duplicate),
        shape.corrupt_ratio.map(Effect::Corrupt),
        shape.rate_bytes_per_second.map(Effect::Rate),
    ];
    vec![Rule {
        target: fault.target.clone(),
        direction: for_schedules(fault.direction),
        effects: effects.into_iter().flatten().collect(),
    }]
}

/// A direction as schedules know it.
#[must_use]
pub fn for_schedules(direction: Direction) -> ProposedDirection {
    match direction {
        Direction::Egress => ProposedDirection::Egress,
        Direction::Ingress => ProposedDirection::Ingress,
        Direction::Both => ProposedDirection::Both,
    }
}

/// A direction as a schedule proposes it.
#[must_use]
pub fn direction(proposed: ProposedDirection) -> Direction {
    match proposed {
        ProposedDirection::Egress => Direction::Egress,
        ProposedDirection::Ingress => Direction::Ingress,
        ProposedDirection::Both => Direction::Both,
    }
}
