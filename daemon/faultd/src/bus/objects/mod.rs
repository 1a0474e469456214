//! Objects on a connection: one for each fault, target, lab, plugin and job, with properties that tell when they change.
//!
//! ```text
//! inventory ─▶ snapshot ─▶ refresh ─┬▶ new:     an object, InterfacesAdded
//!                                   ├▶ changed: PropertiesChanged, with all that has changed at once
//!                                   └▶ gone:    no object, InterfacesRemoved
//! ```
//! A connection has a tree of its own, brought to what there is by a task, and by each method that changes something
//! before it answers.

mod fault;
mod job;
mod lab;
mod plugin;
mod run;
mod target;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use faultd_api::dictionary::{self, Dictionary};
use zbus::{
    Connection, ObjectServer, OwnedVariant, Variant,
    connection::Builder,
    fdo::{self, Properties},
    object_server::{Interface, InterfaceRef},
};

use self::{
    fault::FaultObject, job::JobObject, lab::LabObject, plugin::PluginObject, run::RunObject,
    target::TargetObject,
};
use super::{desk::Desk, guarded::Guarded};
use crate::inventory::Snapshot;

/// What an object shows: replaced when the thing changes.
pub(super) struct Shown<T> {
    status: Arc<Mutex<Arc<T>>>,
}

impl<T> Shown<T> {
    fn new(status: Arc<T>) -> Self {
        Self { status: Arc::new(Mutex::new(status)) }
    }

    /// As it was seen last.
    fn now(&self) -> Arc<T> {
        Arc::clone(&self.status.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, status: Arc<T>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

impl<T> Clone for Shown<T> {
    fn clone(&self) -> Self {
        Self { status: Arc::clone(&self.status) }
    }
}

/// A kind of objects.
trait Kind: Interface + Sized {
    type Status: PartialEq + Send + Sync + 'static;
    /// Properties that change without a signal, as their annotation says.
    const SILENT: &'static [&'static str];

    fn path(name: &str) -> String;
    fn new(desk: &Arc<Desk>, shown: Shown<Self::Status>) -> Self;

    /// What else begins with an object on a connection.
    fn begun(_desk: &Arc<Desk>, _connection: &Connection, _name: &str) {}
}

/// The objects of one kind, by the name of the thing.
type Known<K> = BTreeMap<String, Shown<<K as Kind>::Status>>;

/// The objects of one connection.
#[derive(Default)]
pub(super) struct Objects {
    faults: Known<FaultObject>,
    targets: Known<TargetObject>,
    labs: Known<LabObject>,
    plugins: Known<PluginObject>,
    runs: Known<RunObject>,
    jobs: Known<JobObject>,
}

/// Serves an object for everything there is, from the beginning of a connection on: nobody is told, since nobody could
/// have known less. Runs come with the first look, since what they tell needs a connection.
pub(super) async fn serve_all<'a>(mut builder: Builder<'a>, desk: &Arc<Desk>, now: &Snapshot) -> Builder<'a> {
    let mut objects = desk.objects.lock().await;
    builder = serve_kind::<FaultObject>(builder, desk, &mut objects.faults, &now.faults);
    builder = serve_kind::<TargetObject>(builder, desk, &mut objects.targets, &now.targets);
    builder = serve_kind::<LabObject>(builder, desk, &mut objects.labs, &now.labs);
    builder = serve_kind::<PluginObject>(builder, desk, &mut objects.plugins, &now.plugins);
    serve_kind::<JobObject>(builder, desk, &mut objects.jobs, &now.jobs)
}

/// Brings the objects of a connection to what there is.
pub(super) async fn refresh(desk: &Arc<Desk>, server: &ObjectServer, now: &Snapshot) {
    let mut objects = desk.objects.lock().await;
    refresh_kind::<FaultObject>(desk, server, &mut objects.faults, &now.faults).await;
    refresh_kind::<TargetObject>(desk, server, &mut objects.targets, &now.targets).await;
    refresh_kind::<LabObject>(desk, server, &mut objects.labs, &now.labs).await;
    refresh_kind::<PluginObject>(desk, server, &mut objects.plugins, &now.plugins).await;
    refresh_kind::<RunObject>(desk, server, &mut objects.runs, &now.runs).await;
    refresh_kind::<JobObject>(desk, server, &mut objects.jobs, &now.jobs).await;
}

/// Does so again and again, until the task is dropped.
pub(super) async fn keep(desk: Arc<Desk>, connection: Connection) {
    let mut snapshot = desk.services.inventory.snapshot();
    loop {
        let now = snapshot.borrow_and_update().clone();
        refresh(&desk, connection.object_server(), &now).await;
        if snapshot.changed().await.is_err() {
            return;
        }
    }
}

fn serve_kind<'a, K: Kind>(
    mut builder: Builder<'a>,
    desk: &Arc<Desk>,
    known: &mut Known<K>,
    now: &BTreeMap<String, Arc<K::Status>>,
) -> Builder<'a> {
    for (name, status) in now {
        let shown = Shown::new(Arc::clone(status));
        let object = Guarded::properties(K::new(desk, shown.clone()), desk);
        builder = builder.serve_at(K::path(name), object);
        known.insert(name.clone(), shown);
    }
    builder
}

/// A connection that has been closed meanwhile hears nothing; its objects go with it.
async fn refresh_kind<K: Kind>(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    known: &mut Known<K>,
    now: &BTreeMap<String, Arc<K::Status>>,
) {
    let gone: Vec<String> = known.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
    for name in gone {
        known.remove(&name);
        log(&name, server.remove::<Guarded<K>, _>(K::path(&name)).await);
    }
    for (name, status) in now {
        match known.get(name) {
            None => {
                let shown = Shown::new(Arc::clone(status));
                let object = Guarded::properties(K::new(desk, shown.clone()), desk);
                known.insert(name.clone(), shown);
                log(name, begin(desk, server, name, object).await);
            }
            Some(shown) if *shown.now() != **status => {
                log(name, change::<K>(server, name, shown, Arc::clone(status)).await);
            }
            Some(_same) => {}
        }
    }
}

async fn begin<K: Kind>(
    desk: &Arc<Desk>,
    server: &ObjectServer,
    name: &str,
    object: Guarded<K>,
) -> zbus::Result<()> {
    server.at(K::path(name), object).await?;
    let interface = server.interface::<_, Guarded<K>>(K::path(name)).await?;
    K::begun(desk, interface.signal_emitter().connection(), name);
    Ok(())
}

fn log<T>(name: &str, outcome: zbus::Result<T>) {
    if let Err(error) = outcome {
        tracing::debug!(object = name, %error, "a change of an object is not heard");
    }
}

/// Shows the new status, and tells what of it has changed.
async fn change<K: Kind>(
    server: &ObjectServer,
    name: &str,
    shown: &Shown<K::Status>,
    status: Arc<K::Status>,
) -> zbus::Result<()> {
    let interface = server.interface::<_, Guarded<K>>(K::path(name)).await;
    let Ok(interface) = interface else {
        shown.replace(status);
        return interface.map(drop);
    };
    let before = properties(server, &interface).await?;
    shown.replace(status);
    let after = properties(server, &interface).await?;
    let is_told = |(name, value): &(&String, &OwnedVariant)| {
        !K::SILENT.contains(&name.as_str()) && before.get(*name) != Some(*value)
    };
    let changed: HashMap<&str, Variant<'_>> = after
        .iter()
        .filter(is_told)
        .map(|(name, value)| Ok((name.as_str(), Variant::try_from(value)?)))
        .collect::<zbus::Result<_>>()?;
    if changed.is_empty() {
        return Ok(());
    }
    let nothing: Cow<'_, [&str]> = Cow::Borrowed(&[]);
    Properties::properties_changed(interface.signal_emitter(), K::name(), changed, nothing).await
}

fn dictionary_of<T: serde::Serialize>(value: &T) -> fdo::Result<Dictionary> {
    dictionary::encode(value).map_err(|error| fdo::Error::Failed(error.to_string()))
}

async fn properties<K: Kind>(
    server: &ObjectServer,
    interface: &InterfaceRef<Guarded<K>>,
) -> zbus::Result<HashMap<String, OwnedVariant>> {
    let emitter = interface.signal_emitter();
    let object = interface.get().await;
    Ok(object.get_all(server, emitter.connection(), None, emitter).await?)
}
