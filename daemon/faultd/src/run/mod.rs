//! Runs: measured experiments on a cluster.

pub mod clock;
pub mod command_load;
pub mod data;
pub mod dialogue;
pub mod experiment;
mod fault_records;
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
pub mod transcript;

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use faultd_api::run::{RemoteFaultNote, RunProgress, RunRequest, RunResult};
use tokio::sync::watch;

pub use self::notes::NoteError;
use self::{
    command_load::{CommandLoadError, CommandOutput},
    experiment::{Experiment, Surroundings},
    notes::Notes,
    outputs::OutputsError,
    spec::{RunSpec, RunSpecError},
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
    /// The folder or a file in it cannot be written.
    #[error("the run's folder cannot be written: {0}")]
    Outputs(#[from] OutputsError),
    /// A mistake of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

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
}

#[derive(Default)]
struct Table {
    last_id: u64,
    /// Cluster names in use, by the id of the run that has them.
    clusters: BTreeMap<String, String>,
    active: BTreeMap<String, RunHandle>,
}

/// A run that goes on or has ended; clones speak of the same one.
#[derive(Clone)]
pub struct RunHandle {
    /// Its id: `r1`, `r2` ...
    pub id: String,
    progress: watch::Receiver<RunProgress>,
    result: watch::Receiver<Option<RunResult>>,
    stop: Arc<watch::Sender<Option<String>>>,
    notes: Notes,
}

impl RunHandle {
    /// What it is doing, once a second.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<RunProgress> {
        self.progress.clone()
    }

    /// Adds to its events what its caller says of a fault on another machine.
    ///
    /// # Errors
    /// When the note is out of bounds, or the run has ended.
    pub fn note(&self, note: RemoteFaultNote) -> Result<(), NoteError> {
        self.notes.take(note)
    }

    /// Ends it early; the first reason counts.
    pub fn stop(&self, reason: &str) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            if first {
                *stop = Some(reason.to_owned());
            }
            first
        });
    }

    /// Waits for its end.
    pub async fn wait(&self) -> RunResult {
        let mut result = self.result.clone();
        match result.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
            Ok(Some(result)) => result,
            _ => RunResult {
                id: self.id.clone(),
                status: "failed".to_owned(),
                folder: String::new(),
                error: Some("the run broke off; the daemon's log says why".to_owned()),
            },
        }
    }
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
        Self { shared: Arc::new(Shared { surroundings, labs, table: Mutex::default() }) }
    }

    /// Begins a run; its folder is made inside of `outputs`. A command that is its load is started by the caller,
    /// as soon as this has returned.
    ///
    /// # Errors
    /// When the request is wrong, or something that it needs is missing or in use.
    pub async fn start(
        &self,
        request: &RunRequest,
        outputs: OwnedFd,
        output_of_command: Option<OwnedFd>,
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
            Ok(experiment) => Ok(self.begin(id, name, experiment)),
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

    fn begin(&self, id: String, cluster: String, experiment: Experiment) -> RunHandle {
        let (progress, progress_seen) = watch::channel(RunProgress::default());
        let (stop, stopped) = watch::channel(None);
        let (result, result_seen) = watch::channel(None);
        let (stop, notes) = (Arc::new(stop), Notes::default());
        let handle = RunHandle {
            id: id.clone(),
            progress: progress_seen,
            result: result_seen,
            stop,
            notes: notes.clone(),
        };
        self.table().active.insert(id.clone(), handle.clone());
        let runs = self.clone();
        tokio::spawn(async move {
            tracing::info!(run = id, cluster, folder = experiment.folder_name(), "run begins");
            let ended = experiment.conduct(progress, stopped, notes).await;
            tracing::info!(run = id, status = ended.status, error = ended.error, "run ended");
            runs.release(&id, &cluster);
            result.send_replace(Some(ended));
        });
        handle
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
        table.active.remove(id);
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
