//! The root object: doctor, targets, faults, labs, and the start of runs.

use std::{sync::Arc, time::Duration};

use faultd_api::{
    dictionary::{self, Dictionary},
    error::Error,
    fault::{FaultPlan, FaultRequest, FaultStatus},
    lab::LabRequest,
    names::run_path,
    plugin::CheckRequest,
    run::RunRequest,
    target::SelectRequest,
    units::{LONGEST_DURATION, nanoseconds},
};
use faultd_kernel::probe::Capabilities;
use serde::Serialize;
use zbus::{Connection, OwnedFd, OwnedObjectPath, interface, message::Header};

use super::{
    caller::Caller,
    door::Door,
    errors::{
        of_backend, of_dictionary, of_engine, of_fault, of_lab, of_plugin, of_refusal, of_run, of_target,
    },
    run_object::{RunObject, forward_progress},
};
use crate::{
    audit::{Audit, Entry},
    doctor::Doctor,
    engine::{Application, EngineError, EngineHandle, FaultOwner, Selection},
    fault::{FaultSpec, backend},
    lab::Labs,
    plugins::Plugins,
    policy::{Permit, Permits, Right},
    readiness::Readiness,
    run::{RunHandle, Runs},
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
    /// What the operator allows.
    pub permits: Permits,
    /// Writes down who changed what.
    pub audit: Audit,
}

pub(super) struct Manager {
    services: Services,
    /// Who calls, and whether they may.
    door: Arc<Door>,
}

impl Manager {
    pub(super) fn new(services: Services, door: Arc<Door>) -> Self {
        Self { services, door }
    }

    async fn admit(&self, header: &Header<'_>, right: Right) -> Result<Caller, Error> {
        self.door.admit(header, &self.services.permits, right).await
    }

    /// Does what changes something, if the caller may, and writes down what came of it.
    async fn audited<T>(
        &self,
        header: &Header<'_>,
        right: Right,
        subject: &str,
        work: impl AsyncFnOnce(Caller) -> Result<Done<T>, Error>,
    ) -> Result<T, Error> {
        let begin = jiff::Timestamp::now();
        let method = header.member().map_or("", |member| member.as_str());
        let caller = self.door.caller(header).await?;
        let result = match self.admit(header, right).await {
            Ok(caller) => work(caller).await,
            Err(error) => Err(error),
        };
        let (word, detail, until) = match &result {
            Ok(done) => ("done", done.detail.clone(), done.until),
            Err(error) => (error.word(), error.message(), None),
        };
        self.services.audit.write(&Entry {
            time: begin,
            connection: &caller.connection,
            user: caller.user,
            process: caller.process,
            method,
            subject,
            until,
            result: word,
            detail: &detail,
        });
        result.map(|done| done.value)
    }
}

/// What was done, for its caller and for the record.
struct Done<T> {
    value: T,
    /// Which fault, run or lab it became.
    detail: String,
    /// Until when it holds at most.
    until: Option<jiff::Timestamp>,
}

impl<T> Done<T> {
    fn new(value: T, detail: impl Into<String>) -> Self {
        Self { value, detail: detail.into(), until: None }
    }
}

#[interface(name = "org.faultd.Engine1.Manager")]
impl Manager {
    /// What this kernel and host can do, which backend is used for what and why, and what is left
    /// over of earlier lives.
    #[zbus(out_args("report"))]
    async fn doctor(&self, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        self.admit(&header, Right::Read).await?;
        encode(&self.services.doctor.report().await)
    }

    /// Everything that can be named as a target.
    #[zbus(out_args("targets"))]
    async fn list_targets(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<Dictionary>, Error> {
        self.admit(&header, Right::Read).await?;
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
    async fn select_targets(
        &self,
        selectors: Vec<String>,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        self.admit(&header, Right::Read).await?;
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
    async fn add_fault(
        &self,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        let request = decode::<FaultRequest>(request);
        self.audited(&header, Right::Inject, &subject_of(&request), async |caller| {
            let request = request?;
            let application = self.application(&request, &caller).await?;
            let applied = self.services.engine.add(application).await.map_err(|error| of_engine(&error))?;
            self.clear_if_gone(&request, &caller);
            fault_done(&applied.status)
        })
        .await
    }

    /// What AddFault would do with this request, and whether it may: the full name of the target, its interfaces, the
    /// backend and why, for how long, which packets are spared. Nothing is changed.
    #[zbus(out_args("plan"))]
    async fn plan_fault(
        &self,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        let caller = self.admit(&header, Right::Read).await?;
        encode(&plan_of(&self.application(&decode(request)?, &caller).await?))
    }

    /// Changes what a fault does, to which packets and until when; no packet is lost meanwhile. The
    /// request is that of AddFault, complete; target, direction and backend must be as they were, and
    /// the seed stays.
    #[zbus(out_args("fault"))]
    async fn set_fault(
        &self,
        id: String,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        let request = decode::<FaultRequest>(request);
        let subject = format!("{id}: {}", subject_of(&request));
        self.audited(&header, Right::Inject, &subject, async |caller| {
            let application = self.application(&request?, &caller).await?;
            let changed = self.services.engine.set(&id, application).await;
            fault_done(&changed.map_err(|error| of_engine(&error))?)
        })
        .await
    }

    /// One fault, with what it did so far.
    #[zbus(out_args("fault"))]
    async fn show_fault(&self, id: String, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        self.admit(&header, Right::Read).await?;
        let faults = self.services.engine.list().await.map_err(|error| of_engine(&error))?;
        let fault = faults.into_iter().find(|fault| fault.id == id);
        encode(&fault.ok_or_else(|| of_engine(&EngineError::NoSuchFault(id)))?)
    }

    /// The faults that hold, with what they did so far.
    #[zbus(out_args("faults"))]
    async fn list_faults(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<Dictionary>, Error> {
        self.admit(&header, Right::Read).await?;
        encode_all(&self.services.engine.list().await.map_err(|error| of_engine(&error))?)
    }

    /// Removes one fault; returns when it does not hold any more.
    async fn remove_fault(&self, id: String, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.audited(&header, Right::Inject, &id, async |_caller| {
            if self.clear(Selection::Id(id.clone())).await? == 0 {
                return Err(of_engine(&EngineError::NoSuchFault(id.clone())));
            }
            Ok(Done::new((), ""))
        })
        .await
    }

    /// Removes all faults of a target, or of all targets where its name is empty; answers how many.
    #[zbus(out_args("cleared"))]
    async fn clear_faults(&self, target: String, #[zbus(header)] header: Header<'_>) -> Result<u32, Error> {
        let subject = if target.is_empty() { "all targets" } else { target.as_str() };
        self.audited(&header, Right::Inject, subject, async |_caller| {
            let selection = match target.as_str() {
                "" => Selection::All,
                // A target that has gone is no reason to refuse: its name is cleared as it was given.
                name => Selection::Target(
                    self.services.targets.resolve(name).await.map_or(name.to_owned(), |found| found.name),
                ),
            };
            let cleared = self.clear(selection).await?;
            Ok(Done::new(cleared, format!("{cleared} cleared")))
        })
        .await
    }

    /// Brings a lab up; returns when it serves. Keys: description (s, the text of a cluster.toml),
    /// name (s, another name than the description's).
    #[zbus(out_args("lab"))]
    async fn lab_up(
        &self,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        let request = decode::<LabRequest>(request);
        let name = |request: &LabRequest| request.name.clone().unwrap_or_default();
        let subject = request.as_ref().map_or(UNREADABLE.to_owned(), name);
        self.audited(&header, Right::Administer, &subject, async |_caller| {
            let lab = self.services.labs.up(&request?).await.map_err(|error| of_lab(&error))?;
            self.services.readiness.lab_is_up(&lab.name).await;
            Ok(Done::new(encode(&lab)?, lab.name))
        })
        .await
    }

    /// The labs that are up, their members asked for their roles.
    #[zbus(out_args("labs"))]
    async fn list_labs(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<Dictionary>, Error> {
        self.admit(&header, Right::Read).await?;
        encode_all(&self.services.labs.statuses().await)
    }

    /// Takes a lab down without a trace; faults on its hosts are removed first.
    async fn lab_down(&self, name: String, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.audited(&header, Right::Administer, &name, async |_caller| {
            let _hold = self.services.runs.keep_away_from(&name).map_err(|error| of_run(&error))?;
            self.clear(Selection::Lab(name.clone())).await?;
            self.services.readiness.lab_goes_down(&name).await;
            self.services.labs.down(&name).await.map_err(|error| of_lab(&error))?;
            Ok(Done::new((), ""))
        })
        .await
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
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        self.begin_run(request, RunFiles { outputs, output_of_command: None }, connection, &header).await
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
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let files = RunFiles { outputs, output_of_command: Some(output_of_command) };
        self.begin_run(request, files, connection, &header).await
    }

    /// The plugins in the daemon's directory, as their manifests describe them.
    #[zbus(out_args("plugins"))]
    async fn list_plugins(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<Dictionary>, Error> {
        self.admit(&header, Right::Read).await?;
        encode_all(&self.services.plugins.list().await)
    }

    /// Everything about one plugin: what it imports, its limits with the operator's policy applied, its
    /// settings.
    #[zbus(out_args("report"))]
    async fn inspect_plugin(
        &self,
        name: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        self.admit(&header, Right::Read).await?;
        encode(&self.services.plugins.inspect(&name).await.map_err(|error| of_plugin(&error))?)
    }

    /// Tries a plugin out without a cluster: loads it as a run would, and lets a schedule play a dry run. What
    /// is wrong with the plugin is in the answer. Keys of the request, all with defaults: duration_ns (t),
    /// inject_at_ns (t), hold_for_ns (t), target (s), direction (s), delay_ns (t), loss_ratio (d), settings
    /// (a{sv} of s), seed (t).
    #[zbus(out_args("report"))]
    async fn check_plugin(
        &self,
        name: String,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        self.admit(&header, Right::Inject).await?;
        let request = check_request(request)?;
        encode(&self.services.plugins.check(&name, &request).await.map_err(|error| of_plugin(&error))?)
    }

    /// As CheckPlugin, for a component that is read from a descriptor and not kept.
    #[zbus(out_args("report"))]
    async fn check_component(
        &self,
        component: OwnedFd,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        self.admit(&header, Right::LoadPlugins).await?;
        let request = check_request(request)?;
        let checked = self.services.plugins.check_component(component.into(), &request).await;
        encode(&checked.map_err(|error| of_plugin(&error))?)
    }

    /// Makes the decisions of a recorded run again from its schedule.jsonl, and says whether they are the same.
    #[zbus(out_args("report"))]
    async fn replay_transcript(
        &self,
        transcript: OwnedFd,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        self.admit(&header, Right::Inject).await?;
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
    /// A request, checked, with its target and peers found, its backend chosen, and held to the policy.
    async fn application(&self, request: &FaultRequest, caller: &Caller) -> Result<Application, Error> {
        let Services { targets, capabilities, permits, .. } = &self.services;
        let mut spec = FaultSpec::checked(request).map_err(|error| of_fault(&error))?;
        let backend = backend::choose(&spec, capabilities).map_err(|error| of_backend(&error))?;
        let target = targets.of_fault(&spec).await.map_err(|error| of_target(&error))?;
        let peers = targets.peers(&spec.selection).await.map_err(|error| of_target(&error))?;
        let permit = permits.of_fault(&spec, &target, None).await.map_err(|refusal| of_refusal(&refusal))?;
        let Permit { hold_for, spared, budget } = permit;
        spec.hold_for = hold_for;
        let owner = if request.detach {
            FaultOwner::Daemon
        } else {
            FaultOwner::Connection(caller.connection.clone())
        };
        Ok(Application { spec, target, peers, backend, owner, spared, budget })
    }

    /// A caller that has gone while its fault was added has been looked for already, in vain.
    fn clear_if_gone(&self, request: &FaultRequest, caller: &Caller) {
        if request.detach {
            return;
        }
        let (door, engine, caller) = (Arc::clone(&self.door), self.services.engine.clone(), caller.clone());
        tokio::spawn(async move {
            door.gone(&caller).await;
            // An engine that is stopping clears it with all others.
            let _ = engine.clear(Selection::Owner(FaultOwner::Connection(caller.connection))).await;
        });
    }

    async fn begin_run(
        &self,
        request: Dictionary,
        files: RunFiles,
        connection: &Connection,
        header: &Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let request = decode::<RunRequest>(request);
        let name = |request: &RunRequest| format!("{} on {}", request.label, request.cluster);
        let subject = request.as_ref().map_or(UNREADABLE.to_owned(), name);
        self.audited(header, Right::Inject, &subject, async |caller| {
            let request = request?;
            let RunFiles { outputs, output_of_command } = files;
            let Services { runs, permits, .. } = &self.services;
            let outputs = writable_by(&caller, outputs)?;
            let started = runs.start(&request, outputs, output_of_command.map(Into::into)).await;
            let run = started.map_err(|error| of_run(&error))?;
            let path = run_path(&run.id);
            let owner = caller.connection.clone();
            let object = RunObject::new(run.clone(), owner, Arc::clone(&self.door), permits.clone());
            connection.object_server().at(path.as_str(), object).await?;
            tokio::spawn(forward_progress(run.clone(), connection.clone()));
            let id = run.id.clone();
            tokio::spawn(end_with_caller(run, Arc::clone(&self.door), caller, connection.clone()));
            Ok(Done::new(OwnedObjectPath::try_from(path)?, id))
        })
        .await
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

/// What a caller of a run hands over.
struct RunFiles {
    /// The directory of its folder.
    outputs: OwnedFd,
    /// What the load prints, where it is a command of the caller's.
    output_of_command: Option<OwnedFd>,
}

/// A run is its caller's: it does not outlive the connection, and its object stays as long as somebody may ask for the
/// result.
async fn end_with_caller(run: RunHandle, door: Arc<Door>, caller: Caller, connection: Connection) {
    door.gone(&caller).await;
    run.stop("its caller has gone");
    run.wait().await;
    // On the private socket it went with the connection.
    let _ = connection.object_server().remove::<RunObject, _>(run_path(&run.id)).await;
}

/// The directory for a run's folder, if its caller could write there without us.
fn writable_by(caller: &Caller, outputs: OwnedFd) -> Result<std::os::fd::OwnedFd, Error> {
    let directory = std::fs::File::from(std::os::fd::OwnedFd::from(outputs));
    match directory.metadata() {
        Ok(found) if caller.may_write(&found) => Ok(directory.into()),
        Ok(_) => {
            Err(Error::Denied(format!("the outputs are no directory that user {} may write to", caller.user)))
        }
        Err(error) => Err(Error::Failed(format!("the directory for outputs cannot be looked at: {error}"))),
    }
}

/// For the record: a request that is not understood. It is refused after its caller's rights have been looked at.
const UNREADABLE: &str = "a request that cannot be read";

/// What a request is about, for the record.
fn subject_of(request: &Result<FaultRequest, Error>) -> String {
    let Ok(request) = request else { return UNREADABLE.to_owned() };
    let fault = FaultSpec::checked(request).map(|spec| spec.text());
    format!("{} on {}", fault.unwrap_or_else(|_| "an impossible fault".to_owned()), request.target)
}

/// A fault that was begun or changed.
fn fault_done(status: &FaultStatus) -> Result<Done<Dictionary>, Error> {
    let until = status.remaining_ns.map(|left| jiff::Timestamp::now() + Duration::from_nanos(left));
    Ok(Done { value: encode(status)?, detail: status.id.clone(), until })
}

/// What would be done.
fn plan_of(application: &Application) -> FaultPlan {
    let Application { spec, target, backend, spared, .. } = application;
    FaultPlan {
        target: target.name.clone(),
        kind: spec.kind(),
        text: spec.text(),
        direction: spec.processes.is_none().then_some(spec.direction),
        interfaces: target.interfaces.iter().map(|interface| interface.name.clone()).collect(),
        backend: backend.name.clone(),
        backend_reason: backend.reason.clone(),
        hold_for_ns: spec.hold_for.map(nanoseconds),
        peers: spec.selection.named_peers().map(str::to_owned).collect(),
        spared: spared.iter().map(ToString::to_string).collect(),
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
