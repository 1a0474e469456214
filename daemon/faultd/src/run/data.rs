//! The data of a run: made before the load, taken away after it, both through the driver.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use faultd_plugin_host::{DriverPlugin, PluginError};
use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::{
    load::{Client, workload},
    spec::RunSpec,
};
use crate::cluster::Cluster;

/// Keys that a client writes in one go: enough that the calls cost nothing, few enough to stop soon.
const KEYS_AT_ONCE: u64 = 50;
/// More clients than this at a time only wait for each other.
const MOST_AT_ONCE: usize = 32;
/// How long taking away may take: a daemon that is to stop waits for it.
const CLEAN_WITHIN: Duration = Duration::from_secs(20);

/// Makes what the load needs; writes every key if the run reads any. May be dropped at any time: the clients
/// that were at work are of no more use then.
///
/// # Errors
/// What the driver says that it cannot do.
pub async fn prepare(spec: &RunSpec, clients: &mut [Client]) -> Result<(), PluginError> {
    if let Some(first) = clients.first_mut() {
        first.driver.prepare().await?;
    }
    if spec.request.read_ratio > 0.0 {
        fill(spec.request.keys, clients).await?;
    }
    Ok(())
}

async fn fill(keys: u64, clients: &mut [Client]) -> Result<(), PluginError> {
    let next = AtomicU64::new(0);
    let next = &next;
    let fill_some = |client| async move {
        let client: &mut Client = client;
        loop {
            let first = next.fetch_add(KEYS_AT_ONCE, Ordering::Relaxed);
            if first >= keys {
                return Ok(());
            }
            client.driver.fill(first, KEYS_AT_ONCE.min(keys - first)).await?;
        }
    };
    try_join_all(clients.iter_mut().take(MOST_AT_ONCE).map(fill_some)).await?;
    Ok(())
}

/// Takes away what the run has left. The answer is what went wrong, for people.
///
/// # Errors
/// One line for the run's log.
pub async fn clean(spec: &RunSpec, cluster: &Cluster, driver: &DriverPlugin) -> Result<(), String> {
    let clean = async {
        let mut client = cluster.client(driver, 0, 0, &workload(spec)).await?;
        client.clean().await
    };
    match timeout(CLEAN_WITHIN, clean).await {
        Ok(cleaned) => cleaned.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it was not done within {} s", CLEAN_WITHIN.as_secs())),
    }
}
