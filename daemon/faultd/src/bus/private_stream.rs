//! A stream of the private socket, which differs from any other of D-Bus in one thing: no signal goes out before the
//! first answer. Clients made for a bus greet it, and take whatever comes first for the answer to that.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use async_trait::async_trait;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown,
};
use tokio::{io::Interest, net::UnixStream};
use zbus::{
    Message,
    connection::socket::{ReadHalf, Socket, Split, WriteHalf},
    fdo::ConnectionCredentials,
    message::Type,
};

/// More in one message than any method takes; the kernel closes what is beyond.
const MOST_DESCRIPTORS: usize = 16;

/// The daemon's end of a connection.
#[derive(Debug)]
pub(super) struct PrivateStream {
    stream: Arc<UnixStream>,
}

impl PrivateStream {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream: Arc::new(stream) }
    }
}

impl Socket for PrivateStream {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let reader = Reader { stream: Arc::clone(&self.stream) };
        Split::new(reader, Writer { stream: self.stream, has_answered: false })
    }
}

#[derive(Debug)]
pub(super) struct Reader {
    stream: Arc<UnixStream>,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.stream.async_io(Interest::READABLE, || receive(&self.stream, buffer)).await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        credentials(&self.stream)
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    stream: Arc<UnixStream>,
    /// Whether anything but signals has been sent.
    has_answered: bool,
}

#[async_trait]
impl WriteHalf for Writer {
    async fn send_message(&mut self, message: &Message) -> zbus::Result<()> {
        if !self.has_answered && message.message_type() == Type::Signal {
            return Ok(());
        }
        self.has_answered = true;
        let data = message.data();
        let mut rest: &[u8] = data;
        let mut descriptors: Vec<BorrowedFd<'_>> = data.fds().iter().map(AsFd::as_fd).collect();
        while !rest.is_empty() {
            let sent = self.sendmsg(rest, &descriptors).await?;
            descriptors.clear();
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    async fn sendmsg(&mut self, buffer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.stream.async_io(Interest::WRITABLE, || send(&self.stream, buffer, descriptors)).await
    }

    async fn close(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&*self.stream, Shutdown::Both)?)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        credentials(&self.stream)
    }
}

fn receive(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, descriptors))
}

fn send(stream: &UnixStream, buffer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors in a message"));
    }
    Ok(rustix::net::sendmsg(stream, &[IoSlice::new(buffer)], &mut control, SendFlags::NOSIGNAL)?)
}

fn credentials(stream: &UnixStream) -> io::Result<ConnectionCredentials> {
    Ok(ConnectionCredentials::default().set_unix_user_id(stream.peer_cred()?.uid()))
}
