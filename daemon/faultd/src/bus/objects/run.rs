//! A run on the bus.

use std::sync::Arc;

use faultd_api::{
    dictionary::{self, Dictionary},
    error::Error,
    names::run_path,
    run::RunStatus,
};
use zbus::{Connection, ObjectServer, fdo, interface, message::Header, object_server::SignalEmitter};

use super::{Kind, Shown, dictionary_of};
use crate::{
    bus::{desk::Desk, runs},
    run::RunHandle,
};

pub(in crate::bus) struct RunObject {
    desk: Arc<Desk>,
    shown: Shown<RunStatus>,
}

impl Kind for RunObject {
    type Status = RunStatus;
    const SILENT: &'static [&'static str] = &["Second"];

    fn path(id: &str) -> String {
        run_path(id)
    }

    fn new(desk: &Arc<Desk>, shown: Shown<RunStatus>) -> Self {
        Self { desk: Arc::clone(desk), shown }
    }

    fn begun(desk: &Arc<Desk>, connection: &Connection, id: &str) {
        if let Ok(run) = runs::find(desk, id) {
            tokio::spawn(forward_progress(run, connection.clone()));
        }
    }
}

#[interface(name = "org.faultd.Engine1.Run")]
impl RunObject {
    /// Returns when the run has ended: its status (done, stopped, interrupted, failed), the name of its
    /// folder, and why it failed, or was stopped or interrupted.
    #[zbus(out_args("result"))]
    async fn wait(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<Dictionary, Error> {
        let ended = runs::wait(&self.desk, &header, &self.shown.now().id).await;
        self.desk.services.inventory.look_at_runs();
        self.desk.refresh(server).await;
        ended
    }

    /// Ends the run early. Its faults are cleared, and what was measured is kept. The user who has begun it may do that,
    /// and who may administer.
    async fn stop(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        runs::stop(&self.desk, &header, &self.shown.now().id).await
    }

    /// Adds to events.jsonl what became of a fault that the caller put on another machine for the same time; the user who has
    /// begun the run may do that. Keys: monotonic_ns (t, on the clock of this host), uncertainty_ns (t), host (s), target (s),
    /// fault (s, its id there), state (s: commanded, effective, cleared, failed), detail (s).
    async fn note(&self, note: Dictionary, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        runs::note(&self.desk, &header, &self.shown.now().id, note).await
    }

    /// Everything about it; see ShowRun.
    #[zbus(out_args("run"))]
    async fn show(&self, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        runs::show(&self.desk, &header, &self.shown.now().id).await
    }

    /// What the run is doing, once a second: phase, second, operations, errors, median latency,
    /// faults.
    #[zbus(signal)]
    async fn progress(emitter: &SignalEmitter<'_>, progress: Dictionary) -> zbus::Result<()>;

    /// Its id: r1, r2 ...
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.shown.now().id.clone()
    }

    /// The cluster that it measures.
    #[zbus(property(emits_changed_signal = "const"))]
    fn cluster(&self) -> String {
        self.shown.now().cluster.clone()
    }

    /// What it was called.
    #[zbus(property(emits_changed_signal = "const"))]
    fn label(&self) -> String {
        self.shown.now().label.clone()
    }

    /// The name of its folder.
    #[zbus(property(emits_changed_signal = "const"))]
    fn folder(&self) -> String {
        self.shown.now().folder.clone()
    }

    /// When it was begun, as RFC 3339 has it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn begun_at(&self) -> String {
        self.shown.now().begun_at.clone()
    }

    /// The number of the user who has begun it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn user(&self) -> u32 {
        self.shown.now().user
    }

    /// Whether it goes on without the connection that asked for it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn detached(&self) -> bool {
        self.shown.now().detached
    }

    /// running, or how it ended: done, interrupted, failed ...
    #[zbus(property)]
    fn status(&self) -> String {
        self.shown.now().status.clone()
    }

    /// Why it failed; empty otherwise.
    #[zbus(property)]
    fn error(&self) -> String {
        self.shown.now().error.clone().unwrap_or_default()
    }

    /// prepare, warm-up, baseline, injection or recovery; empty when it has ended.
    #[zbus(property)]
    fn phase(&self) -> String {
        self.shown.now().progress.as_ref().map(|progress| progress.phase.clone()).unwrap_or_default()
    }

    /// What the signal Progress said last; empty when it has ended.
    #[zbus(property(emits_changed_signal = "false"))]
    fn second(&self) -> fdo::Result<Dictionary> {
        self.shown.now().progress.as_ref().map_or_else(|| Ok(Dictionary::new()), dictionary_of)
    }
}

/// Tells a connection once a second what a run is doing, until the run or the connection ends.
async fn forward_progress(run: RunHandle, connection: Connection) {
    let mut progress = run.progress();
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        let Ok(dictionary) = dictionary::encode(&now) else { continue };
        let told = match SignalEmitter::new(&connection, run_path(&run.id)) {
            Ok(emitter) => RunObject::progress(&emitter, dictionary).await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::debug!(run = run.id, %error, "progress is not heard any more");
            return;
        }
    }
}
