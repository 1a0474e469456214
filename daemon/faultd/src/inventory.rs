//! What there is: faults, targets, labs, plugins, runs and jobs, as they are shown to those who look on. Faults are as of the
//! last second, targets and plugins as of the last five; whoever must know at once asks their owner.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use faultd_api::{
    fault::FaultStatus, job::JobStatus, plugin::PluginStatus, run::RunStatus, target::TargetStatus,
};
use tokio::{
    sync::{Mutex, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    engine::EngineHandle,
    jobs::Jobs,
    lab::{LabFacts, Labs},
    plugins::Plugins,
    run::Runs,
    target::Targets,
};

/// Counters and states of faults are read that often.
const FAULTS_EVERY: Duration = Duration::from_secs(1);
/// Containers, namespaces and plugins come and go without telling us.
const OTHERS_EVERY: Duration = Duration::from_secs(5);
/// Many changes within so short a time are looked at once.
const SETTLES_IN: Duration = Duration::from_millis(50);

/// Everything at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Faults that hold, by id.
    pub faults: BTreeMap<String, Arc<FaultStatus>>,
    /// What can be named, by name.
    pub targets: BTreeMap<String, Arc<TargetStatus>>,
    /// Labs that are up, by name.
    pub labs: BTreeMap<String, Arc<LabFacts>>,
    /// Plugins in the daemon's directory, by name.
    pub plugins: BTreeMap<String, Arc<PluginStatus>>,
    /// Runs that go on or have ended, by id.
    pub runs: BTreeMap<String, Arc<RunStatus>>,
    /// Jobs that go on or have ended, by id.
    pub jobs: BTreeMap<String, Arc<JobStatus>>,
}

/// Whom to ask.
#[derive(Clone)]
pub struct Sources {
    /// For faults.
    pub engine: EngineHandle,
    /// For targets.
    pub targets: Targets,
    /// For labs.
    pub labs: Labs,
    /// For plugins.
    pub plugins: Plugins,
    /// For runs.
    pub runs: Runs,
    /// For jobs.
    pub jobs: Jobs,
}

/// Keeps the snapshot; clones share it.
#[derive(Clone)]
pub struct Inventory {
    sources: Sources,
    snapshot: Arc<watch::Sender<Snapshot>>,
    /// Held from the look at faults until it is in the snapshot: what is put in meanwhile is newer.
    looking: Arc<Mutex<()>>,
}

impl Inventory {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self { sources, snapshot: Arc::default(), looking: Arc::default() }
    }

    /// The snapshot, whenever it changes.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.subscribe()
    }

    /// Looks again and again, until the task is dropped.
    pub async fn keep(self) {
        let mut faults = self.sources.engine.changes();
        let mut labs = self.sources.labs.changes();
        let mut jobs = self.sources.jobs.changes();
        let mut runs = self.sources.runs.changes();
        let (mut every_second, mut seldom) = (interval(FAULTS_EVERY), interval(OTHERS_EVERY));
        every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seldom.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.look_at_labs();
        loop {
            tokio::select! {
                Ok(()) = faults.changed() => {
                    tokio::time::sleep(SETTLES_IN).await;
                    faults.mark_unchanged();
                    self.look_at_faults().await;
                }
                Ok(()) = labs.changed() => {
                    self.look_at_labs();
                    self.look_at_targets().await;
                }
                Ok(()) = jobs.changed() => self.look_at_jobs(),
                Ok(()) = runs.changed() => self.look_at_runs(),
                _ = every_second.tick() => {
                    if !self.snapshot.borrow().faults.is_empty() {
                        self.look_at_faults().await;
                    }
                    self.look_at_runs();
                }
                _ = seldom.tick() => {
                    self.look_at_targets().await;
                    self.look_at_plugins().await;
                }
            }
        }
    }

    /// Puts in a fault that was begun or changed a moment ago.
    pub async fn put_fault(&self, status: FaultStatus) {
        let _none_is_looking = self.looking.lock().await;
        self.snapshot.send_modify(|snapshot| {
            snapshot.faults.insert(status.id.clone(), Arc::new(status));
        });
    }

    /// Takes out faults that were cleared a moment ago.
    pub async fn drop_faults(&self, ids: &[String]) {
        let _none_is_looking = self.looking.lock().await;
        self.snapshot.send_modify(|snapshot| {
            for id in ids {
                snapshot.faults.remove(id);
            }
        });
    }

    /// Puts in labs as they are now.
    pub fn look_at_labs(&self) {
        let labs =
            self.sources.labs.facts().into_iter().map(|lab| (lab.name.clone(), Arc::new(lab))).collect();
        self.publish(|snapshot| &mut snapshot.labs, labs);
    }

    /// Puts in jobs as they are now.
    pub fn look_at_jobs(&self) {
        let jobs =
            self.sources.jobs.statuses().into_iter().map(|job| (job.id.clone(), Arc::new(job))).collect();
        self.publish(|snapshot| &mut snapshot.jobs, jobs);
    }

    /// Puts in runs as they are now.
    pub fn look_at_runs(&self) {
        let runs = self.sources.runs.list().into_iter().map(|run| (run.id.clone(), Arc::new(run))).collect();
        self.publish(|snapshot| &mut snapshot.runs, runs);
    }

    async fn look_at_faults(&self) {
        let _looking = self.looking.lock().await;
        // A daemon that is stopping has none.
        let faults = self.sources.engine.list().await.unwrap_or_default();
        let faults = faults.into_iter().map(|fault| (fault.id.clone(), Arc::new(fault))).collect();
        self.publish(|snapshot| &mut snapshot.faults, faults);
    }

    async fn look_at_targets(&self) {
        let targets = self.sources.targets.list().await;
        let targets = targets.into_iter().map(|target| (target.name.clone(), Arc::new(target))).collect();
        self.publish(|snapshot| &mut snapshot.targets, targets);
    }

    async fn look_at_plugins(&self) {
        let plugins = self.sources.plugins.list().await;
        let plugins = plugins.into_iter().map(|plugin| (plugin.name.clone(), Arc::new(plugin))).collect();
        self.publish(|snapshot| &mut snapshot.plugins, plugins);
    }

    /// What was looked at and is as it was is shared with the snapshot before, and tells nobody.
    fn publish<T: PartialEq>(
        &self,
        part: impl Fn(&mut Snapshot) -> &mut BTreeMap<String, Arc<T>>,
        now: BTreeMap<String, Arc<T>>,
    ) {
        self.snapshot.send_if_modified(|snapshot| {
            let known = part(snapshot);
            let differs = *known != now;
            if differs {
                *known = now;
            }
            differs
        });
    }
}
