//! What clients made for a message bus ask of it before they do anything else.
//!
//! `busctl` and `gdbus` greet `org.freedesktop.DBus` on every connection. On the private socket
//! there is no bus, so the daemon answers for it, as little as they need.

use zbus::{fdo, interface, object_server::SignalEmitter};

use faultd_api::names::BUS_NAME;

/// The name that every caller is given: names mean nothing where there are only two.
const CALLER: &str = ":1.1";

pub(super) struct BusFacade;

#[interface(name = "org.freedesktop.DBus")]
impl BusFacade {
    /// Greets the bus; answers the caller's unique name.
    fn hello(&self) -> String {
        CALLER.to_owned()
    }

    /// Accepts any rule: everything is sent to the only peer anyway.
    fn add_match(&self, _rule: String) {}

    /// See AddMatch.
    fn remove_match(&self, _rule: String) {}

    /// Nobody owns a name: messages here carry no sender, and a client that were told one would
    /// wait for signals from it in vain.
    fn get_name_owner(&self, name: &str) -> fdo::Result<String> {
        Err(fdo::Error::NameHasNoOwner(format!("'{name}' has no owner: this is faultd's private socket")))
    }

    /// Only the daemon's name has an owner.
    fn name_has_owner(&self, name: &str) -> bool {
        name == BUS_NAME
    }

    /// The names on this connection.
    fn list_names(&self) -> Vec<String> {
        vec!["org.freedesktop.DBus".to_owned(), BUS_NAME.to_owned()]
    }

    /// Said to a caller who becomes a monitor, and so has no name any more.
    #[zbus(signal)]
    async fn name_lost(emitter: &SignalEmitter<'_>, name: &str) -> zbus::Result<()>;

    /// Nothing can be started here: 2 means that it runs already.
    fn start_service_by_name(&self, _name: String, _flags: u32) -> u32 {
        2
    }
}

/// `busctl monitor` asks to be told everything, which each caller here is anyway: what is sent to it.
pub(super) struct MonitoringFacade;

#[interface(name = "org.freedesktop.DBus.Monitoring")]
impl MonitoringFacade {
    /// Nothing changes: signals are sent to every caller, and calls of others are not shown to anybody. `busctl` prints
    /// none before it has lost its name, as on a bus.
    async fn become_monitor(
        &self,
        _rules: Vec<String>,
        _flags: u32,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<()> {
        Ok(BusFacade::name_lost(&emitter, CALLER).await?)
    }
}
