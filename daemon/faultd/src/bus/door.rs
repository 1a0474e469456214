//! The way in: says who calls, whether they may, and when they have gone. There is one for each connection of the
//! private socket, and one for the system bus.

use std::{collections::HashMap, time::Duration};

use faultd_api::{error::Error, names::polkit_action};
use tokio::sync::broadcast;
use zbus::{Connection, fdo::DBusProxy, message::Flags, message::Header, names::BusName};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::caller::Caller;
use crate::policy::{Permits, Right};

/// Reading properties is decided within that.
const LONGEST_DECISION: Duration = Duration::from_secs(5);

/// The way in.
pub(super) enum Door {
    /// Of one caller, whom the kernel knows.
    Private { caller: Caller, connection_closed: ClosedConnection },
    /// Of all callers on the system bus.
    System(SystemBus),
}

/// Resolves when a peer-to-peer connection has ended.
pub(super) type ClosedConnection = tokio::sync::watch::Receiver<bool>;

/// The system bus, which knows who calls, and polkit on it, which knows what they may.
pub(super) struct SystemBus {
    connection: Connection,
    /// The names of those who have gone; closed with the connection, so the sender must not be kept here.
    gone: broadcast::Receiver<String>,
}

impl SystemBus {
    pub(super) fn new(connection: Connection, gone: broadcast::Receiver<String>) -> Self {
        Self { connection, gone }
    }

    async fn caller(&self, header: &Header<'_>) -> zbus::Result<Caller> {
        let sender = header.sender().ok_or(zbus::Error::MissingField)?;
        let bus = DBusProxy::new(&self.connection).await?;
        let known = bus.get_connection_credentials(BusName::Unique(sender.to_owned())).await?;
        let (user, process) = (known.unix_user_id(), known.process_id());
        Ok(Caller::of_bus(sender.to_string(), user, known.unix_group_ids().cloned(), process).await)
    }

    /// Whether polkit lets a caller do something; it may ask the user first.
    async fn is_authorized(&self, header: &Header<'_>, right: Right, ask_user: bool) -> Result<bool, String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let authority = AuthorityProxy::new(&self.connection).await.map_err(|error| said(&error))?;
        let subject = Subject::new_for_message_header(header).map_err(|error| said(&error))?;
        let flags = if ask_user {
            CheckAuthorizationFlags::ALLOW_USER_INTERACTION
        } else {
            CheckAuthorizationFlags::empty()
        };
        let action = polkit_action(right.word());
        let result = authority.check_authorization(&subject, &action, &HashMap::new(), flags, "").await;
        Ok(result.map_err(|error| said(&error))?.is_authorized)
    }

    async fn has_gone(&self, name: &str) -> bool {
        let Ok(name) = BusName::try_from(name.to_owned()) else { return true };
        match DBusProxy::new(&self.connection).await {
            Ok(bus) => !bus.name_has_owner(name).await.unwrap_or(false),
            Err(_) => true,
        }
    }
}

impl Door {
    /// Who calls, if they may do this.
    ///
    /// # Errors
    /// [`Error::Denied`] with who they are and what they would need.
    pub(super) async fn admit(
        &self,
        header: &Header<'_>,
        permits: &Permits,
        right: Right,
    ) -> Result<Caller, Error> {
        let caller = self.caller(header).await?;
        self.permit(&caller, header, permits, right).await?;
        Ok(caller)
    }

    /// Whether a caller may do this.
    ///
    /// # Errors
    /// As [`Door::admit`].
    pub(super) async fn permit(
        &self,
        caller: &Caller,
        header: &Header<'_>,
        permits: &Permits,
        right: Right,
    ) -> Result<(), Error> {
        let ask_user = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        self.decide(caller, header, permits, right, ask_user).await
    }

    /// Whether who calls may read properties. Nobody is asked for a password for that, and polkit has to answer soon:
    /// the object server waits.
    ///
    /// # Errors
    /// As [`Door::admit`].
    pub(super) async fn admit_reader(&self, header: &Header<'_>, permits: &Permits) -> Result<(), Error> {
        let decision = async {
            let caller = self.caller(header).await?;
            self.decide(&caller, header, permits, Right::Read, false).await
        };
        let late = |_elapsed| Error::Failed("polkit does not answer".to_owned());
        tokio::time::timeout(LONGEST_DECISION, decision).await.map_err(late)?
    }

    async fn decide(
        &self,
        caller: &Caller,
        header: &Header<'_>,
        permits: &Permits,
        right: Right,
        ask_user: bool,
    ) -> Result<(), Error> {
        if permits.policy().access().grants(right, caller.user, &caller.groups) {
            return Ok(());
        }
        let why = match self {
            Self::Private { .. } => String::new(),
            Self::System(bus) => match bus.is_authorized(header, right, ask_user).await {
                Ok(true) => return Ok(()),
                Ok(false) => format!(", and polkit does not grant {}", polkit_action(right.word())),
                Err(reason) => format!(", and polkit cannot be asked ({reason})"),
            },
        };
        tracing::warn!(%caller, %right, "a call was denied");
        Err(Error::Denied(format!(
            "{caller} lacks the right '{right}': name them in [access] of policy.toml{why}"
        )))
    }

    /// Who calls, whatever they may.
    ///
    /// # Errors
    /// When the bus does not know them any more.
    pub(super) async fn caller(&self, header: &Header<'_>) -> Result<Caller, Error> {
        match self {
            Self::Private { caller, .. } => Ok(caller.clone()),
            Self::System(bus) => bus
                .caller(header)
                .await
                .map_err(|error| Error::Denied(format!("the bus does not say who calls: {error}"))),
        }
    }

    /// Returns when a caller has gone.
    pub(super) async fn gone(&self, caller: &Caller) {
        match self {
            Self::Private { connection_closed, .. } => {
                let mut closed = connection_closed.clone();
                // Nobody who could tell means that it has been closed.
                let _ = closed.wait_for(|closed| *closed).await;
            }
            Self::System(bus) => {
                let mut gone = bus.gone.resubscribe();
                loop {
                    // One who has gone before, or among those who were missed, is found by asking.
                    if bus.has_gone(&caller.connection).await {
                        return;
                    }
                    loop {
                        match gone.recv().await {
                            Ok(name) if name == caller.connection => return,
                            Ok(_) => {}
                            Err(broadcast::error::RecvError::Lagged(_)) => break,
                            Err(broadcast::error::RecvError::Closed) => return,
                        }
                    }
                }
            }
        }
    }
}
