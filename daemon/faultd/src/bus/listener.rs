//! The private socket: who may connect, and one bus connection for each caller.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use faultd_api::names::ROOT_PATH;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Notify, watch},
};
use zbus::{Connection, Guid, connection::Builder, fdo::ObjectManager};

use super::{
    caller::Caller,
    desk::Desk,
    door::Door,
    facade::{BusFacade, MonitoringFacade},
    guarded::Guarded,
    manager::{Manager, Services},
    objects,
};
use crate::{
    engine::{FaultOwner, Selection},
    policy::MayConnect,
};

/// Root alone, unless the policy names others: then each call is decided by itself.
const MODE_FOR_ROOT: u32 = 0o600;
const MODE_FOR_GROUP: u32 = 0o660;
const MODE_FOR_ANYBODY: u32 = 0o666;

/// Who takes this for a bus greets it at once.
const GREETS_WITHIN: Duration = Duration::from_secs(1);

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon listens there.
    #[error("{}: another faultd listens here already; stop it, or choose another place with --socket", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket is there.
    #[error("{}: is no socket, and is left alone; choose another place with --socket", .0.display())]
    NoSocket(PathBuf),
    /// The kernel refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Lets those connect whom the policy names.
///
/// # Errors
/// When the mode or the group of the socket cannot be set.
pub fn open_to(path: &Path, may_connect: MayConnect) -> Result<(), ListenError> {
    let (mode, group) = match may_connect {
        MayConnect::Root => (MODE_FOR_ROOT, None),
        MayConnect::Group(group) => (MODE_FOR_GROUP, Some(group)),
        MayConnect::Anybody => (MODE_FOR_ANYBODY, None),
    };
    let failed = |source| ListenError::Io { path: path.to_owned(), source };
    // Closed first: a wider mode is never there with a wrong group.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE_FOR_ROOT)).map_err(failed)?;
    std::os::unix::fs::chown(path, None, Some(group.unwrap_or(0))).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

/// Takes the socket, to which root alone can connect; one that a dead daemon left is replaced.
///
/// # Errors
/// When another daemon listens there, or the path cannot be used.
pub async fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Io { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => return Err(ListenError::NoSocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(ListenError::InUse(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE_FOR_ROOT)).map_err(failed)?;
    Ok(listener)
}

/// Serves callers until the task is dropped.
pub async fn serve(listener: UnixListener, services: Services) {
    let guid = Guid::generate();
    for number in 1_u64.. {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (services, guid) = (services.clone(), guid.to_string());
                tokio::spawn(async move {
                    if let Err(error) = serve_one(stream, &guid, services, number).await {
                        tracing::warn!(connection = number, %error, "a caller could not be served");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a caller could not be accepted");
                // Out of descriptors, most likely: asking again at once would only burn the CPU.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Tells a caller what changes: after its greeting was answered, or when it does not greet, as who speaks to a peer.
async fn tell_when_greeted(desk: Arc<Desk>, connection: Connection, greeted: Arc<Notify>) {
    // Not greeted in time is no error.
    let _ = tokio::time::timeout(GREETS_WITHIN, greeted.notified()).await;
    objects::keep(desk, connection).await;
}

async fn serve_one(stream: UnixStream, guid: &str, services: Services, number: u64) -> zbus::Result<()> {
    let engine = services.engine.clone();
    let caller = Caller::of_socket(number, stream.peer_cred()?).await;
    let owner = FaultOwner::Connection(caller.connection.clone());
    let (closed, connection_closed) = watch::channel(false);
    let greeted = Arc::new(Notify::new());
    let desk = Desk::new(services, Door::Private { caller, connection_closed });
    let builder = Builder::unix_stream(stream.into_std()?)
        .server(guid)
        .p2p()
        .serve_at(ROOT_PATH, Manager::new(&desk))
        .serve_at(ROOT_PATH, Guarded::everything(ObjectManager, &desk))
        .serve_at("/org/freedesktop/DBus", BusFacade::new(&greeted))
        .serve_at("/org/freedesktop/DBus", MonitoringFacade);
    let snapshot = desk.services.inventory.snapshot().borrow().clone();
    let connection = objects::serve_all(builder, &desk, &snapshot).await.build().await?;
    let keeping = tokio::spawn(tell_when_greeted(desk, connection.clone(), greeted));
    connection.closed().await;
    keeping.abort();
    closed.send_replace(true);
    // An engine that is stopping clears this caller's faults with all others.
    let _ = engine.clear(Selection::Owner(owner)).await;
    Ok(())
}
