//! The root object: doctor, targets, faults, labs, and the start of runs.

use std::sync::Arc;

use faultd_api::{dictionary::Dictionary, error::Error, target::SelectRequest};
use faultd_kernel::{clock, probe::Capabilities};
use zbus::{ObjectServer, OwnedFd, OwnedObjectPath, interface, message::Header};

use super::{
    begin,
    desk::{Desk, decode, encode, encode_all},
    errors::of_target,
    faults, labs, plugins,
    runs::{self, RunFiles},
};
use crate::{
    audit::Audit,
    doctor::Doctor,
    engine::EngineHandle,
    fault::backend,
    inventory::Inventory,
    jobs::Jobs,
    lab::Labs,
    plugins::Plugins,
    policy::{Permits, Right},
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
    /// What the operator allows.
    pub permits: Permits,
    /// Writes down who changed what.
    pub audit: Audit,
    /// What takes time.
    pub jobs: Jobs,
    /// What there is, for those who look on.
    pub inventory: Inventory,
}

pub(super) struct Manager {
    desk: Arc<Desk>,
}

impl Manager {
    pub(super) fn new(desk: &Arc<Desk>) -> Self {
        Self { desk: Arc::clone(desk) }
    }
}

#[interface(name = "org.faultd.Engine1.Manager")]
impl Manager {
    /// What this kernel and host can do, which backend is used for what and why, what is left over of earlier lives,
    /// and what is wrong, with what to do.
    #[zbus(out_args("report"))]
    async fn doctor(&self, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        let caller = self.desk.admit(&header, Right::Read).await?;
        let policy = self.desk.services.permits.policy();
        let may_inject = policy.access().grants(Right::Inject, caller.user, &caller.groups);
        encode(&self.desk.services.doctor.report(may_inject).await)
    }

    /// Everything that can be named as a target.
    #[zbus(out_args("targets"))]
    async fn list_targets(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<Dictionary>, Error> {
        self.desk.admit(&header, Right::Read).await?;
        let Services { targets, capabilities, .. } = &self.desk.services;
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
        self.desk.admit(&header, Right::Read).await?;
        let request: SelectRequest = decode(options)?;
        let selected = self.desk.services.targets.select(&selectors, &request).await;
        encode(&selected.map_err(|error| of_target(&error))?)
    }

    /// Applies a fault; returns when the kernel has confirmed it. Keys of the request: target
    /// (s, a name or a selector that one container fits), network (s, one of the container's), delay_ns (t), loss_ratio (d, 0 to 1), shape (a{sv}: see the documentation of FaultShape),
    /// direction (s: egress, ingress, both), backend (s: auto, edt, netem, relay), hold_for_ns (t),
    /// begin_at_ns (t, on the clock of Clock, at most 60 s ahead: everything is made ready before, and nothing begins for
    /// a caller that has gone by then), seed (t), detach (b). Without detach the fault ends with the caller's connection. A fault on processes has
    /// pause_ns (t) and pause_every_ns (t), or cpus (d), in its shape, and nothing that is about packets.
    #[zbus(out_args("fault"))]
    async fn add_fault(
        &self,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<Dictionary, Error> {
        faults::add(&self.desk, server, &header, request).await
    }

    /// What AddFault would do with this request, and whether it may: the full name of the target, its interfaces, the
    /// backend and why, for how long, which packets are spared. Nothing is changed.
    #[zbus(out_args("plan"))]
    async fn plan_fault(
        &self,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        faults::plan(&self.desk, &header, request).await
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
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<Dictionary, Error> {
        faults::set(&self.desk, server, &header, &id, request).await
    }

    /// One fault, with what it did so far.
    #[zbus(out_args("fault"))]
    async fn show_fault(&self, id: String, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        faults::show(&self.desk, &header, &id).await
    }

    /// The faults that hold, with what they did so far.
    #[zbus(out_args("faults"))]
    async fn list_faults(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<Dictionary>, Error> {
        faults::list(&self.desk, &header).await
    }

    /// Removes one fault; returns when it does not hold any more.
    async fn remove_fault(
        &self,
        id: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<(), Error> {
        faults::remove(&self.desk, server, &header, &id).await
    }

    /// Removes all faults of a target, or of all targets where its name is empty; answers how many.
    #[zbus(out_args("cleared"))]
    async fn clear_faults(
        &self,
        target: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<u32, Error> {
        faults::clear_target(&self.desk, server, &header, &target).await
    }

    /// Removes all faults, ahead of everything that waits for the engine, and refuses faults that wait to be added;
    /// answers what they were, with what they did.
    #[zbus(out_args("faults"))]
    async fn clear_all_faults(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<Vec<Dictionary>, Error> {
        faults::clear_all(&self.desk, server, &header).await
    }

    /// Brings a lab up; returns when it serves. Keys: description (s, the text of a cluster.toml),
    /// name (s, another name than the description's).
    #[zbus(out_args("lab"))]
    async fn lab_up(
        &self,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<Dictionary, Error> {
        labs::up(&self.desk, server, &header, request).await
    }

    /// As LabUp, as a job: its object is answered at once.
    #[zbus(out_args("job"))]
    async fn begin_lab_up(
        &self,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, Error> {
        labs::begin_up(&self.desk, server, &header, request).await
    }

    /// As LabDown, as a job: its object is answered at once.
    #[zbus(out_args("job"))]
    async fn begin_lab_down(
        &self,
        name: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, Error> {
        labs::begin_down(&self.desk, server, &header, &name).await
    }

    /// The labs that are up, their members asked for their roles.
    #[zbus(out_args("labs"))]
    async fn list_labs(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<Dictionary>, Error> {
        self.desk.admit(&header, Right::Read).await?;
        encode_all(&self.desk.services.labs.statuses().await)
    }

    /// Takes a lab down without a trace; faults on its hosts are removed first.
    async fn lab_down(
        &self,
        name: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<(), Error> {
        labs::down(&self.desk, server, &header, &name).await
    }

    /// Starts a run and answers its object. It ends with this connection; with detach (b) it goes on without. The run's
    /// folder is made inside of the directory whose descriptor is given, and belongs to whom that belongs. Keys of the
    /// request: see the documentation of RunRequest. With stop_if (as, such as "errors>100") the fault is cleared as
    /// soon as one of these conditions holds, and the run is stopped: it measures the recovery until its planned end,
    /// or ends too with stop_at_once (b). What is in PromQL is asked of prometheus (s, "http://HOST:PORT").
    #[zbus(out_args("run"))]
    async fn start_run(
        &self,
        request: Dictionary,
        outputs: OwnedFd,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let files = RunFiles { outputs, output_of_command: None };
        runs::begin(&self.desk, server, &header, request, files).await
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
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let files = RunFiles { outputs, output_of_command: Some(output_of_command) };
        runs::begin(&self.desk, server, &header, request, files).await
    }

    /// The runs of this daemon's life: those that go on, and the hundred that ended last.
    #[zbus(out_args("runs"))]
    async fn list_runs(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<Dictionary>, Error> {
        self.desk.admit(&header, Right::Read).await?;
        encode_all(&self.desk.services.runs.list())
    }

    /// One of those runs.
    #[zbus(out_args("run"))]
    async fn show_run(&self, id: String, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        runs::show(&self.desk, &header, &id).await
    }

    /// Returns when one of those runs has ended, as Wait of its object does.
    #[zbus(out_args("result"))]
    async fn wait_run(&self, id: String, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        runs::wait(&self.desk, &header, &id).await
    }

    /// Ends one of those runs early. Its faults are cleared, and what was measured is kept. The user who has begun it
    /// may do that, and who may administer.
    async fn stop_run(&self, id: String, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        runs::stop(&self.desk, &header, &id).await
    }

    /// The plugins in the daemon's directory, as their manifests describe them.
    #[zbus(out_args("plugins"))]
    async fn list_plugins(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<Dictionary>, Error> {
        self.desk.admit(&header, Right::Read).await?;
        encode_all(&self.desk.services.plugins.list().await)
    }

    /// Everything about one plugin: what it imports, its limits with the operator's policy applied, its
    /// settings.
    #[zbus(out_args("report"))]
    async fn inspect_plugin(
        &self,
        name: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        plugins::inspect(&self.desk, &header, &name).await
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
        plugins::check(&self.desk, &header, &name, request).await
    }

    /// As CheckPlugin, for a component that is read from a descriptor and not kept.
    #[zbus(out_args("report"))]
    async fn check_component(
        &self,
        component: OwnedFd,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        plugins::check_component(&self.desk, &header, component, request).await
    }

    /// Makes the decisions of a recorded run again from its schedule.jsonl, and says whether they are the same.
    #[zbus(out_args("report"))]
    async fn replay_transcript(
        &self,
        transcript: OwnedFd,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        plugins::replay(&self.desk, &header, transcript).await
    }

    /// What the clocks of this host say: the monotonic one, which begin_at_ns and begun_ns are times of, and the time of
    /// day. Both in nanoseconds. Whoever asks several times, and halves the shortest round trip, knows how far the
    /// clock here is from its own.
    #[zbus(out_args("monotonic_ns", "realtime_ns"))]
    async fn clock(&self, #[zbus(header)] header: Header<'_>) -> Result<(u64, u64), Error> {
        self.desk.admit(&header, Right::Read).await?;
        Ok((clock::monotonic_ns(), begin::realtime_ns()))
    }

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }
}
