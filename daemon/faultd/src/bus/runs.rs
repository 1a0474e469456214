//! What callers do with runs, from whichever object they ask.

use std::sync::Arc;

use faultd_api::{
    dictionary::Dictionary,
    error::Error,
    names::run_path,
    prometheus_address::PrometheusAddress,
    run::{RemoteFaultNote, RunRequest},
};
use zbus::{ObjectServer, OwnedFd, OwnedObjectPath, message::Header};

use super::{
    caller::Caller,
    desk::{Desk, Done, UNREADABLE, decode, encode},
    door::Door,
    errors::of_run,
};
use crate::{
    policy::Right,
    run::{NoteError, RunHandle},
};

/// What a caller of a run hands over.
pub(super) struct RunFiles {
    /// The directory of its folder.
    pub(super) outputs: OwnedFd,
    /// What the load prints, where it is a command of the caller's.
    pub(super) output_of_command: Option<OwnedFd>,
}

pub(super) async fn begin(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
    request: Dictionary,
    files: RunFiles,
) -> Result<OwnedObjectPath, Error> {
    let request = decode::<RunRequest>(request);
    let name = |request: &RunRequest| format!("{} on {}", request.label, request.cluster);
    let subject = request.as_ref().map_or(UNREADABLE.to_owned(), name);
    desk.audited(header, Right::Inject, &subject, async |caller| {
        let request = request?;
        refuse_far_prometheus(desk, header, &request).await?;
        let RunFiles { outputs, output_of_command } = files;
        let outputs = writable_by(&caller, outputs)?;
        let command = output_of_command.map(Into::into);
        let started = desk.services.runs.start(&request, outputs, command, caller.user).await;
        let run = started.map_err(|error| of_run(&error))?;
        let id = run.id.clone();
        if !request.detach {
            tokio::spawn(end_with_caller(run, Arc::clone(&desk.door), caller));
        }
        desk.services.inventory.look_at_runs();
        desk.refresh(server).await;
        Ok(Done::new(OwnedObjectPath::try_from(run_path(&id))?, id))
    })
    .await
}

pub(super) async fn show(desk: &Desk, header: &Header<'_>, id: &str) -> Result<Dictionary, Error> {
    desk.admit(header, Right::Read).await?;
    encode(&find(desk, id)?.status())
}

pub(super) async fn wait(desk: &Desk, header: &Header<'_>, id: &str) -> Result<Dictionary, Error> {
    desk.admit(header, Right::Read).await?;
    encode(&find(desk, id)?.wait().await)
}

/// Ends a run early. The user who has begun it may do that, and who may administer.
pub(super) async fn stop(desk: &Desk, header: &Header<'_>, id: &str) -> Result<(), Error> {
    desk.audited(header, Right::Inject, id, async |caller| {
        let run = find(desk, id)?;
        if run.about().user != caller.user {
            desk.admit(header, Right::Administer).await?;
        }
        run.stop(&format!("stopped by {caller}"));
        Ok(Done::new((), ""))
    })
    .await
}

/// Adds to the events of a run what the user who has begun it says of a fault on another machine.
pub(super) async fn note(desk: &Desk, header: &Header<'_>, id: &str, note: Dictionary) -> Result<(), Error> {
    let note = decode::<RemoteFaultNote>(note);
    desk.audited(header, Right::Inject, id, async |caller| {
        let (run, note) = (find(desk, id)?, note?);
        if run.about().user != caller.user {
            return Err(Error::Denied("only the user who has begun a run adds to its events".to_owned()));
        }
        run.note(note).map_err(|error| of_note(&error))?;
        Ok(Done::new((), ""))
    })
    .await
}

fn of_note(error: &NoteError) -> Error {
    match error {
        NoteError::Wrong(_) => Error::InvalidRequest(error.to_string()),
        NoteError::TooMany | NoteError::Ended => Error::Failed(error.to_string()),
    }
}

pub(super) fn find(desk: &Desk, id: &str) -> Result<RunHandle, Error> {
    desk.services.runs.find(id).map_err(|error| of_run(&error))
}

/// A Prometheus elsewhere is asked by the daemon, as root and from this host: whoever may only inject could reach with
/// it what they cannot reach themselves.
async fn refuse_far_prometheus(desk: &Desk, header: &Header<'_>, request: &RunRequest) -> Result<(), Error> {
    let Some(text) = &request.prometheus else { return Ok(()) };
    // One that is no address is refused with the rest of the request.
    if text.parse::<PrometheusAddress>().map_or(true, |address| address.is_of_this_host()) {
        return Ok(());
    }
    let denied = |_| {
        let reason = format!(
            "{text} is not on this host: asking it needs the right 'administer'; use one on loopback"
        );
        Error::Denied(reason)
    };
    desk.admit(header, Right::Administer).await.map(drop).map_err(denied)
}

/// A run that is not detached is its caller's: it does not outlive the connection.
async fn end_with_caller(run: RunHandle, door: Arc<Door>, caller: Caller) {
    tokio::select! {
        () = door.gone(&caller) => run.stop("its caller has gone"),
        _ended = run.wait() => {}
    }
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
