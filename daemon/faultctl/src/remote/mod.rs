//! Other machines: a program that logs in there (`ssh`) starts `faultctl stdio-bridge`, and D-Bus goes over its standard
//! streams. Nothing else is started there, and no port is opened.
//!
//! ```text
//! faultctl ─ stream ─ ssh ═══════ sshd ─ faultctl stdio-bridge ─ faultd
//!     bridge: starts and ends it          stdio: authenticates, then carries bytes
//! ```

mod asking;
mod bridge;
mod clock;
mod host;
mod stdio;
mod stream;

use zbus::{Connection, Guid, connection::Builder};

pub(crate) use self::{
    asking::{ask_for_the_time, now_ns},
    clock::{ClockOffset, lead},
    host::{Host, NotAHost},
    stdio::serve,
};
use self::{bridge::Bridge, stream::BridgeStream};
use crate::{command_error::CommandError, connection::BusAddress};

pub(crate) const BRIDGE_EXAMPLES: &str = "Examples:
  faultctl stdio-bridge
  faultctl --bus system stdio-bridge";

/// The daemon of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) host: Host,
    /// What `--bus` says there, where it is to be said.
    bus: Option<String>,
}

impl Remote {
    /// The daemon of a host, on the bus that was named by a flag, or on the one that `faultctl` takes there.
    ///
    /// # Errors
    /// When the name of a socket could mean something else to a shell: there is one at the other end.
    pub(crate) fn new(host: Host, bus: Option<&BusAddress>) -> Result<Self, CommandError> {
        let bus = match bus {
            None => None,
            Some(BusAddress::System) => Some("system".to_owned()),
            Some(BusAddress::Socket(path)) => {
                let path = path.display().to_string();
                if !path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
                    return Err(CommandError::Usage(format!(
                        "--bus with -H: '{path}' has more than letters, digits, '/', '.', '_' and '-' in it"
                    )));
                }
                Some(format!("unix:path={path}"))
            }
            Some(BusAddress::Remote(_)) => None,
        };
        Ok(Self { host, bus })
    }

    /// Connects through the program that logs in there, and greets whoever answers: a daemon, or a bus that wants to
    /// be greeted before anything else.
    ///
    /// # Errors
    /// What that program, or `faultctl` there, has said last.
    pub(crate) async fn connect(&self) -> Result<Connection, CommandError> {
        let (bridge, stream) = Bridge::start(&self.host, self.bus.as_deref())?;
        let stream = BridgeStream::new(stream, bridge.clone());
        let greeted = match stream {
            Ok(stream) => greet(stream).await,
            Err(error) => Err(error.into()),
        };
        match greeted {
            Ok(connection) => {
                bridge.is_up();
                Ok(connection)
            }
            Err(error) => Err(bridge.why_not(&error).await),
        }
    }
}

/// No name is needed to be one of two; a bus gives one, and its daemon knows the caller by that.
async fn greet(stream: BridgeStream) -> zbus::Result<Connection> {
    let connection = Builder::authenticated_socket(stream, Guid::generate()).p2p().build().await?;
    let bus = "org.freedesktop.DBus";
    connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "Hello", &()).await?;
    Ok(connection)
}
