//! The import `streams`: TCP connections of one client to the cluster's members.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::bindings::driver::faultd::plugin::failures::Failure;
use crate::error::one_line;
use crate::reach::Reach;

/// The most bytes of one read.
const LONGEST_READ: usize = 1 << 20;

/// One connection of a plugin.
pub struct MemberStream {
    stream: TcpStream,
    /// Until when the operation under way may take.
    deadline: Instant,
}

impl MemberStream {
    pub(crate) async fn open(reach: &mut Reach, position: usize) -> Result<Self, Failure> {
        let deadline = Instant::now() + reach.time_limit();
        let stream = within(deadline, reach.connect(position)).await?;
        Ok(Self { stream, deadline })
    }

    pub(crate) async fn write(&mut self, reach: &Reach, bytes: &[u8]) -> Result<(), Failure> {
        self.deadline = Instant::now() + reach.time_limit();
        within(self.deadline, self.stream.write_all(bytes)).await
    }

    pub(crate) async fn read(&mut self, at_most: u32) -> Result<Vec<u8>, Failure> {
        let at_most = usize::try_from(at_most).unwrap_or(LONGEST_READ).clamp(1, LONGEST_READ);
        within(self.deadline, self.stream.readable()).await?;
        let mut bytes = Vec::with_capacity(at_most.min(64 << 10));
        let count =
            within(self.deadline, (&mut self.stream).take(at_most as u64).read_buf(&mut bytes)).await?;
        if count == 0 {
            return Err(Failure::Connection("the member has closed it".to_owned()));
        }
        Ok(bytes)
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
    match timeout_at(deadline, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Failure::Connection(one_line(&error.to_string()))),
        Err(_) => Err(Failure::Timeout),
    }
}
