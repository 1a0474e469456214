//! Connections to a daemon under test, and calls of any method with any arguments.

use std::{os::unix::net::UnixStream, path::Path, time::Duration};

use faultd_api::{
    dictionary::{self, Dictionary},
    fault::FaultRequest,
    names::{BUS_NAME, ROOT_PATH},
    proxy::ManagerProxy,
};
use zbus::{
    Connection,
    connection::Builder,
    wire::{StructureBuilder, Variant},
};

use crate::introspected::Method;

/// A call that takes longer hangs: nothing that is asked here takes a minute.
const LONGEST_CALL: Duration = Duration::from_secs(60);
/// The errors that the daemon answers by its own name begin so.
pub const OURS: &str = "org.faultd.Engine1.Error.";

/// A connection to the private socket.
pub async fn connect(socket: &Path) -> Connection {
    let stream = UnixStream::connect(socket).expect("a daemon that listens");
    let builder = Builder::unix_stream(stream).p2p().method_timeout(LONGEST_CALL);
    builder.build().await.expect("a connection")
}

/// The root object, on a connection.
pub async fn manager(connection: &Connection) -> ManagerProxy<'static> {
    let builder = ManagerProxy::builder(connection).destination(BUS_NAME).path(ROOT_PATH);
    builder.build().await.expect("the root object")
}

/// A request as it travels.
pub fn encoded(request: &FaultRequest) -> Dictionary {
    dictionary::encode(request).expect("a request")
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The name of the error and what it says.
    Refused(String, String),
}

/// Calls a method.
///
/// # Panics
/// When no answer comes: the connection is broken or the daemon hangs.
pub async fn call(
    connection: &Connection,
    destination: Option<&str>,
    method: &Method,
    arguments: Vec<Variant<'_>>,
) -> Outcome {
    let (path, interface, name) =
        (method.path.as_str(), Some(method.interface.as_str()), method.name.as_str());
    let answer = if arguments.is_empty() {
        connection.call_method(destination, path, interface, name, &()).await
    } else {
        let body = arguments.into_iter().fold(StructureBuilder::new(), StructureBuilder::append_field);
        let body = body.build().expect("arguments");
        connection.call_method(destination, path, interface, name, &body).await
    };
    match answer {
        Ok(_) => Outcome::Done,
        Err(zbus::Error::MethodError(name, text, _)) => {
            Outcome::Refused(name.to_string(), text.unwrap_or_default())
        }
        Err(zbus::Error::FDO(error)) => {
            use zbus::DBusError as _;
            Outcome::Refused(error.name().to_string(), error.to_string())
        }
        Err(error) => panic!("{}: {error}", method.full_name()),
    }
}
