//! The driver `cassandra-cql`: writes, reads or a mix of both on a Cassandra cluster, in version 4 of its native
//! protocol (Cassandra 2.2 and later, ScyllaDB). Settings and what else there is to know are in its README.
//!
//! Cassandra has no leader: each client's coordinator is the member that serves it, and roles are unknown.

mod answers;
mod failures;
mod options;
mod requests;
mod session;

use faultd_plugin_sdk::driver::{Driver, Failure, Operation, Outcome, Role, Settings, outcome, text};
use faultd_plugin_sdk::random::Random;
use faultd_plugin_sdk::stream::Stream;
use faultd_plugin_sdk::{Level, export_driver, log};

use failures::Trouble;
use options::Options;
use session::Session;

/// What is written is not compressed, so that the members store as many bytes as they are given: all values are
/// alike and would shrink to nothing.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS faultd.records (key text PRIMARY KEY, value blob) \
                     WITH compression = {'enabled': false}";

/// How often something is tried that may be done twice, as a member may be slow to change its schema.
const ATTEMPTS: u32 = 5;
/// How often the members are asked for the versions of their schemas before there is a pause, and how often
/// there is one.
const LOOKS: u32 = 100;
const PAUSES: u32 = 5;
/// Keys that are written at once, at most, and their bytes, so that neither the member nor the host has to
/// hold much.
const KEYS_AT_ONCE: u64 = 64;
const BYTES_AT_ONCE: u64 = 1 << 20;

/// One client.
struct CassandraClient {
    member_count: u32,
    serving: u32,
    options: Options,
    /// Every write has the same value: Cassandra keeps each as a new one anyway.
    value: Vec<u8>,
    session: Option<Session<Stream>>,
}

export_driver!(CassandraClient);

impl Driver for CassandraClient {
    fn start(settings: Settings) -> Result<Self, String> {
        Ok(Self {
            member_count: u32::try_from(settings.members.len()).map_err(|error| error.to_string())?,
            serving: settings.serving,
            options: Options::read(&settings.settings, settings.members.len())?,
            value: random_value(&mut Random::from_host(), settings.value_bytes),
            session: None,
        })
    }

    fn prepare(&mut self) -> Result<(), String> {
        let replication = self.options.replication.clone();
        let is_new = self.insist(|session| {
            session.change(&format!("CREATE KEYSPACE IF NOT EXISTS faultd WITH replication = {replication}"))
        })?;
        if !is_new {
            // An earlier run may have wished for something else.
            self.insist(|session| {
                session.change(&format!("ALTER KEYSPACE faultd WITH replication = {replication}"))
            })?;
        }
        self.insist(|session| session.change(TABLE))?;
        self.wait_for_agreement()
    }

    fn fill(&mut self, first: u64, count: u64) -> Result<(), String> {
        let bytes = u64::try_from(self.value.len()).unwrap_or(u64::MAX).max(1);
        let at_once = (BYTES_AT_ONCE / bytes).clamp(1, KEYS_AT_ONCE);
        let (consistency, value) = (self.options.write_consistency, self.value.clone());
        let end = first.saturating_add(count);
        let mut next = first;
        while next < end {
            let until = next.saturating_add(at_once).min(end);
            let keys = next..until;
            self.insist(|session| session.write_many(consistency, keys.clone(), &value))
                .map_err(|error| format!("keys {next} to {}: {error}", until - 1))?;
            next = until;
        }
        Ok(())
    }

    fn operate(&mut self, Operation { key, reads }: Operation) -> Outcome {
        let (kind, result) = if reads {
            let consistency = self.options.read_consistency;
            ("read", self.with_session(|session, _| session.read(consistency, key)))
        } else {
            let consistency = self.options.write_consistency;
            ("write", self.with_session(|session, value| session.write(consistency, key, value)))
        };
        outcome(kind, result)
    }

    fn roles(&mut self) -> Result<Vec<Role>, String> {
        // All members are alike, whether they are up or not.
        Ok((0..self.member_count).map(|_| Role::Unknown).collect())
    }

    fn clean(&mut self) -> Result<(), String> {
        self.insist(|session| session.change("DROP KEYSPACE IF EXISTS faultd")).map(drop)
    }
}

impl CassandraClient {
    /// Does something on the connection to the serving member, which is opened where there is none.
    fn with_session<T>(
        &mut self,
        work: impl FnOnce(&mut Session<Stream>, &[u8]) -> Result<T, Trouble>,
    ) -> Result<T, Failure> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect(self.serving).map_err(Trouble::into_failure)?,
        };
        let result = work(&mut session, &self.value);
        if !matches!(result, Err(Trouble::Broken(_))) {
            self.session = Some(session);
        }
        result.map_err(Trouble::into_failure)
    }

    /// As [`Self::with_session`], but tries again what has failed.
    fn insist<T>(&mut self, work: impl Fn(&mut Session<Stream>) -> Result<T, Trouble>) -> Result<T, String> {
        let mut result = self.with_session(|session, _| work(session));
        for _ in 1..ATTEMPTS {
            if result.is_ok() {
                break;
            }
            result = self.with_session(|session, _| work(session));
        }
        result.map_err(|failure| text(&failure))
    }

    fn connect(&self, member: u32) -> Result<Session<Stream>, Trouble> {
        Session::begin(Stream::open(member)?, self.options.login.as_ref())
    }

    /// Waits until all members that answer have the schema of the serving one, so that each can be the
    /// coordinator of a client.
    fn wait_for_agreement(&mut self) -> Result<(), String> {
        let serving = self.serving;
        for member in (0..self.member_count).filter(|member| *member != serving) {
            if let Err(failure) = self.connect(member).map(drop) {
                let reason = text(&failure.into_failure());
                log(Level::Warning, &format!("member {member} is not waited for: {reason}"));
                continue;
            }
            self.wait_for_agreement_with(member)?;
        }
        Ok(())
    }

    fn wait_for_agreement_with(&mut self, member: u32) -> Result<(), String> {
        for _ in 0..PAUSES {
            let told = |trouble: Trouble| text(&trouble.into_failure());
            let mut other = self.connect(member).map_err(told)?;
            for _ in 0..LOOKS {
                let version = other.schema_version().map_err(told)?;
                let ours = self.insist(Session::schema_version)?;
                if version == ours {
                    return Ok(());
                }
            }
            other.pause();
        }
        Err(format!("member {member} and member {} do not agree on the schema", self.serving))
    }
}

/// Random, since the network or a disk may compress.
fn random_value(random: &mut Random, bytes: u32) -> Vec<u8> {
    let words = (0..bytes.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes());
    words.take(usize::try_from(bytes).unwrap_or(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_size_that_was_asked_for() {
        for bytes in [0, 1, 7, 8, 9, 1024] {
            let value = random_value(&mut Random::from_seed(1), bytes);
            assert_eq!(u32::try_from(value.len()), Ok(bytes));
        }
    }
}
