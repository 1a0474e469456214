//! The clients: a closed loop each, timed and counted by the host.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use faultd_kernel::clock;
use faultd_plugin_host::{DriverClient, DriverPlugin, Failure, MemberRole, PluginError};
use faultd_results::recorder::SecondRecorder;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use super::{clock::RunClock, spec::RunSpec};
use crate::{
    cluster::{Cluster, RoleError, Workload},
    metrics::RunMetrics,
};

/// A client whose connection is refused asks again after this: without it a member that is down
/// would turn the closed loop into a busy one.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// Shared by all clients and the one who closes the seconds. A std mutex: held for one record.
pub type SharedRecorder = Arc<Mutex<SecondRecorder>>;

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
) -> Result<Vec<DriverClient>, PluginError> {
    let workload = Workload {
        keys: spec.request.keys,
        value_bytes: u32::try_from(spec.request.value_bytes).unwrap_or(u32::MAX),
        read_share: spec.request.read_ratio,
        operation_timeout: Duration::from_nanos(spec.request.operation_timeout_ns),
    };
    let mut clients = Vec::with_capacity(spec.clients);
    for (number, member) in (0_u64..).zip(serving.iter().cycle().take(spec.clients)) {
        let seed = seed.wrapping_add(number);
        clients.push(cluster.client(driver, *member, seed, &workload).await?);
    }
    Ok(clients)
}

/// The members that serve clients, by position: `all`, a role, or a name.
///
/// # Errors
/// When nobody has that role or name.
pub fn serving(via: &str, cluster: &Cluster, roles: &[MemberRole]) -> Result<Vec<usize>, RoleError> {
    if via == "all" {
        return Ok((0..cluster.members.len()).collect());
    }
    let (member, _) = cluster.member(via, roles)?;
    Ok(cluster.members.iter().position(|other| other.name == member.name).into_iter().collect())
}

/// Sets the clients to work. They go on until the set is dropped; a plugin that breaks ends its
/// client and says so on `broken`.
pub fn begin(
    clients: Vec<DriverClient>,
    clock: RunClock,
    recorder: &SharedRecorder,
    metrics: &RunMetrics,
    broken: &mpsc::Sender<PluginError>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for client in clients {
        let (recorder, metrics, broken) = (Arc::clone(recorder), metrics.clone(), broken.clone());
        tasks.spawn(async move {
            if let Err(error) = closed_loop(client, clock, &recorder, &metrics).await {
                // Nobody listens any more when the run is ending anyway.
                let _ = broken.try_send(error);
            }
        });
    }
    tasks
}

async fn closed_loop(
    mut client: DriverClient,
    clock: RunClock,
    recorder: &SharedRecorder,
    metrics: &RunMetrics,
) -> Result<(), PluginError> {
    loop {
        let began_ns = clock::monotonic_ns();
        let outcome = client.operate().await?;
        let ended_ns = clock::monotonic_ns();
        let latency_ns = ended_ns.saturating_sub(began_ns);
        recorder.lock().unwrap_or_else(PoisonError::into_inner).record(
            clock.since_origin_ns(ended_ns),
            latency_ns,
            outcome.failure.is_none(),
        );
        let result = match &outcome.failure {
            None => "ok",
            Some(Failure::Timeout) => "timeout",
            Some(_) => "error",
        };
        metrics.operation(&outcome.operation, result, Duration::from_nanos(latency_ns));
        if result == "error" {
            sleep(PAUSE_AFTER_REFUSAL).await;
        }
    }
}
