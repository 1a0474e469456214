//! One run, from its clients' first operation to its folder's last file.
//!
//! ```text
//! prepare ──▶ warm-up ──▶ baseline ──▶ injection ──▶ recovery ──▶ done
//!    │           │            │             │            │
//!    │           │            │     stop condition ──┴────────────────▶ stopped       (faults cleared at once)
//!    └───────────┴────────────┴──── stop ───┴────────────┘────────▶ interrupted   (faults cleared, rows kept)
//!                              broken plugin, refused fault ──────▶ failed        (likewise)
//! ```
//! The phases are not steps of the program but what the events say: a schedule may begin and end
//! faults as it likes, and a second belongs to the phase that held in its middle.

use std::{
    collections::BTreeMap,
    fs::File,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use faultd_api::run::{RunProgress, RunResult};
use faultd_kernel::{datapath::InterfaceReference, kill_points, probe::Capabilities};
use faultd_plugin_host::{
    DriverPlugin, LogLevel, LogSink, MemberRole, Plan, PluginError, Schedule, SchedulePlugin,
};
use faultd_results::{
    event::EventKind,
    folder::{DRIVER_LOG, LOAD_LOG, SCHEDULE_JSONL},
    metadata::{self, Load, Metadata},
    recorder::{PhaseLatencies, SecondRecorder},
    summary::{Finding, Status, StopReason},
    timeseries::Row,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    RunError,
    clock::RunClock,
    command_load::{CommandOutput, HeardCommand, NO_ROW},
    data,
    dialogue::{Dialogue, EndedSeconds},
    finish::{Finish, write_metadata},
    host,
    injection::{FollowingEnded, Injection, InjectionRecord, proposals},
    load::{self, Client},
    notes::Notes,
    outputs::RunFolder,
    record::RunRecord,
    refusals::Asked,
    roles::watch_roles,
    running_load::{RunningLoad, ended_early, load_command},
    seconds::Seconds,
    spec::RunSpec,
    stop::guard::{Guard, refuse_unanswered},
    transcript::{Opening, Transcript},
};
use crate::{
    cluster::{Cluster, RoleObserver, role_text},
    engine::{EngineHandle, FaultOwner, Selection},
    metrics::{Metrics, RunMetrics},
    plugins::{PluginProblem, Plugins},
    policy::Permits,
    target::{Peers, Targets},
};

/// How long a command may go on to tell of the last seconds when these are over.
const COMMAND_TELLS_WITHIN: Duration = Duration::from_millis(2500);
const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;

/// What a run needs of the daemon.
#[derive(Clone)]
pub struct Surroundings {
    /// Applies faults.
    pub engine: EngineHandle,
    /// Drivers and schedules.
    pub plugins: Plugins,
    /// Where Prometheus looks.
    pub metrics: Metrics,
    /// What the host can do.
    pub capabilities: Arc<Capabilities>,
    /// Who can be named as a peer.
    pub targets: Targets,
    /// What the operator allows.
    pub permits: Permits,
}

/// A run that is ready: everything that can fail before the first operation has been done.
pub struct Experiment {
    id: String,
    spec: RunSpec,
    seed: u64,
    cluster: Cluster,
    surroundings: Surroundings,
    peers: Peers,
    folder: RunFolder,
    roles: Vec<MemberRole>,
    driver: DriverPlugin,
    /// Versions of both plugins, by name.
    plugin_versions: BTreeMap<String, String>,
    serving: Vec<usize>,
    clients: Vec<Client>,
    /// What is the load instead of clients.
    command: Option<CommandOutput>,
    plan: Plan,
    schedule: Schedule,
    watcher: RoleObserver,
    resolver: RoleObserver,
    metrics: RunMetrics,
}

/// What a run has come to.
struct Measured {
    ending: Ending,
    done: InjectionRecord,
    findings: Vec<Finding>,
    /// When the loop over the seconds ended, on the run's clock.
    ended_ns: i64,
    /// The stop condition that held, if one did.
    stopped: Option<StopReason>,
}

/// How the loop over the seconds ended.
enum Ending {
    Done,
    Interrupted(String),
    Failed(String),
}

impl Ending {
    /// How the run has ended, and why; a condition that held is more than what ended the recovery after it.
    fn verdict(self, stopped: Option<&StopReason>) -> (Status, Option<String>) {
        match (self, stopped) {
            (Self::Failed(error), _) => (Status::Failed, Some(error)),
            (_, Some(StopReason { condition, reason, .. })) => {
                (Status::Stopped, Some(format!("{condition}: {reason}")))
            }
            (Self::Interrupted(reason), None) => (Status::Interrupted, Some(reason)),
            (Self::Done, None) => (Status::Done, None),
        }
    }
}

impl Experiment {
    /// Prepares a run: plugins, roles, clients, folder.
    ///
    /// # Errors
    /// When any of them cannot be had; nothing is left behind but an empty folder.
    pub async fn prepare(
        id: String,
        spec: RunSpec,
        cluster: Cluster,
        surroundings: Surroundings,
        outputs: &std::os::fd::OwnedFd,
        command: Option<CommandOutput>,
    ) -> Result<Self, RunError> {
        let seed = spec.request.seed.unwrap_or_else(crate::random_seed);
        let driver = surroundings.plugins.driver(&cluster.driver).await?;
        let schedule = surroundings.plugins.schedule(&spec.request.schedule).await?;
        let plugin_versions = [&driver.facts().manifest, &schedule.facts().manifest];
        let plugin_versions = plugin_versions.map(|known| (known.id.clone(), known.version.clone())).into();
        let broken = |error: PluginError| RunError::Plugin(PluginProblem::Host(error));
        // Two observers, so that the one who resolves a target never waits for the one who watches.
        let settings: Vec<_> = spec.request.driver_settings.clone().into_iter().collect();
        let observer =
            || RoleObserver::new(cluster.clone(), Arc::clone(&driver)).with_settings(settings.clone());
        let (mut watcher, mut resolver) = (observer(), observer());
        let roles = watcher.roles().await?;
        resolver.roles().await?;
        let serving = load::serving(&spec.request.via, &cluster, &roles)?;
        let asked = Asked { spec: &spec, cluster: &cluster, roles: &roles, serving: &serving };
        asked.refuse_impossible(&surroundings.capabilities)?;
        asked.refuse_forbidden(&surroundings.permits).await?;
        refuse_unanswered(&spec.stop).await?;
        let peers = match &spec.fault {
            Some(fault) => surroundings.targets.peers(&fault.selection).await.map_err(RunError::Peer)?,
            None => Peers::new(),
        };
        let name = faultd_results::folder::name(jiff::Zoned::now().datetime(), &spec.label);
        let folder = RunFolder::create(outputs, &name)?;
        let log = log_to_file(&folder)?;
        let driver = DriverPlugin::clone(&driver).with_log(Arc::clone(&log));
        let clients = load::clients(&spec, seed, &cluster, &driver, &serving).await.map_err(broken)?;
        let plan = plan(&spec, seed);
        let schedule =
            SchedulePlugin::clone(&schedule).with_log(log).start(plan.clone()).await.map_err(broken)?;
        let metrics = surroundings.metrics.run(&id);
        Ok(Self {
            id,
            spec,
            seed,
            cluster,
            surroundings,
            peers,
            folder,
            roles,
            driver,
            plugin_versions,
            serving,
            clients,
            command,
            plan,
            schedule,
            watcher,
            resolver,
            metrics,
        })
    }

    /// The name of its folder.
    #[must_use]
    pub fn folder_name(&self) -> &str {
        self.folder.name()
    }

    /// Runs to the end, or until `stop` has a reason.
    pub async fn conduct(
        mut self,
        progress: watch::Sender<RunProgress>,
        stop: watch::Receiver<Option<String>>,
        notes: Notes,
    ) -> RunResult {
        let (id, folder) = (self.id.clone(), self.folder.name().to_owned());
        let (cluster, label) = (&self.cluster, self.spec.label.as_str());
        self.metrics.begin(label, &cluster.name, &cluster.driver, self.spec.clients);
        let metrics = self.metrics.clone();
        let conducted = self.try_conduct(progress, stop, notes).await;
        metrics.end();
        match conducted {
            Ok((status, error)) => RunResult { id, status: status.name().to_owned(), folder, error },
            Err(error) => RunResult {
                id,
                status: Status::Failed.name().to_owned(),
                folder,
                error: Some(error.to_string()),
            },
        }
    }

    async fn try_conduct(
        mut self,
        progress: watch::Sender<RunProgress>,
        mut stop: watch::Receiver<Option<String>>,
        notes: Notes,
    ) -> Result<(Status, Option<String>), RunError> {
        if let Some(reason) = self.prepare_data(&progress, &mut stop).await? {
            return Ok((Status::Interrupted, Some(reason)));
        }
        let interfaces = self.interfaces();
        self.surroundings.engine.prepare(interfaces.clone()).await?;
        kill_points::here("run.ready");
        let engine = self.surroundings.engine.clone();
        let conducted = self.conduct_when_ready(progress, stop, notes).await;
        // Also where a file could not be made: what is held ready would stay for as long as the daemon lives.
        engine.release(interfaces).await;
        let (finish, error) = conducted?;
        let status = finish.status;
        tokio::task::spawn_blocking(move || finish.write())
            .await
            .map_err(|error| RunError::Internal(error.to_string()))??;
        Ok((status, error))
    }

    /// Makes the files, puts the cluster under load, and collects what came of it.
    async fn conduct_when_ready(
        mut self,
        progress: watch::Sender<RunProgress>,
        stop: watch::Receiver<Option<String>>,
        notes: Notes,
    ) -> Result<(Finish, Option<String>), RunError> {
        let clock = RunClock::starting_in(whole_seconds(self.spec.warm_up));
        let record = RunRecord::begin(&self.folder, clock, notes)?;
        let mut metadata = self.metadata(clock);
        write_metadata(&self.folder, &metadata)?;
        let opening = Opening { schedule: self.spec.request.schedule.clone(), plan: self.plan.clone() };
        let transcript = Transcript::begin(self.folder.create_file(SCHEDULE_JSONL)?, &opening);
        let mut load = self.begin_load(clock)?;
        let measured = self.measure(clock, &record, transcript, &mut load, &progress, stop).await;
        let Measured { mut ending, done, findings, ended_ns, stopped } = measured;
        record.end_notes();
        kill_points::here("run.measured");
        let latencies = match load {
            RunningLoad::Command(command) => {
                let end = ended_ns.div_euclid(NANOSECONDS_PER_SECOND);
                let end = end.min(i64::try_from(self.seconds()).unwrap_or(i64::MAX));
                let rows = rows_of_command(command, &record, self.first_second()..end).await;
                if rows.iter().all(|row| row.ops == 0) && matches!(ending, Ending::Done) {
                    ending = Ending::Failed(NO_ROW.to_owned());
                }
                let latencies = PhaseLatencies::of_rows(&rows);
                record.replace_rows(&self.folder, rows)?;
                latencies
            }
            RunningLoad::Clients(recorder) => {
                self.clean_data().await;
                recorder.lock().unwrap_or_else(PoisonError::into_inner).latencies()
            }
        };
        if let Ending::Interrupted(reason) = &ending {
            record.event(EventKind::RunInterrupted { reason: reason.clone() });
        }
        let (status, error) = ending.verdict(stopped.as_ref());
        metadata.faults.clone_from(&done.faults);
        let folder = self.folder;
        let finish = Finish { folder, metadata, record, done, findings, latencies, status, stopped };
        Ok((finish, error))
    }

    /// A command is listened to from here on; clients begin later, when all is ready.
    fn begin_load(&mut self, clock: RunClock) -> Result<RunningLoad, RunError> {
        Ok(match self.command.take() {
            Some(output) => {
                let log = self.folder.create_file(LOAD_LOG)?;
                RunningLoad::Command(HeardCommand::begin(output, clock, log))
            }
            None => RunningLoad::Clients(Arc::new(Mutex::new(SecondRecorder::new(self.first_second())))),
        })
    }

    /// Makes the data that the load needs; answers why that was interrupted, if it was.
    async fn prepare_data(
        &mut self,
        progress: &watch::Sender<RunProgress>,
        stop: &mut watch::Receiver<Option<String>>,
    ) -> Result<Option<String>, RunError> {
        let preparing = RunProgress { phase: "prepare".to_owned(), ..RunProgress::default() };
        progress.send_replace(preparing);
        tokio::select! {
            prepared = data::prepare(&self.spec, &mut self.clients) => {
                prepared.map_err(|error| RunError::Plugin(PluginProblem::Host(error)))?;
                Ok(None)
            }
            reason = stopped(stop) => Ok(Some(reason)),
        }
    }

    /// The run's figures are made: what cannot be cleaned is only told.
    async fn clean_data(&mut self) {
        if self.spec.request.keep_data {
            return;
        }
        if let Err(reason) = data::clean(&self.spec, &self.cluster, &self.driver).await {
            tracing::warn!(run = self.id, reason, "the run's data stays in the cluster");
        }
    }

    /// Puts the cluster under load and follows the schedule; when this returns, there is neither
    /// load nor fault any more.
    async fn measure(
        &mut self,
        clock: RunClock,
        record: &RunRecord,
        transcript: Transcript<File>,
        running_load: &mut RunningLoad,
        progress: &watch::Sender<RunProgress>,
        mut stop: watch::Receiver<Option<String>>,
    ) -> Measured {
        let (first_second, whole_run) = (self.first_second(), self.seconds());
        let cluster = &self.cluster;
        let (broken, mut breaks) = mpsc::channel(1);
        self.metrics.phase("warm-up");
        let clients = std::mem::take(&mut self.clients);
        let load = match running_load {
            RunningLoad::Clients(recorder) => load::begin(clients, clock, recorder, &self.metrics, &broken),
            RunningLoad::Command(_) => JoinSet::new(),
        };
        let (shown, faults_shown) = watch::channel(Vec::new());
        let (roles_told, roles) = watch::channel(self.roles.clone());
        let ended_seconds = EndedSeconds::default();
        let members = (0..).zip(&cluster.members);
        let members =
            members.map(|(place, member)| (member.name.clone(), self.serving.contains(&place))).collect();
        let mut dialogue =
            Dialogue::new(&mut self.schedule, members, roles, ended_seconds.clone(), transcript);
        let (mut guard, guarded) = Guard::begin(&self.spec.stop, record, &self.metrics, &self.roles);
        let seconds = Seconds {
            seconds: whole_run,
            clock,
            record,
            counted: running_load.counted(),
            metrics: &self.metrics,
            progress,
            faults_shown,
            ended_seconds,
            guarded,
            first_second,
        };
        let mut injection = Injection {
            run: &self.id,
            spec: &self.spec,
            seed: self.seed,
            clock,
            record,
            cluster,
            serving: &self.serving,
            observer: &mut self.resolver,
            engine: &self.surroundings.engine,
            capabilities: &self.surroundings.capabilities,
            permits: &self.surroundings.permits,
            targets: &self.surroundings.targets,
            peers: &self.peers,
            shown,
            held: Vec::new(),
            done: InjectionRecord::default(),
        };
        let ending = tokio::select! {
            () = seconds.close_all() => Ending::Done,
            reason = stopped(&mut stop) => Ending::Interrupted(reason),
            Some(error) = breaks.recv() => Ending::Failed(error.to_string()),
            ended = running_load.ended() => match ended {
                Ok(()) => Ending::Done,
                Err(error) => Ending::Failed(error),
            },
            ended = guard.follow(&mut injection, &mut dialogue) => match ended {
                FollowingEnded::BySchedule | FollowingEnded::Stopped => Ending::Done,
                FollowingEnded::Broken(error) => Ending::Failed(error.to_string()),
            },
            never = watch_roles(
                &cluster.name,
                &mut self.watcher,
                &self.roles,
                record,
                &self.surroundings.metrics,
                &roles_told,
            ) => match never {},
        };
        let ended_ns = clock.now_ns();
        drop(load);
        injection.end().await;
        let mut done = injection.done;
        if running_load.has_ended() {
            done.taints.extend(ended_early(ended_ns, self.spec.duration));
        }
        // A fault whose command was under way when the run ended is known to the engine by its owner.
        let owner = FaultOwner::Run(self.id.clone());
        let _ = self.surroundings.engine.clear(Selection::Owner(owner)).await;
        let (findings, failure) = dialogue.end();
        done.taints.extend(failure);
        Measured { ending, done, findings, ended_ns, stopped: guard.end() }
    }

    /// Of the measured time, whole.
    fn seconds(&self) -> u64 {
        whole_seconds(self.spec.duration).as_secs()
    }

    fn first_second(&self) -> i64 {
        -i64::try_from(whole_seconds(self.spec.warm_up).as_secs()).unwrap_or(i64::MAX)
    }

    /// What the programs are loaded for ahead of time: with them, a fault takes effect at once.
    fn interfaces(&self) -> Vec<InterfaceReference> {
        if self.spec.fault.is_none() {
            return Vec::new();
        }
        self.cluster.members.iter().flat_map(|member| member.target.interfaces.clone()).collect()
    }

    fn metadata(&self, clock: RunClock) -> Metadata {
        let request = &self.spec.request;
        let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
        let role_of = |name: &str| self.roles.iter().find(|role| role.member == name);
        Metadata {
            schema: metadata::SCHEMA.to_owned(),
            label: self.spec.label.as_str().to_owned(),
            cluster: self.cluster.name.clone(),
            members: self
                .cluster
                .members
                .iter()
                .map(|member| metadata::Member {
                    name: member.name.clone(),
                    address: member.endpoint.to_string(),
                    role: role_of(&member.name).map(|role| role_text(role.role).to_owned()),
                })
                .collect(),
            driver: self.cluster.driver.clone(),
            schedule: Some(request.schedule.clone()),
            faults: Vec::new(),
            plugin_versions: self.plugin_versions.clone(),
            driver_settings: request.driver_settings.clone(),
            schedule_settings: request.schedule_settings.clone(),
            load: Load {
                arrivals_per_second: request.arrivals_per_second,
                think_time_s: seconds(request.think_time_ns),
                client_ramp_s: seconds(request.client_ramp_ns),
                key_distribution: request.key_distribution.text().to_owned(),
                keys: request.keys,
                value_bytes: request.value_bytes,
                read_ratio: request.read_ratio,
                command: load_command(&self.spec),
            },
            clients: u32::try_from(self.spec.clients).unwrap_or(u32::MAX),
            via: request.via.clone(),
            warm_up_s: self.spec.warm_up.as_secs_f64(),
            duration_s: self.spec.duration.as_secs_f64(),
            inject_at_s: self.spec.fault.as_ref().map(|_| seconds(request.inject_at_ns.unwrap_or_default())),
            inject_for_s: request.hold_for_ns.map(seconds),
            stop_if: self.spec.stop.conditions.iter().map(ToString::to_string).collect(),
            stop_at_once: self.spec.stop.at_once,
            seed: self.seed,
            started_at: clock.wall_clock(faultd_kernel::clock::monotonic_ns()),
            faultd_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host::describe(&self.cluster.storage),
        }
    }
}

/// The seconds of a run that has ended, when the command has told of them.
async fn rows_of_command(mut command: HeardCommand, record: &RunRecord, seconds: Range<i64>) -> Vec<Row> {
    // It may have ended before: then there is nothing to wait for.
    if !command.has_ended() {
        let _ = timeout(COMMAND_TELLS_WITHIN, command.ended()).await;
    }
    seconds.map(|second| command.series.row(second, record.phase_of_second(second))).collect()
}

fn plan(spec: &RunSpec, seed: u64) -> Plan {
    Plan {
        duration: spec.duration,
        inject_at: spec.request.inject_at_ns.map(Duration::from_nanos),
        hold_for: spec.request.hold_for_ns.map(Duration::from_nanos),
        rules: proposals(spec),
        settings: spec.request.schedule_settings.clone().into_iter().collect(),
        seed,
    }
}

/// The lines of the plugins of a run, in its folder.
fn log_to_file(folder: &RunFolder) -> Result<LogSink, RunError> {
    use std::io::Write;
    let file = Mutex::new(folder.create_file(DRIVER_LOG)?);
    Ok(Arc::new(move |level: LogLevel, line: &str| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that cannot be written is lost; the run's own files say when the disk is full.
        let _ = writeln!(file, "{} {level:?} {line}", jiff::Timestamp::now());
    }))
}

async fn stopped(stop: &mut watch::Receiver<Option<String>>) -> String {
    match stop.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => "the daemon is stopping".to_owned(),
    }
}

/// Rows are whole seconds: a part of a second counts as one.
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}
