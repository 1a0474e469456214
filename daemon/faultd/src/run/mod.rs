//! Runs: measured experiments on a cluster.

pub mod clock;
pub mod command_load;
pub mod data;
pub mod dialogue;
pub mod experiment;
mod fault_records;
mod finish;
mod handle;
pub mod host;
pub mod injection;
pub mod keys;
pub mod load;
mod notes;
pub mod outputs;
pub mod record;
mod refusals;
pub mod roles;
mod running_load;
mod seconds;
pub mod spec;
pub mod stop;
pub mod transcript;
mod whole_lines;

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use faultd_api::run::{RunProgress, RunRequest, RunStatus};
use tokio::sync::watch;

use self::{
    command_load::{CommandLoadError, CommandOutput},
    experiment::{Experiment, Surroundings},
    notes::Notes,
    outputs::OutputsError,
    spec::{RunSpec, RunSpecError},
    stop::prometheus::PrometheusError,
};
pub use self::{
    handle::{AboutRun, RunHandle},
    notes::NoteError,
};
use crate::{
    cluster::{Cluster, RoleError},
    container_cluster::{self, ContainerClusterError},
    engine::EngineError,
    fault::backend::NoBackend,
    lab::{LabError, Labs},
    plugins::PluginProblem,
    policy::FaultRefusal,
    target::TargetError,
};

/// Why a run does not begin, or does not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The request is wrong.
    #[error(transparent)]
    Spec(#[from] RunSpecError),
    /// There is no such cluster.
    #[error(
        "no cluster is named '{0}'; bring one up with 'faultctl lab up workloads/etcd', or see 'faultctl lab status'"
    )]
    NoCluster(String),
    /// No run of this daemon's life has that id, or it ended long ago.
    #[error("no run has the id '{0}'; see 'faultctl runs ls', and 'faultctl results ls' for older ones")]
    NoSuchRun(String),
    /// The cluster is on its way up or down.
    #[error(transparent)]
    Lab(LabError),
    /// The containers are no cluster.
    #[error(transparent)]
    Containers(#[from] ContainerClusterError),
    /// Another run has the cluster.
    #[error("cluster '{cluster}' is in use by run {run}: wait for its end or stop it")]
    ClusterBusy {
        /// The cluster's name.
        cluster: String,
        /// The other run's id.
        run: String,
    },
    /// Roles are not known, or nobody has the one that was asked for.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// A peer that the fault names is not there.
    #[error(transparent)]
    Peer(TargetError),
    /// The host cannot do it.
    #[error(transparent)]
    Backend(#[from] NoBackend),
    /// The operator does not allow it.
    #[error(transparent)]
    Refused(#[from] FaultRefusal),
    /// The kernel cannot be made ready.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A plugin is not there or broken.
    #[error(transparent)]
    Plugin(#[from] PluginProblem),
    /// Who judges a stop condition is not there, or does not understand it.
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
    /// The folder or a file in it cannot be written.
    #[error("the run's folder cannot be written: {0}")]
    Outputs(#[from] OutputsError),
    /// A mistake of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

/// So many runs that have ended are listed.
const MOST_ENDED: usize = 100;

/// All runs of this daemon; clones share them.
#[derive(Clone)]
pub struct Runs {
    shared: Arc<Shared>,
}

struct Shared {
    surroundings: Surroundings,
    labs: Labs,
    /// A std mutex: held for table access only, never across an await.
    table: Mutex<Table>,
    /// Counts runs that have begun or ended.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Table {
    last_id: u64,
    /// Cluster names in use, by the id of the run that has them.
    clusters: BTreeMap<String, String>,
    active: BTreeMap<String, RunHandle>,
    /// Those that ended last, the oldest first.
    ended: VecDeque<RunHandle>,
}

/// No run can begin on a cluster while this lives.
pub struct ClusterHold {
    runs: Runs,
    id: String,
    cluster: String,
}

impl Drop for ClusterHold {
    fn drop(&mut self) {
        self.runs.release(&self.id, &self.cluster);
    }
}

impl Runs {
    /// No runs yet.
    #[must_use]
    pub fn new(surroundings: Surroundings, labs: Labs) -> Self {
        Self {
            shared: Arc::new(Shared {
                surroundings,
                labs,
                table: Mutex::default(),
                changes: watch::Sender::default(),
            }),
        }
    }

    /// Begins a run of a user; its folder is made inside of `outputs`. A command that is its load is started by the
    /// caller, as soon as this has returned.
    ///
    /// # Errors
    /// When the request is wrong, or something that it needs is missing or in use.
    pub async fn start(
        &self,
        request: &RunRequest,
        outputs: OwnedFd,
        output_of_command: Option<OwnedFd>,
        user: u32,
    ) -> Result<RunHandle, RunError> {
        let spec = RunSpec::checked(request)?;
        let command = match (&spec.command, output_of_command) {
            (None, None) => None,
            (Some(reading), Some(pipe)) => {
                Some(CommandOutput::new(pipe, reading).map_err(RunSpecError::from)?)
            }
            _ => return Err(RunSpecError::from(CommandLoadError::NoOutput).into()),
        };
        let cluster = self.cluster(request).await?;
        let id = self.reserve(&cluster.name)?;
        let surroundings = self.shared.surroundings.clone();
        let name = cluster.name.clone();
        match Experiment::prepare(id.clone(), spec, cluster, surroundings, &outputs, command).await {
            Ok(experiment) => {
                let folder = experiment.folder_name().to_owned();
                Ok(self.begin(id, AboutRun::new(request, name, folder, user), experiment))
            }
            Err(error) => {
                self.release(&id, &name);
                Err(error)
            }
        }
    }

    async fn cluster(&self, request: &RunRequest) -> Result<Cluster, RunError> {
        if let Some(containers) = &request.containers {
            let targets = &self.shared.surroundings.targets;
            return Ok(container_cluster::find(&request.cluster, containers, targets).await?);
        }
        self.shared.labs.cluster(&request.cluster).map_err(|error| match error {
            LabError::NotFound(name) => RunError::NoCluster(name),
            other => RunError::Lab(other),
        })
    }

    /// Ends every run, and waits until their faults are cleared and their files written.
    pub async fn stop_all(&self, reason: &str) {
        let active: Vec<RunHandle> = self.table().active.values().cloned().collect();
        for run in &active {
            run.stop(reason);
        }
        for run in active {
            run.wait().await;
        }
    }

    /// Keeps runs away from a cluster for as long as the answer lives.
    ///
    /// # Errors
    /// When a run has the cluster.
    pub fn keep_away_from(&self, cluster: &str) -> Result<ClusterHold, RunError> {
        let id = self.reserve(cluster)?;
        Ok(ClusterHold { runs: self.clone(), id, cluster: cluster.to_owned() })
    }

    /// Those that go on, and those that ended last: in the order in which they were begun.
    #[must_use]
    pub fn list(&self) -> Vec<RunStatus> {
        let mut runs: Vec<RunHandle> = {
            let table = self.table();
            table.ended.iter().chain(table.active.values()).cloned().collect()
        };
        runs.sort_by_key(RunHandle::number);
        runs.iter().map(RunHandle::status).collect()
    }

    /// Hears when a run has begun or ended.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// One of those.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn find(&self, id: &str) -> Result<RunHandle, RunError> {
        let table = self.table();
        let found = table.active.get(id).or_else(|| table.ended.iter().find(|run| run.id == id));
        found.cloned().ok_or_else(|| RunError::NoSuchRun(id.to_owned()))
    }

    fn begin(&self, id: String, about: AboutRun, experiment: Experiment) -> RunHandle {
        let cluster = about.cluster.clone();
        let (progress, progress_seen) = watch::channel(RunProgress::default());
        let (stop, stopped) = watch::channel(None);
        let (result, result_seen) = watch::channel(None);
        let notes = Notes::default();
        let handle = RunHandle {
            id: id.clone(),
            about: Arc::new(about),
            progress: progress_seen,
            result: result_seen,
            stop: Arc::new(stop),
            notes: notes.clone(),
        };
        self.table().active.insert(id.clone(), handle.clone());
        self.changed();
        let runs = self.clone();
        tokio::spawn(async move {
            tracing::info!(run = id, cluster, folder = experiment.folder_name(), "run begins");
            let ended = experiment.conduct(progress, stopped, notes).await;
            tracing::info!(run = id, status = ended.status, error = ended.error, "run ended");
            runs.release(&id, &cluster);
            result.send_replace(Some(ended));
            runs.changed();
        });
        handle
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    fn reserve(&self, cluster: &str) -> Result<String, RunError> {
        let mut table = self.table();
        if let Some(run) = table.clusters.get(cluster) {
            return Err(RunError::ClusterBusy { cluster: cluster.to_owned(), run: run.clone() });
        }
        table.last_id += 1;
        let id = format!("r{}", table.last_id);
        table.clusters.insert(cluster.to_owned(), id.clone());
        Ok(id)
    }

    fn release(&self, id: &str, cluster: &str) {
        let mut table = self.table();
        table.clusters.remove(cluster);
        let Some(run) = table.active.remove(id) else { return };
        table.ended.push_back(run);
        while table.ended.len() > MOST_ENDED {
            table.ended.pop_front();
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
