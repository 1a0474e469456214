//! Tries a plugin out: loads it as a run would, and lets a schedule play a dry run. What is wrong with it is an
//! answer, not an error.

use std::{fs::File, io::Read, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use faultd_api::plugin::{CheckReport, CheckRequest, PluginStatus, ReplayReport};
use faultd_plugin_host::{
    ClientOptions, ConnectFuture, Connector, DriverPlugin, Member, PluginError, SchedulePlugin,
    manifest::{self, World},
};

use super::{LARGEST_COMPONENT, PluginProblem, Plugins, dry_run, replay, report};
use crate::run::transcript;

/// The longest transcript that is read, in bytes.
const LONGEST_TRANSCRIPT: u64 = 256 << 20;

impl Plugins {
    /// Tries a plugin of the directory.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn check(&self, name: &str, request: &CheckRequest) -> Result<CheckReport, PluginProblem> {
        let bytes = self.bytes(name).await?;
        Ok(self.check_bytes(bytes, Some(name), request).await)
    }

    /// Tries a component that is handed over.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn check_component(
        &self,
        component: OwnedFd,
        request: &CheckRequest,
    ) -> Result<CheckReport, PluginProblem> {
        let bytes = read_all(component, LARGEST_COMPONENT, "component").await?;
        Ok(self.check_bytes(bytes, None, request).await)
    }

    /// Makes the decisions of a recorded run again, with the schedule of that name.
    ///
    /// # Errors
    /// When the transcript cannot be read, or the schedule not be used.
    pub async fn replay(&self, transcript: OwnedFd) -> Result<ReplayReport, PluginProblem> {
        let bytes = read_all(transcript, LONGEST_TRANSCRIPT, "transcript").await?;
        let (opening, exchanges) = transcript::read(&String::from_utf8_lossy(&bytes))?;
        let schedule = self.schedule(&opening.schedule).await?;
        Ok(replay::replay(&schedule, opening, exchanges).await?)
    }

    async fn check_bytes(&self, bytes: Vec<u8>, name: Option<&str>, request: &CheckRequest) -> CheckReport {
        let size = bytes.len();
        let manifest = match manifest::extract(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => return broken(name, size, error.to_string()),
        };
        let name = name.unwrap_or(&manifest.id).to_owned();
        let outcome = match manifest.world {
            World::Schedule => self.try_schedule(&name, bytes, request).await,
            World::Driver => self.try_driver(&name, bytes, request).await,
        };
        outcome.unwrap_or_else(|problem| broken(Some(&name), size, problem))
    }

    async fn try_schedule(
        &self,
        name: &str,
        bytes: Vec<u8>,
        request: &CheckRequest,
    ) -> Result<CheckReport, String> {
        let size = bytes.len();
        let plugin: SchedulePlugin =
            self.loaded(name, bytes, faultd_plugin_host::PluginEngine::load_schedule).await?;
        let report = report::of_schedule(&plugin, size);
        Ok(match dry_run::play(&plugin, request).await {
            Ok(dry_run) => CheckReport { report, problems: Vec::new(), dry_run: Some(dry_run) },
            Err(error) => CheckReport { report, problems: vec![error.to_string()], dry_run: None },
        })
    }

    /// There is no cluster: all that can be tried is whether the driver starts and tells roles of members that
    /// cannot be reached.
    async fn try_driver(
        &self,
        name: &str,
        bytes: Vec<u8>,
        request: &CheckRequest,
    ) -> Result<CheckReport, String> {
        let size = bytes.len();
        let plugin: DriverPlugin =
            self.loaded(name, bytes, faultd_plugin_host::PluginEngine::load_driver).await?;
        let report = report::of_driver(&plugin, size);
        let tried = async {
            let mut client = plugin.client(nobody(request)).await?;
            client.roles().await.map(drop)
        };
        let problems = tried.await.err().filter(|error| !is_word_of_plugin(error));
        Ok(CheckReport {
            report,
            problems: problems.iter().map(ToString::to_string).collect(),
            dry_run: None,
        })
    }

    async fn loaded<T: Send + 'static>(
        &self,
        name: &str,
        bytes: Vec<u8>,
        load: impl FnOnce(&faultd_plugin_host::PluginEngine, &str, &[u8]) -> Result<T, PluginError>
        + Send
        + 'static,
    ) -> Result<T, String> {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        let loaded = tokio::task::spawn_blocking(move || load(&shared.engine, &name, &bytes)).await;
        loaded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// That nothing can be said of a cluster that is not there is no mistake of the driver.
fn is_word_of_plugin(error: &PluginError) -> bool {
    let PluginError::Plugin { problem, .. } = error else { return false };
    matches!(problem, faultd_plugin_host::Problem::Failed { call: "roles", .. })
}

fn broken(name: Option<&str>, size: usize, problem: String) -> CheckReport {
    let mut report = CheckReport { problems: vec![problem], ..CheckReport::default() };
    let bytes = u64::try_from(size).unwrap_or(u64::MAX);
    report.report.plugin =
        PluginStatus { name: name.unwrap_or_default().to_owned(), bytes, ..PluginStatus::default() };
    report
}

fn nobody(request: &CheckRequest) -> ClientOptions {
    let member =
        |name: &str| Member { name: name.to_owned(), address: SocketAddr::from(([127, 0, 0, 1], 9)) };
    ClientOptions {
        members: ["node0", "node1", "node2"].map(member).into(),
        serving: 0,
        keys: 1,
        value_bytes: 1,
        settings: request.settings.clone().into_iter().collect(),
        seed: request.seed,
        operation_timeout: Duration::from_millis(100),
        connector: Arc::new(Unreachable),
    }
}

/// Reaches nobody.
struct Unreachable;

impl Connector for Unreachable {
    fn connect(&self, _address: SocketAddr) -> ConnectFuture {
        Box::pin(std::future::ready(Err(std::io::ErrorKind::ConnectionRefused.into())))
    }
}

async fn read_all(file: OwnedFd, most: u64, what: &str) -> Result<Vec<u8>, PluginProblem> {
    let unreadable = |reason: String| PluginProblem::Unreadable { name: what.to_owned(), reason };
    let read = move || {
        let mut bytes = Vec::new();
        File::from(file).take(most + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| unreadable(error.to_string()))?;
    let bytes = read.map_err(|error| unreadable(error.to_string()))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        return Ok(bytes);
    }
    Err(unreadable(format!("it has more than the {most} bytes that are read")))
}
