//! One run on the bus.

use std::sync::Arc;

use faultd_api::{
    dictionary::{self, Dictionary},
    error::Error,
    names::run_path,
    run::RunProgress,
};
use zbus::{Connection, OwnedFd, interface, message::Header, object_server::SignalEmitter};

use super::{caller::Caller, door::Door, errors::of_dictionary};
use crate::{
    policy::{Permits, Right},
    run::RunHandle,
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

/// What a caller of a run hands over.
pub(super) struct RunFiles {
    /// The directory of its folder.
    pub(super) outputs: OwnedFd,
    /// What the load prints, where it is a command of the caller's.
    pub(super) output_of_command: Option<OwnedFd>,
}

/// A run is its caller's: unless it is detached it does not outlive the connection, and its object stays as long as
/// somebody may ask for the result.
pub(super) async fn end_with_caller(
    run: RunHandle,
    door: Arc<Door>,
    caller: Caller,
    connection: Connection,
    is_detached: bool,
) {
    door.gone(&caller).await;
    if !is_detached {
        run.stop("its caller has gone");
    }
    run.wait().await;
    // On the private socket it went with the connection.
    let _ = connection.object_server().remove::<RunObject, _>(run_path(&run.id)).await;
}

/// The directory for a run's folder, if its caller could write there without us.
pub(super) fn writable_by(caller: &Caller, outputs: OwnedFd) -> Result<std::os::fd::OwnedFd, Error> {
    let directory = std::fs::File::from(std::os::fd::OwnedFd::from(outputs));
    match directory.metadata() {
        Ok(found) if caller.may_write(&found) => Ok(directory.into()),
        Ok(_) => {
            Err(Error::Denied(format!("the outputs are no directory that user {} may write to", caller.user)))
        }
        Err(error) => Err(Error::Failed(format!("the directory for outputs cannot be looked at: {error}"))),
    }
}
