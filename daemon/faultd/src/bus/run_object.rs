//! One run on the bus.

use std::sync::Arc;

use faultd_api::{
    dictionary::{self, Dictionary},
    error::Error,
    names::run_path,
    run::RunProgress,
};
use zbus::{Connection, interface, message::Header, object_server::SignalEmitter};

use super::{desk::decode, door::Door, errors::of_dictionary};
use crate::{
    policy::{Permits, Right},
    run::{NoteError, RunHandle},
};

pub(super) struct RunObject {
    run: RunHandle,
    /// The connection of whoever has begun it.
    owner: String,
    door: Arc<Door>,
    permits: Permits,
}

impl RunObject {
    pub(super) fn new(run: RunHandle, owner: String, door: Arc<Door>, permits: Permits) -> Self {
        Self { run, owner, door, permits }
    }
}

#[interface(name = "org.faultd.Engine1.Run")]
impl RunObject {
    /// Returns when the run has ended: its status (done, interrupted, failed), the name of its
    /// folder, and why it failed.
    #[zbus(out_args("result"))]
    async fn wait(&self, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        self.door.admit(&header, &self.permits, Right::Read).await?;
        dictionary::encode(&self.run.wait().await).map_err(|error| of_dictionary(&error))
    }

    /// Ends the run early. Its faults are cleared, and what was measured is kept. Whoever has begun it may do that,
    /// and who may administer.
    async fn stop(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let caller = self.door.admit(&header, &self.permits, Right::Read).await?;
        if caller.connection == self.owner {
            self.run.stop("stopped by its caller");
            return Ok(());
        }
        self.door.admit(&header, &self.permits, Right::Administer).await?;
        self.run.stop(&format!("stopped by {caller}"));
        Ok(())
    }

    /// Adds to events.jsonl what became of a fault that the caller put on another machine for the same time; who has begun
    /// the run may do that. Keys: monotonic_ns (t, on the clock of this host), uncertainty_ns (t), host (s), target (s),
    /// fault (s, its id there), state (s: commanded, effective, cleared, failed), detail (s).
    async fn note(&self, note: Dictionary, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let caller = self.door.admit(&header, &self.permits, Right::Read).await?;
        if caller.connection != self.owner {
            return Err(Error::Denied("only who has begun a run adds to its events".to_owned()));
        }
        self.run.note(decode(note)?).map_err(|error| match error {
            NoteError::Wrong(_) => Error::InvalidRequest(error.to_string()),
            NoteError::TooMany | NoteError::Ended => Error::Failed(error.to_string()),
        })
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
