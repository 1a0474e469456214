//! The world `schedule` for the host. What a schedule answers is handed on as it is: the daemon checks it like
//! a request of any user.

use std::sync::Arc;
use std::time::Duration;

use faultd_plugin_manifest::FaultLimits;
use serde::{Deserialize, Serialize};

use crate::bindings::schedule::SchedulePre;
use crate::bindings::schedule::exports::faultd::plugin::scheduler;
use crate::driver::Role;
use crate::engine::PluginFacts;
use crate::error::{PluginError, Problem, one_line};
use crate::instance::{Instance, PluginState};
use crate::limits::PluginLimits;
use crate::log::{LogSink, log_to_tracing};
use crate::proposal_guard::ProposalGuard;
use crate::reach::Reach;
use crate::written::{nanoseconds, optional_nanoseconds, whole_nanoseconds};

/// A compiled schedule. Clones share what is compiled.
#[derive(Clone)]
pub struct SchedulePlugin {
    name: Arc<str>,
    facts: Arc<PluginFacts>,
    limits: PluginLimits,
    /// What the operator lets schedules propose.
    policy: FaultLimits,
    log: LogSink,
    linked: SchedulePre<PluginState>,
}

/// What the user asked for. Times count from the start of the measured part of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Length of the measured part.
    #[serde(rename = "duration_ns", with = "nanoseconds")]
    pub duration: Duration,
    /// When the fault begins; missing means at the start.
    #[serde(rename = "inject_at_ns", with = "optional_nanoseconds")]
    pub inject_at: Option<Duration>,
    /// How long it holds; missing means until the end.
    #[serde(rename = "hold_for_ns", with = "optional_nanoseconds")]
    pub hold_for: Option<Duration>,
    /// The rules to inject.
    pub rules: Vec<Rule>,
    /// Settings of the plugin, name and value.
    pub settings: Vec<(String, String)>,
    /// Seed of the plugin's random numbers.
    pub seed: u64,
}

/// Faults on one target, as proposed: nothing of it is checked yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// A name or a role.
    pub target: String,
    /// Which packets.
    pub direction: Direction,
    /// What happens to them.
    pub effects: Vec<Effect>,
}

/// Which packets of the target a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Those that leave it.
    Egress,
    /// Those that enter it.
    Ingress,
    /// All.
    Both,
}

/// What happens to a packet. Ratios are 0.0 to 1.0 if the plugin keeps to the contract.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It arrives this much later.
    #[serde(rename = "delay_ns", with = "nanoseconds")]
    Delay(Duration),
    /// Its delay varies by this much.
    #[serde(rename = "jitter_ns", with = "nanoseconds")]
    Jitter(Duration),
    /// It is lost with this probability.
    Loss(f64),
    /// It arrives twice with this probability.
    Duplicate(f64),
    /// It is spoilt with this probability.
    Corrupt(f64),
    /// So many bytes pass a second.
    Rate(u64),
}

/// What a schedule wants to be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// What the clients measure.
    pub seconds: bool,
    /// What the rules count.
    pub counters: bool,
}

/// A member of the cluster under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMember {
    /// Its name.
    pub name: String,
    /// Its role, as far as it was seen last.
    pub role: Role,
    /// Whether it serves clients of the run.
    pub serves_clients: bool,
}

/// Latencies of the operations that completed in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Mean.
    #[serde(rename = "mean_ns", with = "nanoseconds")]
    pub mean: Duration,
    /// Half of them took no longer.
    #[serde(rename = "p50_ns", with = "nanoseconds")]
    pub p50: Duration,
    /// 95 of 100 took no longer.
    #[serde(rename = "p95_ns", with = "nanoseconds")]
    pub p95: Duration,
    /// 99 of 100 took no longer.
    #[serde(rename = "p99_ns", with = "nanoseconds")]
    pub p99: Duration,
    /// 999 of 1000 took no longer.
    #[serde(rename = "p999_ns", with = "nanoseconds")]
    pub p999: Duration,
    /// The longest.
    #[serde(rename = "max_ns", with = "nanoseconds")]
    pub max: Duration,
}

/// What the clients did in one second of the measured part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    /// Its number, from 0.
    pub number: u32,
    /// Operations that succeeded.
    pub operations: u64,
    /// Operations that failed.
    pub failures: u64,
    /// How long they took; missing if none completed.
    pub latency: Option<Latency>,
}

/// What the kernel has counted of one rule that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Name of the member that it is on.
    pub target: String,
    /// Which packets.
    pub direction: Direction,
    /// Packets that the rule was for.
    pub matched: u64,
    /// Packets that were delayed.
    pub delayed: u64,
    /// Packets that were dropped as asked.
    pub dropped: u64,
    /// Packets that were lost and nobody had asked for it.
    pub unintended: u64,
}

/// What a schedule is told before it decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Time since the start of the measured part.
    #[serde(rename = "now_ns", with = "nanoseconds")]
    pub now: Duration,
    /// The members, in the order of the cluster's description.
    pub members: Vec<ClusterMember>,
    /// Seconds that have ended since the last call.
    pub seconds: Vec<Second>,
    /// What the rules that hold have counted.
    pub counters: Vec<Counters>,
}

/// Something that a schedule has found out; nothing of it is checked yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub name: String,
    /// The value.
    pub value: f64,
    /// The value lies from here...
    pub low: f64,
    /// ...to here.
    pub high: f64,
    /// Unit of all three; empty for a plain number.
    pub unit: String,
}

/// What holds from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// All rules that hold.
    pub active: Vec<Rule>,
    /// When to ask again; missing means not before the end of the run.
    #[serde(rename = "ask_again_at_ns", with = "optional_nanoseconds")]
    pub ask_again_at: Option<Duration>,
    /// Whether the run ends here.
    pub end_run: bool,
    /// What was found out.
    pub findings: Vec<Finding>,
}

/// The schedule of one run. As with a driver's client, a dropped call makes it unusable.
pub struct Schedule {
    instance: Instance,
    guest: crate::bindings::schedule::Schedule,
    needs: Needs,
    guard: ProposalGuard,
}

impl SchedulePlugin {
    pub(crate) fn new(
        name: Arc<str>,
        facts: Arc<PluginFacts>,
        limits: PluginLimits,
        policy: FaultLimits,
        linked: SchedulePre<PluginState>,
    ) -> Self {
        Self { log: log_to_tracing(&name), name, facts, limits, policy, linked }
    }

    /// What it is, what it asked to be allowed, and what it wants of the host.
    #[must_use]
    pub fn facts(&self) -> &PluginFacts {
        &self.facts
    }

    /// What an instance may use.
    #[must_use]
    pub fn limits(&self) -> &PluginLimits {
        &self.limits
    }

    /// What it may propose: what its manifest asks for, as far as the operator allows it.
    #[must_use]
    pub fn fault_limits(&self) -> FaultLimits {
        self.facts.manifest.faults.capped_by(&self.policy)
    }

    /// Name that it was loaded under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands the plugin's log lines to `log`; without it they go to the daemon's own log.
    #[must_use]
    pub fn with_log(self, log: LogSink) -> Self {
        Self { log, ..self }
    }

    /// Makes the schedule of one run.
    ///
    /// # Errors
    /// The plugin does not accept the plan, or does not stay within its limits.
    pub async fn start(&self, plan: Plan) -> Result<Schedule, PluginError> {
        let mut instance = Instance::new(
            self.linked.engine(),
            Arc::clone(&self.name),
            self.limits.clone(),
            Arc::clone(&self.log),
            plan.seed,
            Reach::none(),
            0,
        );
        let given = plan.settings.iter().map(|(name, _)| name.as_str());
        let known = self.facts.manifest.check_settings(given);
        known.map_err(|text| instance.error(Problem::UnknownSetting(one_line(&text))))?;
        instance.begin()?;
        let guest = self.linked.instantiate_async(&mut instance.store).await;
        let guest = instance.end("start", guest)?;
        let guard = ProposalGuard::new(self.fault_limits(), self.policy.clone(), plan.duration);
        let mut schedule = Schedule { instance, guest, needs: Needs::default(), guard };
        schedule.begin(&plan.into()).await?;
        Ok(schedule)
    }
}

impl Schedule {
    /// What it wants to be told.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// What holds from now on.
    ///
    /// # Errors
    /// The plugin broke its limits, or proposed more than its manifest or the operator allows.
    pub async fn decide(&mut self, observation: Observation) -> Result<Decision, PluginError> {
        self.instance.begin()?;
        let scheduler = self.guest.faultd_plugin_scheduler();
        let now = observation.now;
        let decision = scheduler.call_decide(&mut self.instance.store, &observation.into()).await;
        let mut decision = Decision::from(self.instance.end("decide", decision)?);
        let within = self.guard.check(now, &mut decision);
        within.map_err(|reason| self.instance.error(Problem::BeyondManifest(one_line(&reason))))?;
        Ok(decision)
    }

    async fn begin(&mut self, plan: &scheduler::Plan) -> Result<(), PluginError> {
        self.instance.begin()?;
        let scheduler = self.guest.faultd_plugin_scheduler();
        let started = scheduler.call_start(&mut self.instance.store, plan).await;
        let started = self.instance.end("start", started)?;
        let needs = started.map_err(|message| self.instance.failed("start", &message))?;
        self.needs = Needs { seconds: needs.seconds, counters: needs.counters };
        Ok(())
    }
}

impl From<Plan> for scheduler::Plan {
    fn from(plan: Plan) -> Self {
        Self {
            duration_ns: whole_nanoseconds(plan.duration),
            inject_at_ns: plan.inject_at.map(whole_nanoseconds),
            hold_for_ns: plan.hold_for.map(whole_nanoseconds),
            rules: plan.rules.into_iter().map(scheduler::Rule::from).collect(),
            settings: plan.settings,
        }
    }
}

impl From<Rule> for scheduler::Rule {
    fn from(rule: Rule) -> Self {
        let effect = |effect| match effect {
            Effect::Delay(delay) => scheduler::Effect::Delay(whole_nanoseconds(delay)),
            Effect::Jitter(jitter) => scheduler::Effect::Jitter(whole_nanoseconds(jitter)),
            Effect::Loss(ratio) => scheduler::Effect::Loss(ratio),
            Effect::Duplicate(ratio) => scheduler::Effect::Duplicate(ratio),
            Effect::Corrupt(ratio) => scheduler::Effect::Corrupt(ratio),
            Effect::Rate(bytes) => scheduler::Effect::Rate(bytes),
        };
        let effects = rule.effects.into_iter().map(effect).collect();
        Self { target: rule.target, direction: rule.direction.into(), effects }
    }
}

impl From<Direction> for scheduler::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Egress => Self::Egress,
            Direction::Ingress => Self::Ingress,
            Direction::Both => Self::Both,
        }
    }
}

impl From<Observation> for scheduler::Observation {
    fn from(observation: Observation) -> Self {
        Self {
            now_ns: whole_nanoseconds(observation.now),
            members: observation.members.into_iter().map(scheduler::Member::from).collect(),
            seconds: observation.seconds.into_iter().map(scheduler::Second::from).collect(),
            counters: observation.counters.into_iter().map(scheduler::Counters::from).collect(),
        }
    }
}

impl From<ClusterMember> for scheduler::Member {
    fn from(member: ClusterMember) -> Self {
        let role = match member.role {
            Role::Leader => scheduler::Role::Leader,
            Role::Follower => scheduler::Role::Follower,
            Role::Unknown => scheduler::Role::Unknown,
        };
        Self { name: member.name, role, serves_clients: member.serves_clients }
    }
}

impl From<Second> for scheduler::Second {
    fn from(second: Second) -> Self {
        let latency = |latency: Latency| scheduler::Latency {
            mean_ns: whole_nanoseconds(latency.mean),
            p50_ns: whole_nanoseconds(latency.p50),
            p95_ns: whole_nanoseconds(latency.p95),
            p99_ns: whole_nanoseconds(latency.p99),
            p999_ns: whole_nanoseconds(latency.p999),
            max_ns: whole_nanoseconds(latency.max),
        };
        let Second { number, operations, failures, .. } = second;
        Self { number, operations, failures, latency: second.latency.map(latency) }
    }
}

impl From<Counters> for scheduler::Counters {
    fn from(counters: Counters) -> Self {
        let Counters { matched, delayed, dropped, unintended, .. } = counters;
        let direction = counters.direction.into();
        Self { target: counters.target, direction, matched, delayed, dropped, unintended }
    }
}

impl From<scheduler::Decision> for Decision {
    fn from(decision: scheduler::Decision) -> Self {
        Self {
            active: decision.active.into_iter().map(Rule::from).collect(),
            ask_again_at: decision.ask_again_at_ns.map(Duration::from_nanos),
            end_run: decision.end_run,
            findings: decision.findings.into_iter().map(Finding::from).collect(),
        }
    }
}

impl From<scheduler::Finding> for Finding {
    fn from(finding: scheduler::Finding) -> Self {
        let scheduler::Finding { name, value, low, high, unit } = finding;
        Self { name, value, low, high, unit }
    }
}

impl From<scheduler::Rule> for Rule {
    fn from(rule: scheduler::Rule) -> Self {
        let effect = |effect| match effect {
            scheduler::Effect::Delay(ns) => Effect::Delay(Duration::from_nanos(ns)),
            scheduler::Effect::Jitter(ns) => Effect::Jitter(Duration::from_nanos(ns)),
            scheduler::Effect::Loss(ratio) => Effect::Loss(ratio),
            scheduler::Effect::Duplicate(ratio) => Effect::Duplicate(ratio),
            scheduler::Effect::Corrupt(ratio) => Effect::Corrupt(ratio),
            scheduler::Effect::Rate(bytes) => Effect::Rate(bytes),
        };
        let direction = match rule.direction {
            scheduler::Direction::Egress => Direction::Egress,
            scheduler::Direction::Ingress => Direction::Ingress,
            scheduler::Direction::Both => Direction::Both,
        };
        Self { target: rule.target, direction, effects: rule.effects.into_iter().map(effect).collect() }
    }
}
