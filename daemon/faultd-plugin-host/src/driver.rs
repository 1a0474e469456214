//! The world `driver` for the host: a plugin, and the clients that it is run as.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bindings::driver::exports::faultd::plugin::workload;
use crate::bindings::driver::faultd::plugin::failures;
use crate::bindings::driver::{Driver, DriverPre};
use crate::engine::PluginFacts;
use crate::error::{PluginError, Problem, one_line};
use crate::instance::{Instance, PluginState};
use crate::limits::PluginLimits;
use crate::log::{LogSink, log_to_tracing};
use crate::reach::{Connector, Member, Reach};

/// A compiled driver. Clones share what is compiled.
#[derive(Clone)]
pub struct DriverPlugin {
    name: Arc<str>,
    facts: Arc<PluginFacts>,
    limits: PluginLimits,
    log: LogSink,
    linked: DriverPre<PluginState>,
}

/// What one client is to do. Clients of a run differ in `serving` and `seed`.
#[derive(Clone)]
pub struct ClientOptions {
    /// The members of the cluster, at least one.
    pub members: Vec<Member>,
    /// Index of the member that serves this client.
    pub serving: usize,
    /// How many different keys the load is spread over, at least 1.
    pub keys: u64,
    /// Size of a value, in bytes.
    pub value_bytes: u32,
    /// Settings of the plugin, name and value, as the user wrote them.
    pub settings: Vec<(String, String)>,
    /// Seed of this client's random numbers.
    pub seed: u64,
    /// Time limit of each request to a member, connecting included.
    pub operation_timeout: Duration,
    /// Opens the connections.
    pub connector: Arc<dyn Connector>,
}

/// The next operation of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Number of the key, below the number of keys.
    pub key: u64,
    /// Whether it reads; otherwise it writes.
    pub reads: bool,
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its kind, for example `put`: up to 32 of `a`-`z`, `0`-`9`, `-`, and no more than 16 kinds in a client.
    pub operation: Arc<str>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// Why an operation failed. Texts are one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No complete answer in time.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or it broke.
    #[error("connection failed: {0}")]
    Connection(String),
    /// The member answered with an error.
    #[error("server error: {0}")]
    Server(String),
}

/// The part a member plays in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It leads.
    Leader,
    /// It follows a leader.
    Follower,
    /// It cannot be asked, or does not know.
    Unknown,
}

/// The role of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRole {
    /// The member's name.
    pub member: String,
    /// Its role.
    pub role: Role,
}

/// One client: an instance of the plugin with its own connections.
///
/// Futures of its methods may be dropped at any time (the daemon does so at the end of a run): the connection in
/// use is closed, nothing is left running, and every later call is answered with [`Problem::Unusable`].
pub struct DriverClient {
    instance: Instance,
    guest: Driver,
    /// Names, in the order of the options.
    members: Vec<String>,
    operations: Vec<Arc<str>>,
}

impl DriverPlugin {
    pub(crate) fn new(
        name: Arc<str>,
        facts: Arc<PluginFacts>,
        limits: PluginLimits,
        linked: DriverPre<PluginState>,
    ) -> Self {
        Self { log: log_to_tracing(&name), name, facts, limits, linked }
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

    /// Name that it was loaded under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands the log lines of clients to `log`; without it they go to the daemon's own log.
    #[must_use]
    pub fn with_log(self, log: LogSink) -> Self {
        Self { log, ..self }
    }

    /// Makes one client and starts it.
    ///
    /// # Errors
    /// The plugin does not accept the settings, or does not stay within its limits.
    pub async fn client(&self, options: ClientOptions) -> Result<DriverClient, PluginError> {
        let mut instance = self.instance(&options);
        let given = options.settings.iter().map(|(name, _)| name.as_str());
        let known = self.facts.manifest.check_settings(given);
        known.map_err(|text| instance.error(Problem::UnknownSetting(one_line(&text))))?;
        instance.begin()?;
        let guest = self.linked.instantiate_async(&mut instance.store).await;
        let guest = instance.end("start", guest)?;
        let members = options.members.iter().map(|member| member.name.clone()).collect();
        let mut client = DriverClient { instance, guest, members, operations: Vec::new() };
        client.start(&settings(options)).await?;
        Ok(client)
    }

    fn instance(&self, options: &ClientOptions) -> Instance {
        let reach = Reach::new(&options.members, Arc::clone(&options.connector), options.operation_timeout)
            .limited_to(self.facts.manifest.network.clone(), options.serving);
        Instance::new(
            self.linked.engine(),
            Arc::clone(&self.name),
            self.limits.clone(),
            Arc::clone(&self.log),
            options.seed,
            reach,
            options.members.len(),
        )
    }
}

impl DriverClient {
    /// Does one operation. A failed operation is an outcome, not an error.
    ///
    /// # Errors
    /// The plugin broke its contract or its limits; the client is then unusable.
    pub async fn operate(&mut self, operation: Operation) -> Result<Outcome, PluginError> {
        self.instance.begin()?;
        let workload = self.guest.faultd_plugin_workload();
        let operation = workload::Operation { key: operation.key, reads: operation.reads };
        let outcome = workload.call_operate(&mut self.instance.store, operation).await;
        let outcome = self.instance.end("operate", outcome)?;
        let operation = self.operation(&outcome.operation)?;
        Ok(Outcome { operation, failure: outcome.failure.map(Failure::from) })
    }

    /// The role of each member, in the order of the options. Takes up to the request's time limit for each
    /// member that is down.
    ///
    /// # Errors
    /// The plugin has nothing to say of the cluster (the client stays usable), or broke its contract or limits.
    pub async fn roles(&mut self) -> Result<Vec<MemberRole>, PluginError> {
        self.instance.begin()?;
        let workload = self.guest.faultd_plugin_workload();
        let roles = workload.call_roles(&mut self.instance.store).await;
        let roles = self.instance.end("roles", roles)?;
        let roles = roles.map_err(|message| self.instance.failed("roles", &message))?;
        if roles.len() != self.members.len() {
            let reason = format!("{} roles for {} members", roles.len(), self.members.len());
            return Err(self.instance.error(Problem::BadAnswer { call: "roles", reason }));
        }
        let named = self.members.iter().cloned().zip(roles.into_iter().map(Role::from));
        Ok(named.map(|(member, role)| MemberRole { member, role }).collect())
    }

    /// Makes what the load needs.
    ///
    /// # Errors
    /// The plugin cannot, in its own words (the client stays usable), or broke its contract or limits.
    pub async fn prepare(&mut self) -> Result<(), PluginError> {
        self.instance.begin()?;
        let workload = self.guest.faultd_plugin_workload();
        let prepared = workload.call_prepare(&mut self.instance.store).await;
        let prepared = self.instance.end("prepare", prepared)?;
        prepared.map_err(|message| self.instance.failed("prepare", &message))
    }

    /// Writes `count` keys from `first` on.
    ///
    /// # Errors
    /// As those of [`Self::prepare`].
    pub async fn fill(&mut self, first: u64, count: u64) -> Result<(), PluginError> {
        self.instance.begin()?;
        let workload = self.guest.faultd_plugin_workload();
        let filled = workload.call_fill(&mut self.instance.store, first, count).await;
        let filled = self.instance.end("fill", filled)?;
        filled.map_err(|message| self.instance.failed("fill", &message))
    }

    /// Takes away what the run has left in the cluster.
    ///
    /// # Errors
    /// As those of [`Self::prepare`].
    pub async fn clean(&mut self) -> Result<(), PluginError> {
        self.instance.begin()?;
        let workload = self.guest.faultd_plugin_workload();
        let cleaned = workload.call_clean(&mut self.instance.store).await;
        let cleaned = self.instance.end("clean", cleaned)?;
        cleaned.map_err(|message| self.instance.failed("clean", &message))
    }

    async fn start(&mut self, settings: &workload::Settings) -> Result<(), PluginError> {
        self.instance.begin()?;
        let workload = self.guest.faultd_plugin_workload();
        let started = workload.call_start(&mut self.instance.store, settings).await;
        let started = self.instance.end("start", started)?;
        started.map_err(|message| self.instance.failed("start", &message))
    }

    /// The kind of an operation. Kinds become labels of metrics, so that there must be few and plain ones.
    fn operation(&mut self, name: &str) -> Result<Arc<str>, PluginError> {
        const MOST_KINDS: usize = 16;
        if let Some(known) = self.operations.iter().find(|known| ***known == *name) {
            return Ok(Arc::clone(known));
        }
        if !is_operation_name(name) || self.operations.len() >= MOST_KINDS {
            let reason = format!("operation {:?}, or too many kinds of operations", one_line(name));
            return Err(self.instance.error(Problem::BadAnswer { call: "operate", reason }));
        }
        let name: Arc<str> = name.into();
        self.operations.push(Arc::clone(&name));
        Ok(name)
    }
}

fn is_operation_name(name: &str) -> bool {
    const LONGEST: usize = 32;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(plain)
}

fn settings(options: ClientOptions) -> workload::Settings {
    let member = |member: &Member| workload::Member { name: member.name.clone() };
    workload::Settings {
        members: options.members.iter().map(member).collect(),
        serving: u32::try_from(options.serving).unwrap_or(u32::MAX),
        keys: options.keys,
        value_bytes: options.value_bytes,
        settings: options.settings,
    }
}

impl From<failures::Failure> for Failure {
    fn from(failure: failures::Failure) -> Self {
        match failure {
            failures::Failure::Timeout => Self::Timeout,
            failures::Failure::Connection(text) => Self::Connection(one_line(&text)),
            failures::Failure::Server(text) => Self::Server(one_line(&text)),
        }
    }
}

impl From<workload::Role> for Role {
    fn from(role: workload::Role) -> Self {
        match role {
            workload::Role::Leader => Self::Leader,
            workload::Role::Follower => Self::Follower,
            workload::Role::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_operations_are_short_and_plain() {
        assert!(["put", "get-1", "x"].into_iter().all(is_operation_name));
        assert!(!["", "Put", "a b", "é", &"x".repeat(33)].into_iter().any(is_operation_name));
    }
}
