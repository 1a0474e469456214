//! What callers do to begin a run.

use std::sync::Arc;

use faultd_api::{dictionary::Dictionary, error::Error, names::run_path, run::RunRequest};
use zbus::{Connection, OwnedFd, OwnedObjectPath, message::Header};

use super::{
    caller::Caller,
    desk::{Desk, Done, decode},
    door::Door,
    errors::of_run,
    manager::Services,
    run_object::{RunObject, forward_progress},
};
use crate::{policy::Right, run::RunHandle};

/// What a caller of a run hands over.
pub(super) struct RunFiles {
    /// The directory of its folder.
    pub(super) outputs: OwnedFd,
    /// What the load prints, where it is a command of the caller's.
    pub(super) output_of_command: Option<OwnedFd>,
}

pub(super) async fn begin(
    desk: &Desk,
    connection: &Connection,
    header: &Header<'_>,
    request: Dictionary,
    files: RunFiles,
) -> Result<OwnedObjectPath, Error> {
    let request: RunRequest = decode(request)?;
    let subject = format!("{} on {}", request.label, request.cluster);
    desk.audited(header, Right::Inject, &subject, async |caller| {
        let RunFiles { outputs, output_of_command } = files;
        let Services { runs, permits, .. } = &desk.services;
        let outputs = writable_by(&caller, outputs)?;
        let started = runs.start(&request, outputs, output_of_command.map(Into::into)).await;
        let run = started.map_err(|error| of_run(&error))?;
        let path = run_path(&run.id);
        let owner = caller.connection.clone();
        let object = RunObject::new(run.clone(), owner, Arc::clone(&desk.door), permits.clone());
        connection.object_server().at(path.as_str(), object).await?;
        tokio::spawn(forward_progress(run.clone(), connection.clone()));
        let id = run.id.clone();
        tokio::spawn(end_with_caller(run, Arc::clone(&desk.door), caller, connection.clone()));
        Ok(Done::new(OwnedObjectPath::try_from(path)?, id))
    })
    .await
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
