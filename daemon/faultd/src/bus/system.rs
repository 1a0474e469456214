//! The system bus: the daemon under its well-known name, for everybody whom the bus, polkit and the policy let in.

use std::time::Duration;

use faultd_api::names::{BUS_NAME, ROOT_PATH};
use futures_util::StreamExt;
use tokio::sync::broadcast;
use zbus::{
    connection::Builder,
    fdo::{DBusProxy, ObjectManager, RequestNameFlags, RequestNameReply},
    interface,
};

use super::{
    desk::Desk,
    door::{Door, SystemBus},
    guarded::Guarded,
    manager::{Manager, Services},
    objects,
};

/// A bus that was restarted is there again soon.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Those who go at once; whoever misses some asks the bus.
const MOST_GONE_AT_ONCE: usize = 256;

/// Serves callers on the system bus until the task is dropped, also after the bus was away. A host without a system bus
/// has the private socket.
pub async fn serve_system_bus(services: Services) {
    let mut said = None;
    loop {
        let ended = match serve_one_bus(&services).await {
            Ok(()) => "the system bus has gone".to_owned(),
            Err(error) => format!("not on the system bus: {error}"),
        };
        if said.as_ref() != Some(&ended) {
            tracing::info!("{ended}; the private socket is served all the same");
            said = Some(ended);
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

/// Served for a moment, so that the connection listens for calls from its first message on: where nothing is served when
/// it is built, that begins some time after the name is ours, and the call that has started the daemon would be lost.
struct Listening;

#[interface(name = "org.faultd.Engine1.Listening")]
impl Listening {}

async fn serve_one_bus(services: &Services) -> zbus::Result<()> {
    let connection = Builder::system().serve_at(ROOT_PATH, Listening).build().await?;
    connection.object_server().remove::<Listening, _>(ROOT_PATH).await?;
    let bus = DBusProxy::new(&connection).await?;
    let mut owners = bus.receive_name_owner_changed().await?;
    let (gone, heard) = broadcast::channel(MOST_GONE_AT_ONCE);
    let desk = Desk::new(services.clone(), Door::System(SystemBus::new(connection.clone(), heard)));
    connection.object_server().at(ROOT_PATH, Manager::new(&desk)).await?;
    connection.object_server().at(ROOT_PATH, Guarded::everything(ObjectManager, &desk)).await?;
    let snapshot = services.inventory.snapshot().borrow().clone();
    objects::refresh(&desk, connection.object_server(), &snapshot).await;
    take_name(&bus).await?;
    tracing::info!("on the system bus as {BUS_NAME}");
    // Ends with the connection; those who wait for a caller hear that nobody can be asked any more.
    let telling = async {
        while let Some(change) = owners.next().await {
            let Ok(change) = change.args() else { continue };
            if change.new_owner().is_none() {
                // Nobody has to be interested.
                let _ = gone.send(change.name().to_string());
            }
        }
    };
    tokio::select! {
        () = telling => {}
        () = objects::keep(desk, connection.clone()) => {}
    }
    Ok(())
}

/// Not queued: a second daemon is to hear that there is one already.
async fn take_name(bus: &DBusProxy<'_>) -> zbus::Result<()> {
    let name = BUS_NAME.try_into()?;
    match bus.request_name(name, RequestNameFlags::DO_NOT_QUEUE).await? {
        RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner => Ok(()),
        RequestNameReply::InQueue | RequestNameReply::Exists => Err(zbus::Error::NameTaken),
    }
}
