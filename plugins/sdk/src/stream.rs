//! TCP to the members of the cluster, with what has come kept until it is wanted.

use crate::bindings::driver::faultd::plugin::streams::Connection;
use crate::driver::Failure;

/// How much is asked for at once, in bytes.
const READ_AT_MOST: u32 = 64 << 10;

/// A connection to one member that reads as much at a time as there is.
pub struct Stream {
    connection: Connection,
    buffer: Vec<u8>,
    /// How much of the buffer has been taken.
    taken: usize,
}

impl Stream {
    /// Connects to a member.
    ///
    /// # Errors
    /// It cannot be reached in time.
    pub fn open(member: u32) -> Result<Self, Failure> {
        Ok(Self { connection: Connection::open(member)?, buffer: Vec::new(), taken: 0 })
    }

    /// Writes all of `bytes`; the time limit of the operation begins here.
    ///
    /// # Errors
    /// The connection is broken, or the member takes nothing more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.connection.write(bytes)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// They do not come in time, or the connection is closed before.
    pub fn read_exact(&mut self, count: usize) -> Result<&[u8], Failure> {
        while self.buffered().len() < count {
            self.read_more()?;
        }
        let begin = self.taken;
        self.taken += count;
        Ok(self.buffer.get(begin..begin + count).unwrap_or_default())
    }

    /// The next line, without its end of `\r\n` or `\n`; a line of more than `longest` bytes is an error.
    ///
    /// # Errors
    /// It does not come in time, is too long, or the connection is closed before.
    pub fn read_line(&mut self, longest: usize) -> Result<Vec<u8>, Failure> {
        self.line(longest).map(<[u8]>::to_vec)
    }

    /// As [`Self::read_line`], without a copy.
    ///
    /// # Errors
    /// As those of [`Self::read_line`].
    pub fn line(&mut self, longest: usize) -> Result<&[u8], Failure> {
        let end = self.end_of_line(longest)?;
        let line = self.read_exact(end + 1)?;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Where the next `\n` is, once it has come.
    fn end_of_line(&mut self, longest: usize) -> Result<usize, Failure> {
        loop {
            if let Some(end) = self.buffered().iter().position(|byte| *byte == b'\n') {
                return Ok(end);
            }
            if self.buffered().len() > longest {
                return Err(Failure::Server(format!("a line is longer than {longest} bytes")));
            }
            self.read_more()?;
        }
    }

    fn buffered(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }

    fn read_more(&mut self) -> Result<(), Failure> {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.taken);
        }
        self.taken = 0;
        let more = self.connection.read(READ_AT_MOST)?;
        if self.buffer.is_empty() {
            self.buffer = more;
        } else {
            self.buffer.extend_from_slice(&more);
        }
        Ok(())
    }
}
