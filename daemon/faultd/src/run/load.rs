//! The clients: paced, timed and counted by the host.
//!
//! ```text
//! closed loop   |-operation-|think|-operation-|think|-operation-|        latency: the operation
//! open loop     due    due    due    due    due                          latency: from due to done, so that
//!               |-op-| |----op (stall)---||op||op|                       a stall is not left out
//! ```

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use faultd_kernel::clock;
use faultd_plugin_host::{DriverClient, DriverPlugin, Failure, MemberRole, PluginError};
use faultd_results::recorder::SecondRecorder;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{clock::RunClock, keys::OperationSource, spec::RunSpec};
use crate::{
    cluster::{Cluster, RoleError, Workload},
    metrics::RunMetrics,
};

/// A client whose connection is refused asks again after this: without it a member that is down
/// would turn the closed loop into a busy one.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// Shared by all clients and the one who closes the seconds. A std mutex: held for one record.
pub type SharedRecorder = Arc<Mutex<SecondRecorder>>;

/// One client of a run, with what it is to do.
pub struct Client {
    /// The instance of the driver.
    pub driver: DriverClient,
    operations: OperationSource,
    pace: Pace,
    /// When it begins, from the beginning of the load on.
    begins_after: Duration,
}

/// When a client does its next operation.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pace {
    /// After the last one has ended, and this pause.
    ClosedLoop { think_time: Duration },
    /// Whenever one is due: the first after `offset`, then one every `interval`.
    OpenLoop { offset: Duration, interval: Duration },
}

/// Makes the clients; none has done anything yet.
///
/// # Errors
/// When the driver refuses the cluster or the settings.
pub async fn clients(
    spec: &RunSpec,
    seed: u64,
    cluster: &Cluster,
    driver: &DriverPlugin,
    serving: &[usize],
) -> Result<Vec<Client>, PluginError> {
    let request = &spec.request;
    let workload = workload(spec);
    let mut clients = Vec::with_capacity(spec.clients);
    let count = u64::try_from(spec.clients).unwrap_or(u64::MAX);
    for (number, member) in (0_u64..).zip(serving.iter().cycle().take(spec.clients)) {
        let seed = seed.wrapping_add(number);
        let begins_after = share_of(Duration::from_nanos(request.client_ramp_ns), number, count);
        clients.push(Client {
            driver: cluster.client(driver, *member, seed, &workload).await?,
            operations: OperationSource::new(
                request.key_distribution,
                request.keys,
                request.read_ratio,
                seed,
                number,
                count,
            ),
            pace: pace(spec, number, count),
            begins_after,
        });
    }
    Ok(clients)
}

/// What the drivers of a run are told.
#[must_use]
pub fn workload(spec: &RunSpec) -> Workload {
    let request = &spec.request;
    Workload {
        keys: request.keys,
        value_bytes: u32::try_from(request.value_bytes).unwrap_or(u32::MAX),
        operation_timeout: Duration::from_nanos(request.operation_timeout_ns),
        settings: request.driver_settings.clone().into_iter().collect(),
    }
}

/// The arrivals of an open loop go round the clients, so that together they are evenly spaced.
fn pace(spec: &RunSpec, number: u64, clients: u64) -> Pace {
    let Some(per_second) = spec.request.arrivals_per_second else {
        return Pace::ClosedLoop { think_time: Duration::from_nanos(spec.request.think_time_ns) };
    };
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer clients than a double has digits")]
    let seconds = Duration::try_from_secs_f64(clients as f64 / per_second);
    let interval = seconds.unwrap_or(Duration::MAX).max(Duration::from_nanos(1));
    Pace::OpenLoop { offset: share_of(interval, number, clients), interval }
}

/// `number` parts of `whole`, divided into `parts`.
fn share_of(whole: Duration, number: u64, parts: u64) -> Duration {
    let share = whole.as_nanos() * u128::from(number) / u128::from(parts.max(1));
    Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX))
}

/// The members that serve clients, by position: `all`, a role, or a name.
///
/// # Errors
/// When nobody has that role or name.
pub fn serving(via: &str, cluster: &Cluster, roles: &[MemberRole]) -> Result<Vec<usize>, RoleError> {
    if via == "all" {
        return Ok((0..cluster.members.len()).collect());
    }
    let (member, _) = cluster.member(via, roles, &[])?;
    Ok(cluster.members.iter().position(|other| other.name == member.name).into_iter().collect())
}

/// Sets the clients to work. They go on until the set is dropped; a plugin that breaks ends its
/// client and says so on `broken`.
pub fn begin(
    clients: Vec<Client>,
    clock: RunClock,
    recorder: &SharedRecorder,
    metrics: &RunMetrics,
    broken: &mpsc::Sender<PluginError>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for client in clients {
        let kinds = Vec::new();
        let counts = Counts { clock, recorder: Arc::clone(recorder), metrics: metrics.clone(), kinds };
        let broken = broken.clone();
        tasks.spawn(async move {
            if let Err(error) = work(client, began, counts).await {
                // Nobody listens any more when the run is ending anyway.
                let _ = broken.try_send(error);
            }
        });
    }
    tasks
}

async fn work(client: Client, began: Instant, counts: Counts) -> Result<(), PluginError> {
    let Client { driver, operations, pace, begins_after } = client;
    sleep_until(began + begins_after).await;
    match pace {
        Pace::ClosedLoop { think_time } => closed_loop(driver, operations, think_time, counts).await,
        Pace::OpenLoop { offset, interval } => {
            let first_due = began + begins_after + offset;
            open_loop(driver, operations, first_due, interval, counts).await
        }
    }
}

async fn closed_loop(
    mut driver: DriverClient,
    mut operations: OperationSource,
    think_time: Duration,
    mut counts: Counts,
) -> Result<(), PluginError> {
    loop {
        let began_ns = clock::monotonic_ns();
        let outcome = driver.operate(operations.draw()).await?;
        if counts.count(began_ns, &outcome.operation, outcome.failure.as_ref()) == OperationResult::Error {
            sleep(PAUSE_AFTER_REFUSAL).await;
        }
        if !think_time.is_zero() {
            sleep(think_time).await;
        }
    }
}

async fn open_loop(
    mut driver: DriverClient,
    mut operations: OperationSource,
    first_due: Instant,
    interval: Duration,
    mut counts: Counts,
) -> Result<(), PluginError> {
    let mut due = first_due;
    loop {
        sleep_until(due).await;
        // Late or not: it counts from when it was due.
        let late_ns = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let due_ns = clock::monotonic_ns().saturating_sub(late_ns);
        let outcome = driver.operate(operations.draw()).await?;
        counts.count(due_ns, &outcome.operation, outcome.failure.as_ref());
        let Some(next) = due.checked_add(interval) else { return Ok(()) };
        due = next;
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OperationResult {
    Ok,
    Timeout,
    Error,
}

/// Where operations are counted.
struct Counts {
    clock: RunClock,
    recorder: SharedRecorder,
    metrics: RunMetrics,
    /// Kinds of operations that have been seen.
    kinds: Vec<Arc<str>>,
}

impl Counts {
    fn count(&mut self, began_ns: u64, operation: &Arc<str>, failure: Option<&Failure>) -> OperationResult {
        let ended_ns = clock::monotonic_ns();
        let latency_ns = ended_ns.saturating_sub(began_ns);
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).record(
            self.clock.since_origin_ns(ended_ns),
            latency_ns,
            failure.is_none(),
        );
        let (result, text) = match failure {
            None => (OperationResult::Ok, "ok"),
            Some(Failure::Timeout) => (OperationResult::Timeout, "timeout"),
            Some(_) => (OperationResult::Error, "error"),
        };
        if !self.kinds.contains(operation) {
            self.metrics.operation_kind(operation);
            self.kinds.push(Arc::clone(operation));
        }
        self.metrics.operation(operation, text, Duration::from_nanos(latency_ns));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_share_the_time_evenly() {
        let parts: Vec<Duration> = (0..4).map(|number| share_of(Duration::from_secs(8), number, 4)).collect();
        assert_eq!(parts, [0, 2, 4, 6].map(Duration::from_secs));
        assert_eq!(share_of(Duration::MAX, 1, 1), Duration::from_nanos(u64::MAX));
    }
}
