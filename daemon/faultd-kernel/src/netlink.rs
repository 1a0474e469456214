//! One route-netlink socket and its request-answer exchange. A socket belongs to the namespace in
//! which it was opened and may then be used from any thread.

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use thiserror::Error;

use crate::namespace::{Namespace, NamespaceError};

/// What can go wrong in a netlink exchange.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The socket could not be opened, written or read.
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
    /// The answer makes no sense to us.
    #[error("cannot decode the kernel's netlink answer")]
    Decode(#[source] DecodeError),
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

pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket inside `namespace`.
    pub(crate) fn open(namespace: &Namespace) -> Result<Self, NetlinkError> {
        let socket = namespace.run(|| {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        })?;
        Ok(Self { socket: socket.map_err(NetlinkError::Socket)?, sequence: 0 })
    }

    /// Sends a request that changes something, with flags beyond those that every request has.
    pub(crate) fn change(
        &mut self,
        operation: impl Into<String>,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.exchange(operation.into(), message, flags | NLM_F_ACK).map(drop)
    }

    /// Asks for all objects that fit the request.
    pub(crate) fn dump(
        &mut self,
        operation: impl Into<String>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.exchange(operation.into(), message, NLM_F_DUMP)
    }

    /// Asks for one object.
    pub(crate) fn get(
        &mut self,
        operation: impl Into<String>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.exchange(operation.into(), message, NLM_F_ACK)
    }

    fn exchange(
        &mut self,
        operation: String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.send(message, flags | NLM_F_REQUEST)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _sender) = self.socket.recv_from_full().map_err(NetlinkError::Socket)?;
            match take_answers(&datagram, self.sequence, &mut answers)? {
                Progress::More => {}
                Progress::Done => return Ok(answers),
                Progress::Refused(source) => return Err(NetlinkError::Refused { operation, source }),
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.sequence;
        header.flags = flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(NetlinkError::Socket)?;
        Ok(())
    }
}

enum Progress {
    More,
    Done,
    Refused(io::Error),
}

fn take_answers(
    datagram: &[u8],
    sequence: u32,
    answers: &mut Vec<RouteNetlinkMessage>,
) -> Result<Progress, NetlinkError> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::deserialize(rest).map_err(NetlinkError::Decode)?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
        rest = rest.get(length.max(4)..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            continue;
        }
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(Progress::Done),
            NetlinkPayload::Error(error) if error.code.is_none() => return Ok(Progress::Done),
            NetlinkPayload::Error(error) => return Ok(Progress::Refused(error.to_io())),
            NetlinkPayload::InnerMessage(answer) => answers.push(answer),
            _ => {}
        }
    }
    Ok(Progress::More)
}
