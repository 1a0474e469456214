//! Requests to the kernel by route netlink, and their answers.
//!
//! rtnetlink is asynchronous and this crate is not, because its callers may be on any thread, inside
//! a runtime or not: each exchange has a thread of its own, which it needs anyway to be in the right
//! namespace.

use std::io;

use futures_util::StreamExt as _;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use thiserror::Error;

use crate::namespace::{Namespace, NamespaceError};

/// What can go wrong in a netlink exchange.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The socket could not be opened or used.
    #[error("cannot talk to the kernel by netlink")]
    Socket(#[source] io::Error),
    /// The kernel said no.
    #[error("the kernel refused to {operation}")]
    Refused {
        /// What was asked, after "to".
        operation: String,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// The object asked for is not there.
    #[error("there is no {0}")]
    Missing(String),
}

impl NetlinkError {
    /// The kernel's error number, where it gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether the error only says that the object to be removed, or its device, is not there.
    pub fn means_absent(&self) -> bool {
        use rustix::io::Errno;
        let absent = [Errno::NODEV, Errno::NOENT, Errno::NXIO].map(Errno::raw_os_error);
        matches!(self, Self::Missing(_)) || self.raw_os_error().is_some_and(|number| absent.contains(&number))
    }
}

/// Netlink of one namespace.
pub(crate) struct Netlink {
    namespace: Namespace,
}

impl Netlink {
    /// Netlink of `namespace`.
    pub(crate) fn of(namespace: &Namespace) -> Self {
        Self { namespace: namespace.clone() }
    }

    /// Sends a request that changes something, with flags beyond those that every request has.
    pub(crate) fn change(
        &self,
        operation: impl Into<String>,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.exchange(operation.into(), message, flags | NLM_F_ACK).map(drop)
    }

    /// Asks for all objects that fit the request.
    pub(crate) fn dump(
        &self,
        operation: impl Into<String>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.exchange(operation.into(), message, NLM_F_DUMP)
    }

    /// Asks for one object.
    pub(crate) fn get(
        &self,
        operation: impl Into<String>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.exchange(operation.into(), message, NLM_F_ACK)
    }

    fn exchange(
        &self,
        operation: String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags | NLM_F_REQUEST;
        let answers = self.namespace.run(|| ask(request))?.map_err(NetlinkError::Socket)?;
        let mut objects = Vec::new();
        for answer in answers {
            match answer.payload {
                NetlinkPayload::InnerMessage(object) => objects.push(object),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(NetlinkError::Refused { operation, source: error.to_io() });
                }
                _ => {}
            }
        }
        Ok(objects)
    }
}

/// The whole exchange, on a thread that is in the namespace and in no runtime.
fn ask(request: NetlinkMessage<RouteNetlinkMessage>) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let (connection, mut handle, _unasked) = rtnetlink::new_connection()?;
        // It ends with the runtime.
        tokio::spawn(connection);
        let answers = handle.request(request).map_err(io::Error::other)?;
        Ok(answers.collect().await)
    })
}
