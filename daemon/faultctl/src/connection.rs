//! The way to the daemon: its private socket, peer to peer, the system bus, or another machine.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use faultd_api::{
    names::{BUS_NAME, ROOT_PATH},
    proxy::ManagerProxy,
};
use zbus::{Connection, connection::Builder};

use crate::{command_error::CommandError, remote::Remote};

/// Whoever accepts and then says nothing is no daemon.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(10);

/// Where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BusAddress {
    /// The system bus, under the daemon's well-known name.
    System,
    /// The daemon's private socket.
    Socket(PathBuf),
    /// On another machine.
    Remote(Box<Remote>),
}

/// A text that names no bus.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no bus: write system or unix:path=SOCKET")]
pub(crate) struct NotABus(String);

impl FromStr for BusAddress {
    type Err = NotABus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:path=") {
            Some(path) if !path.is_empty() => Ok(Self::Socket(path.into())),
            None if text == "system" => Ok(Self::System),
            _ => Err(NotABus(text.to_owned())),
        }
    }
}

impl BusAddress {
    /// Connects and answers the daemon's root object.
    ///
    /// # Errors
    /// [`CommandError::Forbidden`] when this user may not, [`CommandError::Unreachable`] when nobody
    /// is there.
    pub(crate) async fn connect(&self) -> Result<ManagerProxy<'static>, CommandError> {
        let (address, builder) = match self {
            Self::System => ("the system bus".to_owned(), Builder::system()),
            Self::Socket(path) => (path.display().to_string(), socket_builder(path)?),
            Self::Remote(remote) => return manager(&remote.connect().await?).await,
        };
        manager(&handshake(address, builder).await?).await
    }
}

async fn manager(connection: &Connection) -> Result<ManagerProxy<'static>, CommandError> {
    Ok(ManagerProxy::builder(connection).destination(BUS_NAME).path(ROOT_PATH).build().await?)
}

fn socket_builder(path: &Path) -> Result<Builder<'static>, CommandError> {
    Ok(Builder::unix_stream(open(path)?).p2p())
}

/// Connects to a socket.
///
/// # Errors
/// As [`BusAddress::connect`].
pub(crate) fn open(path: &Path) -> Result<UnixStream, CommandError> {
    let address = path.display().to_string();
    UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => CommandError::Forbidden { address },
        _ => CommandError::Unreachable { address, reason: error.to_string() },
    })
}

async fn handshake(address: String, builder: Builder<'static>) -> Result<Connection, CommandError> {
    let reason = match tokio::time::timeout(LONGEST_HANDSHAKE, builder.build()).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it accepts connections and does not answer".to_owned(),
    };
    Err(CommandError::Unreachable { address, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_is_the_system_bus_or_a_socket() {
        assert_eq!("system".parse::<BusAddress>().unwrap(), BusAddress::System);
        assert_eq!("unix:path=/a b".parse::<BusAddress>().unwrap(), BusAddress::Socket("/a b".into()));
        for wrong in ["", "unix:path=", "session", "/run/faultd/bus"] {
            assert!(wrong.parse::<BusAddress>().is_err(), "{wrong}");
        }
    }
}
