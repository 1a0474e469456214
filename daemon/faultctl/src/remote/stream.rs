//! The stream of a bridge as D-Bus wants it: bytes alone, without descriptors and credentials.

use std::{
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::Arc,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};

use super::bridge::Bridge;

/// Our end, with what holds the other one.
#[derive(Debug)]
pub(super) struct BridgeStream {
    stream: UnixStream,
    bridge: Arc<Bridge>,
}

impl BridgeStream {
    /// # Errors
    /// When the runtime does not take the stream.
    pub(super) fn new(stream: StdUnixStream, bridge: Arc<Bridge>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)?, bridge })
    }
}

impl Socket for BridgeStream {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (reader, writer) = self.stream.into_split();
        Split::new(Reader { reader, _bridge: self.bridge }, Writer { writer })
    }
}

/// The half that a connection keeps until its end, and with it the bridge.
#[derive(Debug)]
pub(super) struct Reader {
    reader: OwnedReadHalf,
    _bridge: Arc<Bridge>,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        Ok((self.reader.read(buffer).await?, Vec::new()))
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    writer: OwnedWriteHalf,
}

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], _descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.writer.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.writer.shutdown().await
    }
}
