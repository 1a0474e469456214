//! What callers do with faults, from whichever object they ask.

use std::{sync::Arc, time::Duration};

use faultd_api::{
    dictionary::Dictionary,
    error::Error,
    fault::{FaultPlan, FaultRequest, FaultStatus},
    units::nanoseconds,
};
use zbus::{ObjectServer, message::Header};

use super::{
    begin::Begin,
    caller::Caller,
    desk::{Desk, Done, UNREADABLE, decode, encode, encode_all},
    errors::{of_backend, of_engine, of_fault, of_refusal, of_target},
    manager::Services,
};
use crate::{
    engine::{Application, EngineError, FaultOwner, Selection},
    fault::{FaultSpec, backend},
    policy::{Permit, Right},
};

pub(super) async fn add(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
    request: Dictionary,
) -> Result<Dictionary, Error> {
    let request = decode::<FaultRequest>(request);
    desk.audited(header, Right::Inject, &subject_of(&request), async |caller| {
        let request = request?;
        let begin = Begin::checked(request.begin_at_ns)?;
        let (engine, asked) = (&desk.services.engine, desk.services.engine.asked_now());
        let application = application(&desk.services, &request, &caller).await?;
        let applied = match begin {
            Some(begin) => begin.add(desk, application, asked, &caller).await?,
            None => engine.add_as_asked(application, asked).await.map_err(|error| of_engine(&error))?,
        };
        clear_if_gone(desk, &request, &caller);
        done(desk, server, applied.status).await
    })
    .await
}

pub(super) async fn plan(
    desk: &Arc<Desk>,
    header: &Header<'_>,
    request: Dictionary,
) -> Result<Dictionary, Error> {
    let caller = desk.admit(header, Right::Read).await?;
    encode(&plan_of(&application(&desk.services, &decode(request)?, &caller).await?))
}

pub(super) async fn set(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
    id: &str,
    request: Dictionary,
) -> Result<Dictionary, Error> {
    let request = decode::<FaultRequest>(request);
    let subject = format!("{id}: {}", subject_of(&request));
    desk.audited(header, Right::Inject, &subject, async |caller| {
        let request = request?;
        if request.begin_at_ns.is_some() {
            return Err(Error::InvalidRequest(
                "a fault that holds has begun: leave begin_at_ns out".to_owned(),
            ));
        }
        let application = application(&desk.services, &request, &caller).await?;
        let changed = desk.services.engine.set(id, application).await;
        done(desk, server, changed.map_err(|error| of_engine(&error))?).await
    })
    .await
}

pub(super) async fn show(desk: &Desk, header: &Header<'_>, id: &str) -> Result<Dictionary, Error> {
    desk.admit(header, Right::Read).await?;
    let faults = desk.services.engine.list().await.map_err(|error| of_engine(&error))?;
    let fault = faults.into_iter().find(|fault| fault.id == id);
    encode(&fault.ok_or_else(|| of_engine(&EngineError::NoSuchFault(id.to_owned())))?)
}

pub(super) async fn list(desk: &Desk, header: &Header<'_>) -> Result<Vec<Dictionary>, Error> {
    desk.admit(header, Right::Read).await?;
    encode_all(&desk.services.engine.list().await.map_err(|error| of_engine(&error))?)
}

pub(super) async fn remove(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
    id: &str,
) -> Result<(), Error> {
    desk.audited(header, Right::Inject, id, async |_caller| {
        if clear(desk, server, Selection::Id(id.to_owned())).await? == 0 {
            return Err(of_engine(&EngineError::NoSuchFault(id.to_owned())));
        }
        Ok(Done::new((), ""))
    })
    .await
}

/// Removes all faults of a target, or of all targets where its name is empty; answers how many.
pub(super) async fn clear_target(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
    target: &str,
) -> Result<u32, Error> {
    let subject = if target.is_empty() { "all targets" } else { target };
    desk.audited(header, Right::Inject, subject, async |_caller| {
        let selection = match target {
            "" => Selection::All,
            // A target that has gone is no reason to refuse: its name is cleared as it was given.
            name => Selection::Target(
                desk.services.targets.resolve(name).await.map_or(name.to_owned(), |found| found.name),
            ),
        };
        let cleared = clear(desk, server, selection).await?;
        Ok(Done::new(cleared, format!("{cleared} cleared")))
    })
    .await
}

pub(super) async fn clear_all(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    header: &Header<'_>,
) -> Result<Vec<Dictionary>, Error> {
    desk.audited(header, Right::Inject, "all targets", async |_caller| {
        let cleared = cleared(desk, server, Selection::All).await?;
        Ok(Done::new(encode_all(&cleared)?, format!("{} cleared", cleared.len())))
    })
    .await
}

async fn clear(desk: &Arc<Desk>, server: &ObjectServer, selection: Selection) -> Result<u32, Error> {
    Ok(u32::try_from(cleared(desk, server, selection).await?.len()).unwrap_or(u32::MAX))
}

/// Removes faults, and their objects; answers what they were.
async fn cleared(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    selection: Selection,
) -> Result<Vec<FaultStatus>, Error> {
    let cleared = clear_and_drop(&desk.services, selection).await;
    desk.refresh(server).await;
    cleared
}

/// Removes faults, which nobody is shown any more; answers what they were.
pub(super) async fn clear_and_drop(
    services: &Services,
    selection: Selection,
) -> Result<Vec<FaultStatus>, Error> {
    let cleared = services.engine.clear(selection).await.map_err(|error| of_engine(&error))?;
    let ids: Vec<String> = cleared.iter().map(|fault| fault.status.id.clone()).collect();
    services.inventory.drop_faults(&ids).await;
    let failures: Vec<String> = cleared.iter().flat_map(|fault| fault.failures.clone()).collect();
    if failures.is_empty() {
        Ok(cleared.into_iter().map(|fault| fault.status).collect())
    } else {
        Err(Error::Failed(format!("cleared, but not without a trace: {}", failures.join("; "))))
    }
}

/// A request, checked, with its target and peers found, its backend chosen, and held to the policy.
async fn application(
    services: &Services,
    request: &FaultRequest,
    caller: &Caller,
) -> Result<Application, Error> {
    let Services { targets, capabilities, permits, .. } = services;
    let mut spec = FaultSpec::checked(request).map_err(|error| of_fault(&error))?;
    let backend = backend::choose(&spec, capabilities).map_err(|error| of_backend(&error))?;
    let target = targets.of_fault(&spec).await.map_err(|error| of_target(&error))?;
    let peers = targets.peers(&spec.selection).await.map_err(|error| of_target(&error))?;
    let permit = permits.of_fault(&spec, &target, None).await.map_err(|refusal| of_refusal(&refusal))?;
    let Permit { hold_for, spared, budget } = permit;
    spec.hold_for = hold_for;
    let owner =
        if request.detach { FaultOwner::Daemon } else { FaultOwner::Connection(caller.connection.clone()) };
    Ok(Application { spec, target, peers, backend, owner, spared, budget })
}

/// A caller that has gone while its fault was added has been looked for already, in vain.
fn clear_if_gone(desk: &Desk, request: &FaultRequest, caller: &Caller) {
    if request.detach {
        return;
    }
    let (door, engine, caller) = (Arc::clone(&desk.door), desk.services.engine.clone(), caller.clone());
    tokio::spawn(async move {
        door.gone(&caller).await;
        // An engine that is stopping clears it with all others.
        let _ = engine.clear(Selection::Owner(FaultOwner::Connection(caller.connection))).await;
    });
}

/// A fault that was begun or changed, with its object.
async fn done(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    status: FaultStatus,
) -> Result<Done<Dictionary>, Error> {
    let until = status.remaining_ns.map(|left| jiff::Timestamp::now() + Duration::from_nanos(left));
    let done = Done { value: encode(&status)?, detail: status.id.clone(), until };
    desk.services.inventory.put_fault(status).await;
    desk.refresh(server).await;
    Ok(done)
}

/// What a request is about, for the record.
fn subject_of(request: &Result<FaultRequest, Error>) -> String {
    let Ok(request) = request else { return UNREADABLE.to_owned() };
    let fault = FaultSpec::checked(request).map(|spec| spec.text());
    format!("{} on {}", fault.unwrap_or_else(|_| "an impossible fault".to_owned()), request.target)
}

/// What would be done.
fn plan_of(application: &Application) -> FaultPlan {
    let Application { spec, target, backend, spared, .. } = application;
    FaultPlan {
        target: target.name.clone(),
        kind: spec.kind(),
        text: spec.text(),
        direction: spec.processes.is_none().then_some(spec.direction),
        interfaces: target.interfaces.iter().map(|interface| interface.name.clone()).collect(),
        backend: backend.name.clone(),
        backend_reason: backend.reason.clone(),
        hold_for_ns: spec.hold_for.map(nanoseconds),
        peers: spec.selection.named_peers().map(str::to_owned).collect(),
        spared: spared.iter().map(ToString::to_string).collect(),
    }
}
