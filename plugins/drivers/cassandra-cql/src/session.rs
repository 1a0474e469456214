//! One connection to a member, from its first request to the prepared statements.

use std::ops::Range;

use bytes::Bytes;
use faultd_plugin_sdk::driver::Failure;
use faultd_plugin_sdk::stream::Stream;
use scylla_cql::Consistency;

use crate::answers::{self, Answer, HEAD_BYTES};
use crate::failures::Trouble;
use crate::options::Login;
use crate::requests;

const WRITE: &str = "INSERT INTO faultd.records (key, value) VALUES (?, ?)";
const READ: &str = "SELECT value FROM faultd.records WHERE key = ?";
const SCHEMA_VERSION: &str = "SELECT schema_version FROM system.local WHERE key = 'local'";

/// What carries the bytes: a stream of the host, or a script in tests.
pub trait Wire {
    /// Writes all of it.
    ///
    /// # Errors
    /// As those of the host's streams.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure>;

    /// The next `count` bytes.
    ///
    /// # Errors
    /// As those of the host's streams.
    fn read_exact(&mut self, count: usize) -> Result<Vec<u8>, Failure>;
}

impl Wire for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Self::write(self, bytes)
    }

    fn read_exact(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        Self::read_exact(self, count).map(<[u8]>::to_vec)
    }
}

/// A connection that a member has accepted.
pub struct Session<W> {
    wire: W,
    /// Missing until they are needed: the table need not be there yet.
    statements: Option<Statements>,
}

/// Names that the member has given to our statements.
#[derive(Clone)]
struct Statements {
    write: Bytes,
    read: Bytes,
}

impl<W: Wire> Session<W> {
    /// Begins to speak on a connection.
    ///
    /// # Errors
    /// The member does not answer, or does not let this client in.
    pub fn begin(wire: W, login: Option<&Login>) -> Result<Self, Trouble> {
        let mut session = Self { wire, statements: None };
        match session.ask(requests::startup())? {
            Answer::Ready => Ok(session),
            Answer::Authenticate => session.log_in(login),
            other => Err(unexpected(&other)),
        }
    }

    /// Does a statement that has no rows, and says whether it has changed the schema.
    ///
    /// # Errors
    /// The member cannot be asked, or says no.
    pub fn change(&mut self, statement: &str) -> Result<bool, Trouble> {
        match self.ask(requests::query(statement))? {
            Answer::SchemaChange => Ok(true),
            Answer::Done => Ok(false),
            other => Err(unexpected(&other)),
        }
    }

    /// Which version of the schema the member has.
    ///
    /// # Errors
    /// The member cannot be asked, or says something else.
    pub fn schema_version(&mut self) -> Result<Vec<u8>, Trouble> {
        match self.ask(requests::query(SCHEMA_VERSION))? {
            Answer::Rows(rows) => answers::first_uuid(&rows).map_err(Trouble::nonsense),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes one key.
    ///
    /// # Errors
    /// The member cannot be asked, or says no.
    pub fn write(&mut self, consistency: Consistency, key: u64, value: &[u8]) -> Result<(), Trouble> {
        let key = key_text(key);
        self.execute(|statements| requests::execute(&statements.write, consistency, &key, Some(value), 0))
    }

    /// Reads one key. One that was never written has no row, which is an answer as well.
    ///
    /// # Errors
    /// The member cannot be asked, or says no.
    pub fn read(&mut self, consistency: Consistency, key: u64) -> Result<(), Trouble> {
        let key = key_text(key);
        self.execute(|statements| requests::execute(&statements.read, consistency, &key, None, 0))
    }

    /// Writes some keys at once: all requests, then all answers. The keys are few enough for the numbers of
    /// streams.
    ///
    /// # Errors
    /// As those of [`Self::write`], for the first answer that is an error.
    pub fn write_many(
        &mut self,
        consistency: Consistency,
        keys: Range<u64>,
        value: &[u8],
    ) -> Result<(), Trouble> {
        let statement = self.statements()?.write;
        let mut bytes = Vec::new();
        let mut count = 0_i16;
        for key in keys {
            let request = requests::execute(&statement, consistency, &key_text(key), Some(value), count);
            bytes.extend(request.map_err(Trouble::Refused)?);
            count = count.saturating_add(1);
        }
        self.wire.write(&bytes)?;
        let mut first_trouble = None;
        for _ in 0..count {
            match self.answer(0..count) {
                Err(Trouble::Broken(failure)) => return Err(Trouble::Broken(failure)),
                Err(trouble) => first_trouble = first_trouble.or(Some(trouble)),
                Ok(_) => {}
            }
        }
        if let Some(Trouble::Unprepared) = first_trouble {
            self.statements = None;
        }
        first_trouble.map_or(Ok(()), Err)
    }

    /// Waits until the time limit of an operation is over. A plugin has no clock: all that it can do is to
    /// wait for an answer to nothing. The connection is spent then.
    pub fn pause(mut self) {
        // Whatever comes, an event or the end of the connection, is of no interest.
        drop(self.wire.read_exact(1));
    }

    fn log_in(mut self, login: Option<&Login>) -> Result<Self, Trouble> {
        let Some(login) = login else {
            return Err(Trouble::nonsense(
                "the member wants to know who asks: give the settings user and password".to_owned(),
            ));
        };
        match self.ask(requests::plain_login(login))? {
            Answer::Ready => Ok(self),
            other => Err(unexpected(&other)),
        }
    }

    /// Does a prepared statement. A member forgets statements when their table is made anew, and may do so when
    /// it has too many; then they are prepared once more, as part of the same operation.
    fn execute(
        &mut self,
        request: impl Fn(&Statements) -> Result<Vec<u8>, requests::Unwritable>,
    ) -> Result<(), Trouble> {
        let statements = self.statements()?;
        let answer = match self.ask(request(&statements)) {
            Err(Trouble::Unprepared) => {
                self.statements = None;
                let statements = self.statements()?;
                self.ask(request(&statements))
            }
            other => other,
        };
        match answer? {
            Answer::Done | Answer::Rows(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn statements(&mut self) -> Result<Statements, Trouble> {
        if let Some(statements) = &self.statements {
            return Ok(statements.clone());
        }
        let statements = Statements { write: self.prepare(WRITE)?, read: self.prepare(READ)? };
        self.statements = Some(statements.clone());
        Ok(statements)
    }

    fn prepare(&mut self, statement: &str) -> Result<Bytes, Trouble> {
        match self.ask(requests::prepare(statement))? {
            Answer::Prepared(id) => Ok(id),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes a request and waits for its answer.
    fn ask(&mut self, request: Result<Vec<u8>, requests::Unwritable>) -> Result<Answer, Trouble> {
        self.wire.write(&request.map_err(Trouble::Refused)?)?;
        self.answer(0..1)
    }

    /// The next answer to one of the requests with these numbers.
    fn answer(&mut self, asked: Range<i16>) -> Result<Answer, Trouble> {
        loop {
            let head = answers::head(&self.wire.read_exact(HEAD_BYTES)?).map_err(Trouble::nonsense)?;
            let body = self.wire.read_exact(head.length)?;
            // Events have negative numbers. Nobody has asked for any, and yet they are no reason to stop.
            if head.stream < 0 {
                continue;
            }
            if !asked.contains(&head.stream) {
                return Err(Trouble::nonsense(format!(
                    "an answer to request {}, which is none",
                    head.stream
                )));
            }
            return match answers::answer(&head, body).map_err(Trouble::nonsense)? {
                Answer::Error(error) => Err(error.into()),
                answer => Ok(answer),
            };
        }
    }
}

/// Keys have one length, so that every operation costs the same.
fn key_text(key: u64) -> String {
    format!("{key:012}")
}

fn unexpected(answer: &Answer) -> Trouble {
    let kind = match answer {
        Answer::Error(_) => "an error",
        Answer::Ready => "READY",
        Answer::Authenticate => "AUTHENTICATE",
        Answer::Prepared(_) => "a prepared statement",
        Answer::Rows(_) => "rows",
        Answer::SchemaChange => "a change of the schema",
        Answer::Done => "a result without rows",
        Answer::Unexpected => "something",
    };
    Trouble::nonsense(format!("the member has answered with {kind} that was not asked for"))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
