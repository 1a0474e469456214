//! What callers do with labs, from whichever object they ask: at once, or as a job.

use std::sync::Arc;

use faultd_api::{
    dictionary::Dictionary,
    error::Error,
    lab::LabRequest,
    names::{JOB_PATH, path_element},
};
use zbus::{ObjectServer, OwnedObjectPath, message::Header};

use super::{
    desk::{Desk, Done, UNREADABLE, decode, encode},
    errors::{of_lab, of_run},
    faults,
    manager::Services,
};
use crate::{engine::Selection, policy::Right};

pub(super) async fn up(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
    request: Dictionary,
) -> Result<Dictionary, Error> {
    let request = decode::<LabRequest>(request);
    let subject = subject_of(&request);
    desk.audited(header, Right::Administer, &subject, async |_caller| {
        let (name, status) = bring_up(&desk.services, &request?).await?;
        desk.services.inventory.look_at_labs();
        desk.refresh(server).await;
        Ok(Done::new(status, name))
    })
    .await
}

pub(super) async fn begin_up(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
    request: Dictionary,
) -> Result<OwnedObjectPath, Error> {
    let request = decode::<LabRequest>(request);
    let subject = subject_of(&request);
    desk.audited(header, Right::Administer, &subject, async |_caller| {
        let (services, request) = (desk.services.clone(), request?);
        let work = async move { bring_up(&services, &request).await.map(|(_name, status)| status) };
        begun(desk, server, "lab-up", &subject, work).await
    })
    .await
}

pub(super) async fn down(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
    name: &str,
) -> Result<(), Error> {
    desk.audited(header, Right::Administer, name, async |_caller| {
        take_down(&desk.services, name).await?;
        desk.services.inventory.look_at_labs();
        desk.refresh(server).await;
        Ok(Done::new((), ""))
    })
    .await
}

pub(super) async fn begin_down(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
    name: &str,
) -> Result<OwnedObjectPath, Error> {
    desk.audited(header, Right::Administer, name, async |_caller| {
        let (services, lab) = (desk.services.clone(), name.to_owned());
        let work = async move { take_down(&services, &lab).await.map(|()| Dictionary::new()) };
        begun(desk, server, "lab-down", name, work).await
    })
    .await
}

/// What a request is about, for the record.
fn subject_of(request: &Result<LabRequest, Error>) -> String {
    request.as_ref().map_or(UNREADABLE.to_owned(), |request| request.name.clone().unwrap_or_default())
}

/// A job that goes on, with its object.
async fn begun(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    kind: &str,
    subject: &str,
    work: impl Future<Output = Result<Dictionary, Error>> + Send + 'static,
) -> Result<Done<OwnedObjectPath>, Error> {
    let id = desk.services.jobs.begin(kind, subject, work);
    desk.services.inventory.look_at_jobs();
    desk.refresh(server).await;
    let path = OwnedObjectPath::try_from(format!("{JOB_PATH}/{}", path_element(&id)))?;
    Ok(Done::new(path, id))
}

async fn bring_up(services: &Services, request: &LabRequest) -> Result<(String, Dictionary), Error> {
    let lab = services.labs.up(request).await.map_err(|error| of_lab(&error))?;
    services.readiness.lab_is_up(&lab.name).await;
    Ok((lab.name.clone(), encode(&lab)?))
}

async fn take_down(services: &Services, name: &str) -> Result<(), Error> {
    let _hold = services.runs.keep_away_from(name).map_err(|error| of_run(&error))?;
    faults::clear_and_drop(services, Selection::Lab(name.to_owned())).await?;
    services.readiness.lab_goes_down(name).await;
    services.labs.down(name).await.map_err(|error| of_lab(&error))
}
