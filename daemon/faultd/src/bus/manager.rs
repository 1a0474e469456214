//! The root object: doctor, targets, faults, labs, and the start of runs.

use std::sync::Arc;

use faultd_api::{
    dictionary::{self, Dictionary},
    error::Error,
    fault::FaultRequest,
    lab::LabRequest,
    names::run_path,
    plugin::CheckRequest,
    run::RunRequest,
    target::SelectRequest,
    units::{LONGEST_DURATION, nanoseconds},
};
use faultd_kernel::probe::Capabilities;
use serde::Serialize;
use zbus::{Connection, OwnedFd, OwnedObjectPath, interface};

use super::{
    errors::{of_backend, of_dictionary, of_engine, of_fault, of_lab, of_plugin, of_run, of_target},
    run_object::{RunObject, forward_progress},
};
use crate::{
    doctor::Doctor,
    engine::{Application, EngineError, EngineHandle, FaultOwner, Selection},
    fault::{FaultSpec, backend},
    lab::Labs,
    plugins::Plugins,
    readiness::Readiness,
    run::Runs,
    target::Targets,
};

/// Everything that the bus speaks to.
#[derive(Clone)]
pub struct Services {
    /// Applies faults.
    pub engine: EngineHandle,
    /// Finds targets.
    pub targets: Targets,
    /// Clusters of our own.
    pub labs: Labs,
    /// Experiments.
    pub runs: Runs,
    /// Drivers and schedules.
    pub plugins: Plugins,
    /// Makes the kernel ready for faults on labs.
    pub readiness: Readiness,
    /// What the host can do.
    pub capabilities: Arc<Capabilities>,
    /// Reports on the host.
    pub doctor: Doctor,
}

pub(super) struct Manager {
    services: Services,
    /// Number of the caller's connection, which owns what it makes.
    connection: u64,
}

impl Manager {
    pub(super) fn new(services: Services, connection: u64) -> Self {
        Self { services, connection }
    }
}

#[interface(name = "org.faultd.Engine1.Manager")]
impl Manager {
    /// What this kernel and host can do, which backend is used for what and why, and what is left
    /// over of earlier lives.
    #[zbus(out_args("report"))]
    async fn doctor(&self) -> Result<Dictionary, Error> {
        encode(&self.services.doctor.report().await)
    }

    /// Everything that can be named as a target.
    #[zbus(out_args("targets"))]
    async fn list_targets(&self) -> Result<Vec<Dictionary>, Error> {
        let Services { targets, capabilities, .. } = &self.services;
        let backend = backend::for_any(capabilities);
        let mut listed = targets.list().await;
        for target in listed.iter_mut().filter(|target| target.problem.is_none()) {
            target.backend.clone_from(&backend);
        }
        encode_all(&listed)
    }

    /// The full names of the targets that selectors mean, each once. A selector is a target's name, the
    /// beginning of a container's id, PROJECT/SERVICE of compose, label:KEY or label:KEY=VALUE, image:REF, or
    /// re:REGEX, which the whole name of a container fits. Keys of the options: random (t, so many of them),
    /// seed (t, of that choice). The answer says among (t) how many it was chosen, and the seed.
    #[zbus(out_args("selected"))]
    async fn select_targets(&self, selectors: Vec<String>, options: Dictionary) -> Result<Dictionary, Error> {
        let request: SelectRequest = decode(options)?;
        let selected = self.services.targets.select(&selectors, &request).await;
        encode(&selected.map_err(|error| of_target(&error))?)
    }

    /// Applies a fault; returns when the kernel has confirmed it. Keys of the request: target
    /// (s, a name or a selector that one container fits), network (s, one of the container's), delay_ns (t), loss_ratio (d, 0 to 1), shape (a{sv}: see the documentation of FaultShape),
    /// direction (s: egress, ingress, both), backend (s: auto, edt, netem, relay), hold_for_ns (t),
    /// seed (t), detach (b). Without detach the fault ends with the caller's connection. A fault on processes has
    /// pause_ns (t) and pause_every_ns (t), or cpus (d), in its shape, and nothing that is about packets.
    #[zbus(out_args("fault"))]
    async fn add_fault(&self, request: Dictionary) -> Result<Dictionary, Error> {
        let application = self.application(&decode(request)?).await?;
        let applied = self.services.engine.add(application).await.map_err(|error| of_engine(&error))?;
        encode(&applied.status)
    }

    /// Changes what a fault does, to which packets and until when; no packet is lost meanwhile. The
    /// request is that of AddFault, complete; target, direction and backend must be as they were, and
    /// the seed stays.
    #[zbus(out_args("fault"))]
    async fn set_fault(&self, id: String, request: Dictionary) -> Result<Dictionary, Error> {
        let application = self.application(&decode(request)?).await?;
        let changed = self.services.engine.set(&id, application).await;
        encode(&changed.map_err(|error| of_engine(&error))?)
    }

    /// One fault, with what it did so far.
    #[zbus(out_args("fault"))]
    async fn show_fault(&self, id: String) -> Result<Dictionary, Error> {
        let faults = self.services.engine.list().await.map_err(|error| of_engine(&error))?;
        let fault = faults.into_iter().find(|fault| fault.id == id);
        encode(&fault.ok_or_else(|| of_engine(&EngineError::NoSuchFault(id)))?)
    }

    /// The faults that hold, with what they did so far.
    #[zbus(out_args("faults"))]
    async fn list_faults(&self) -> Result<Vec<Dictionary>, Error> {
        encode_all(&self.services.engine.list().await.map_err(|error| of_engine(&error))?)
    }

    /// Removes one fault; returns when it does not hold any more.
    async fn remove_fault(&self, id: String) -> Result<(), Error> {
        if self.clear(Selection::Id(id.clone())).await? == 0 {
            return Err(Error::NotFound(format!("no fault has the id '{id}'; see 'faultctl fault ls'")));
        }
        Ok(())
    }

    /// Removes all faults of a target, or of all targets where its name is empty; answers how many.
    #[zbus(out_args("cleared"))]
    async fn clear_faults(&self, target: String) -> Result<u32, Error> {
        if target.is_empty() {
            return self.clear(Selection::All).await;
        }
        // A target that has gone is no reason to refuse: its name is cleared as it was given.
        let name = self.services.targets.resolve(&target).await.map_or(target, |found| found.name);
        self.clear(Selection::Target(name)).await
    }

    /// Brings a lab up; returns when it serves. Keys: description (s, the text of a cluster.toml),
    /// name (s, another name than the description's).
    #[zbus(out_args("lab"))]
    async fn lab_up(&self, request: Dictionary) -> Result<Dictionary, Error> {
        let request: LabRequest = decode(request)?;
        let lab = self.services.labs.up(&request).await.map_err(|error| of_lab(&error))?;
        self.services.readiness.lab_is_up(&lab.name).await;
        encode(&lab)
    }

    /// The labs that are up, their members asked for their roles.
    #[zbus(out_args("labs"))]
    async fn list_labs(&self) -> Result<Vec<Dictionary>, Error> {
        encode_all(&self.services.labs.statuses().await)
    }

    /// Takes a lab down without a trace; faults on its hosts are removed first.
    async fn lab_down(&self, name: String) -> Result<(), Error> {
        let _hold = self.services.runs.keep_away_from(&name).map_err(|error| of_run(&error))?;
        self.clear(Selection::Lab(name.clone())).await?;
        self.services.readiness.lab_goes_down(&name).await;
        self.services.labs.down(&name).await.map_err(|error| of_lab(&error))
    }

    /// Starts a run and answers its object, which lives on this connection and ends with it. The
    /// run's folder is made inside of the directory whose descriptor is given, and belongs to whom
    /// that belongs. Keys of the request: see the documentation of RunRequest.
    #[zbus(out_args("run"))]
    async fn start_run(
        &self,
        request: Dictionary,
        outputs: OwnedFd,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.begin_run(request, outputs, None, connection).await
    }

    /// As StartRun, where a command of the caller's is the load: the request has command (a{sv}: words (as), tool (s),
    /// pattern (s)). The caller starts the command when this has returned, and hands over the reading end of the
    /// pipe that its output goes to. The warm-up begins at that moment.
    #[zbus(out_args("run"))]
    async fn start_run_of_command(
        &self,
        request: Dictionary,
        outputs: OwnedFd,
        output_of_command: OwnedFd,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.begin_run(request, outputs, Some(output_of_command), connection).await
    }

    /// The plugins in the daemon's directory, as their manifests describe them.
    #[zbus(out_args("plugins"))]
    async fn list_plugins(&self) -> Result<Vec<Dictionary>, Error> {
        encode_all(&self.services.plugins.list().await)
    }

    /// Everything about one plugin: what it imports, its limits with the operator's policy applied, its
    /// settings.
    #[zbus(out_args("report"))]
    async fn inspect_plugin(&self, name: String) -> Result<Dictionary, Error> {
        encode(&self.services.plugins.inspect(&name).await.map_err(|error| of_plugin(&error))?)
    }

    /// Tries a plugin out without a cluster: loads it as a run would, and lets a schedule play a dry run. What
    /// is wrong with the plugin is in the answer. Keys of the request, all with defaults: duration_ns (t),
    /// inject_at_ns (t), hold_for_ns (t), target (s), direction (s), delay_ns (t), loss_ratio (d), settings
    /// (a{sv} of s), seed (t).
    #[zbus(out_args("report"))]
    async fn check_plugin(&self, name: String, request: Dictionary) -> Result<Dictionary, Error> {
        let request = check_request(request)?;
        encode(&self.services.plugins.check(&name, &request).await.map_err(|error| of_plugin(&error))?)
    }

    /// As CheckPlugin, for a component that is read from a descriptor and not kept.
    #[zbus(out_args("report"))]
    async fn check_component(&self, component: OwnedFd, request: Dictionary) -> Result<Dictionary, Error> {
        let request = check_request(request)?;
        let checked = self.services.plugins.check_component(component.into(), &request).await;
        encode(&checked.map_err(|error| of_plugin(&error))?)
    }

    /// Makes the decisions of a recorded run again from its schedule.jsonl, and says whether they are the same.
    #[zbus(out_args("report"))]
    async fn replay_transcript(&self, transcript: OwnedFd) -> Result<Dictionary, Error> {
        let replayed = self.services.plugins.replay(transcript.into()).await;
        encode(&replayed.map_err(|error| of_plugin(&error))?)
    }

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }
}

/// A dry run that ends, and whose clock does not overflow.
fn check_request(request: Dictionary) -> Result<CheckRequest, Error> {
    let request: CheckRequest = decode(request)?;
    let longest = nanoseconds(LONGEST_DURATION);
    if (1..=longest).contains(&request.duration_ns) {
        return Ok(request);
    }
    Err(Error::InvalidRequest("a dry run lasts more than 0 and at most 7 days".to_owned()))
}

impl Manager {
    /// A request, checked, with its target and peers found and its backend chosen.
    async fn application(&self, request: &FaultRequest) -> Result<Application, Error> {
        let Services { targets, capabilities, .. } = &self.services;
        let spec = FaultSpec::checked(request).map_err(|error| of_fault(&error))?;
        let backend = backend::choose(&spec, capabilities).map_err(|error| of_backend(&error))?;
        let target = targets.of_fault(&spec).await.map_err(|error| of_target(&error))?;
        let peers = targets.peers(&spec.selection).await.map_err(|error| of_target(&error))?;
        let owner = if request.detach { FaultOwner::Daemon } else { FaultOwner::Connection(self.connection) };
        Ok(Application { spec, target, peers, backend, owner })
    }

    async fn begin_run(
        &self,
        request: Dictionary,
        outputs: OwnedFd,
        output_of_command: Option<OwnedFd>,
        connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        let request: RunRequest = decode(request)?;
        let started =
            self.services.runs.start(&request, outputs.into(), output_of_command.map(Into::into)).await;
        let run = started.map_err(|error| of_run(&error))?;
        let path = run_path(&run.id);
        connection.object_server().at(path.as_str(), RunObject::new(run.clone())).await?;
        tokio::spawn(forward_progress(run.clone(), connection.clone()));
        tokio::spawn(end_with_connection(run, connection.clone()));
        Ok(OwnedObjectPath::try_from(path)?)
    }

    async fn clear(&self, selection: Selection) -> Result<u32, Error> {
        let cleared = self.services.engine.clear(selection).await.map_err(|error| of_engine(&error))?;
        let failures: Vec<String> = cleared.iter().flat_map(|fault| fault.failures.clone()).collect();
        if failures.is_empty() {
            Ok(u32::try_from(cleared.len()).unwrap_or(u32::MAX))
        } else {
            Err(Error::Failed(format!("cleared, but not without a trace: {}", failures.join("; "))))
        }
    }
}

/// A run is its caller's: it does not outlive the connection.
async fn end_with_connection(run: crate::run::RunHandle, connection: Connection) {
    tokio::select! {
        () = connection.closed() => run.stop("its caller has gone"),
        _ = run.wait() => {}
    }
}

fn decode<T: serde::de::DeserializeOwned>(request: Dictionary) -> Result<T, Error> {
    dictionary::decode(request).map_err(|error| of_dictionary(&error))
}

fn encode<T: Serialize>(reply: &T) -> Result<Dictionary, Error> {
    dictionary::encode(reply).map_err(|error| Error::Failed(error.to_string()))
}

fn encode_all<T: Serialize>(replies: &[T]) -> Result<Vec<Dictionary>, Error> {
    replies.iter().map(encode).collect()
}
