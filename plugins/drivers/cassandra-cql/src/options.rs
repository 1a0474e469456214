//! The settings of this driver, as the user writes them.

use faultd_plugin_sdk::settings;
use scylla_cql::Consistency;

/// The settings that there are.
const KNOWN: [&str; 5] = ["consistency", "datacenter", "password", "replication-factor", "user"];
/// How many copies there are if nothing is said and the cluster has as many members.
const USUAL_COPIES: usize = 3;

/// What the user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many replicas must have answered before a write counts as done.
    pub write_consistency: Consistency,
    /// How many replicas must have answered before a read counts as done.
    pub read_consistency: Consistency,
    /// How the keyspace is replicated, as the value of CQL's `replication`.
    pub replication: String,
    /// Who the clients are, where the cluster wants to know.
    pub login: Option<Login>,
}

/// A role of the cluster, for its PasswordAuthenticator.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    /// Without the password, so that it comes into no log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Login({:?})", self.user)
    }
}

impl Options {
    /// Reads the settings for a cluster of `members`.
    ///
    /// # Errors
    /// One line about the first setting that is wrong.
    pub fn read(written: &[(String, String)], members: usize) -> Result<Self, String> {
        let [consistency, datacenter, password, copies, user] = settings::read(written, KNOWN)?;
        let (write_consistency, read_consistency) = consistencies(consistency.as_deref())?;
        let copies = copies_of(copies.as_deref(), members)?;
        let login = login(user, password)?;
        let replication = replication(copies, datacenter.as_deref());
        Ok(Self { write_consistency, read_consistency, replication, login })
    }
}

/// The levels for writes and for reads. The default is that of cassandra-stress.
fn consistencies(written: Option<&str>) -> Result<(Consistency, Consistency), String> {
    let both = |level| Ok((level, level));
    match written.unwrap_or("local_one") {
        // A write may count as done before any replica has it; of reads there is no such thing.
        "any" => Ok((Consistency::Any, Consistency::One)),
        "one" => both(Consistency::One),
        "two" => both(Consistency::Two),
        "three" => both(Consistency::Three),
        "quorum" => both(Consistency::Quorum),
        "all" => both(Consistency::All),
        "local_quorum" => both(Consistency::LocalQuorum),
        "local_one" => both(Consistency::LocalOne),
        other => Err(format!(
            "setting consistency is any, one, two, three, quorum, all, local_quorum or local_one, not {other:?}"
        )),
    }
}

fn copies_of(written: Option<&str>, members: usize) -> Result<usize, String> {
    let Some(written) = written else { return Ok(members.clamp(1, USUAL_COPIES)) };
    let copies = written.trim().parse().ok().filter(|copies| *copies > 0);
    copies
        .ok_or_else(|| format!("setting replication-factor is a whole number of at least 1, not {written:?}"))
}

fn login(user: Option<String>, password: Option<String>) -> Result<Option<Login>, String> {
    match (user, password) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => Ok(Some(Login { user, password })),
        _ => Err("settings user and password go together".to_owned()),
    }
}

fn replication(copies: usize, datacenter: Option<&str>) -> String {
    match datacenter {
        None => format!("{{'class': 'SimpleStrategy', 'replication_factor': {copies}}}"),
        Some(name) => {
            // A quote within a text is written twice in CQL.
            let name = name.replace('\'', "''");
            format!("{{'class': 'NetworkTopologyStrategy', '{name}': {copies}}}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &[(&str, &str)], members: usize) -> Result<Options, String> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Options::read(&written.iter().map(pair).collect::<Vec<_>>(), members)
    }

    #[test]
    fn without_settings_reads_and_writes_are_those_of_cassandra_stress() {
        let options = read(&[], 5).unwrap();
        assert_eq!(options.write_consistency, Consistency::LocalOne);
        assert_eq!(options.read_consistency, Consistency::LocalOne);
        assert_eq!(options.login, None);
    }

    #[test]
    fn a_small_cluster_has_fewer_copies() {
        let copies = |members| read(&[], members).unwrap().replication;
        assert_eq!(copies(1), "{'class': 'SimpleStrategy', 'replication_factor': 1}");
        assert_eq!(copies(2), "{'class': 'SimpleStrategy', 'replication_factor': 2}");
        assert_eq!(copies(9), "{'class': 'SimpleStrategy', 'replication_factor': 3}");
    }

    #[test]
    fn a_datacenter_is_quoted() {
        let options = read(&[("datacenter", "o'hare"), ("replication-factor", "2")], 3).unwrap();
        assert_eq!(options.replication, "{'class': 'NetworkTopologyStrategy', 'o''hare': 2}");
    }

    #[test]
    fn any_is_for_writes_only() {
        let options = read(&[("consistency", "any")], 3).unwrap();
        assert_eq!(options.write_consistency, Consistency::Any);
        assert_eq!(options.read_consistency, Consistency::One);
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line() {
        let told = |written: &[(&str, &str)]| read(written, 3).unwrap_err();
        assert!(told(&[("consistency", "most")]).contains("local_quorum or local_one, not \"most\""));
        assert!(told(&[("replication-factor", "0")]).contains("at least 1"));
        assert!(told(&[("replication-factor", "x")]).contains("\"x\""));
        assert!(told(&[("user", "u")]).contains("go together"));
        assert!(told(&[("users", "u")]).contains("known are consistency, datacenter, password"));
    }
}
