//! The world `schedule` for the host. What a schedule answers is handed on as it is: the daemon checks it like
//! a request of any user.

use std::sync::Arc;
use std::time::Duration;

use crate::bindings::schedule::SchedulePre;
use crate::bindings::schedule::exports::faultd::plugin::scheduler;
use crate::error::PluginError;
use crate::http::MemberConnections;
use crate::instance::{Instance, PluginState};
use crate::limits::PluginLimits;
use crate::log::{LogSink, log_to_tracing};

/// A compiled schedule. Clones share what is compiled.
#[derive(Clone)]
pub struct SchedulePlugin {
    name: Arc<str>,
    limits: PluginLimits,
    log: LogSink,
    linked: SchedulePre<PluginState>,
}

/// What the user asked for. Times count from the start of the measured part of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Length of the measured part.
    pub duration: Duration,
    /// When the fault begins; missing means at the start.
    pub inject_at: Option<Duration>,
    /// How long it holds; missing means until the end.
    pub hold_for: Option<Duration>,
    /// The rules to inject.
    pub rules: Vec<Rule>,
    /// Settings of the plugin, name and value.
    pub settings: Vec<(String, String)>,
    /// Seed of the plugin's random numbers.
    pub seed: u64,
}

/// Faults on one target, as proposed: nothing of it is checked yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// A name or a role.
    pub target: String,
    /// Which packets.
    pub direction: Direction,
    /// What happens to them.
    pub effects: Vec<Effect>,
}

/// Which packets of the target a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Those that leave it.
    Egress,
    /// Those that enter it.
    Ingress,
    /// All.
    Both,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// It arrives this much later.
    Delay(Duration),
    /// It is lost with this probability, 0.0 to 1.0 if the plugin keeps to the contract.
    Loss(f64),
}

/// What holds from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// All rules that hold.
    pub active: Vec<Rule>,
    /// When to ask again; missing means not before the end of the run.
    pub ask_again_at: Option<Duration>,
}

/// The schedule of one run. As with a driver's client, a dropped call makes it unusable.
pub struct Schedule {
    instance: Instance,
    guest: crate::bindings::schedule::Schedule,
}

impl SchedulePlugin {
    pub(crate) fn new(name: Arc<str>, limits: PluginLimits, linked: SchedulePre<PluginState>) -> Self {
        Self { log: log_to_tracing(&name), name, limits, linked }
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
            MemberConnections::none(),
        );
        instance.begin()?;
        let guest = self.linked.instantiate_async(&mut instance.store).await;
        let guest = instance.end("start", guest)?;
        let mut schedule = Schedule { instance, guest };
        schedule.begin(&plan.into()).await?;
        Ok(schedule)
    }
}

impl Schedule {
    /// What holds at a time since the start of the measured part.
    ///
    /// # Errors
    /// The plugin broke its limits; the schedule is then unusable.
    pub async fn decide(&mut self, now: Duration) -> Result<Decision, PluginError> {
        self.instance.begin()?;
        let scheduler = self.guest.faultd_plugin_scheduler();
        let decision = scheduler.call_decide(&mut self.instance.store, nanoseconds(now)).await;
        self.instance.end("decide", decision).map(Decision::from)
    }

    async fn begin(&mut self, plan: &scheduler::Plan) -> Result<(), PluginError> {
        self.instance.begin()?;
        let scheduler = self.guest.faultd_plugin_scheduler();
        let started = scheduler.call_start(&mut self.instance.store, plan).await;
        let started = self.instance.end("start", started)?;
        started.map_err(|message| self.instance.failed("start", &message))
    }
}

/// Whole nanoseconds; 584 years and more are all the same.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<Plan> for scheduler::Plan {
    fn from(plan: Plan) -> Self {
        Self {
            duration_ns: nanoseconds(plan.duration),
            inject_at_ns: plan.inject_at.map(nanoseconds),
            hold_for_ns: plan.hold_for.map(nanoseconds),
            rules: plan.rules.into_iter().map(scheduler::Rule::from).collect(),
            settings: plan.settings,
        }
    }
}

impl From<Rule> for scheduler::Rule {
    fn from(rule: Rule) -> Self {
        let effect = |effect| match effect {
            Effect::Delay(delay) => scheduler::Effect::Delay(scheduler::Delay { ns: nanoseconds(delay) }),
            Effect::Loss(ratio) => scheduler::Effect::Loss(scheduler::Loss { ratio }),
        };
        let direction = match rule.direction {
            Direction::Egress => scheduler::Direction::Egress,
            Direction::Ingress => scheduler::Direction::Ingress,
            Direction::Both => scheduler::Direction::Both,
        };
        Self { target: rule.target, direction, effects: rule.effects.into_iter().map(effect).collect() }
    }
}

impl From<scheduler::Decision> for Decision {
    fn from(decision: scheduler::Decision) -> Self {
        Self {
            active: decision.active.into_iter().map(Rule::from).collect(),
            ask_again_at: decision.ask_again_at_ns.map(Duration::from_nanos),
        }
    }
}

impl From<scheduler::Rule> for Rule {
    fn from(rule: scheduler::Rule) -> Self {
        let effect = |effect| match effect {
            scheduler::Effect::Delay(delay) => Effect::Delay(Duration::from_nanos(delay.ns)),
            scheduler::Effect::Loss(loss) => Effect::Loss(loss.ratio),
        };
        let direction = match rule.direction {
            scheduler::Direction::Egress => Direction::Egress,
            scheduler::Direction::Ingress => Direction::Ingress,
            scheduler::Direction::Both => Direction::Both,
        };
        Self { target: rule.target, direction, effects: rule.effects.into_iter().map(effect).collect() }
    }
}
