//! One run on the bus.

use faultd_api::{
    dictionary::{self, Dictionary},
    error::Error,
    names::run_path,
    run::RunProgress,
};
use zbus::{Connection, interface, object_server::SignalEmitter};

use super::errors::of_dictionary;
use crate::run::RunHandle;

pub(super) struct RunObject {
    run: RunHandle,
}

impl RunObject {
    pub(super) fn new(run: RunHandle) -> Self {
        Self { run }
    }
}

#[interface(name = "org.faultd.Engine1.Run")]
impl RunObject {
    /// Returns when the run has ended: its status (done, interrupted, failed), the name of its
    /// folder, and why it failed.
    #[zbus(out_args("result"))]
    async fn wait(&self) -> Result<Dictionary, Error> {
        dictionary::encode(&self.run.wait().await).map_err(|error| of_dictionary(&error))
    }

    /// Ends the run early. Its faults are cleared, and what was measured is kept.
    fn stop(&self) {
        self.run.stop("stopped by its caller");
    }

    /// What the run is doing, once a second: phase, second, operations, errors, median latency,
    /// faults.
    #[zbus(signal)]
    async fn progress(emitter: &SignalEmitter<'_>, progress: Dictionary) -> zbus::Result<()>;
}

/// Tells the caller's connection once a second what a run is doing, until the run or the
/// connection ends.
pub(super) async fn forward_progress(run: RunHandle, connection: Connection) {
    let mut progress = run.progress();
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        if let Err(error) = emit(&connection, &run.id, &now).await {
            tracing::debug!(run = run.id, %error, "progress is not heard any more");
            return;
        }
    }
}

async fn emit(connection: &Connection, id: &str, progress: &RunProgress) -> zbus::Result<()> {
    let Ok(dictionary) = dictionary::encode(progress) else { return Ok(()) };
    let emitter = SignalEmitter::new(connection, run_path(id))?;
    RunObject::progress(&emitter, dictionary).await
}
