//! `cluster.toml`: what a lab is made of. Pure: text in, checked description out.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Duration,
};

use faultd_api::units::parse_duration;
use serde::Deserialize;

/// The longest name of a lab or member: names become interface names (15 bytes in Linux,
/// `IFNAMSIZ` in `include/uapi/linux/if.h`) and parts of namespace names.
const LONGEST_NAME: usize = 12;
/// A lab with more hosts than this is a mistake, not an experiment.
const MOST_MEMBERS: usize = 50;
/// The last address of a /24, for the switch.
const SWITCH_HOST: u8 = 254;
/// Stands for a member's own directory.
const DATA: &str = "{data}";
/// Stands for the description's directory.
const FOLDER: &str = "{folder}";

/// Why a text is no description of a lab.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// Not TOML, or not these keys.
    #[error("the cluster description cannot be read: {}", one_line(.0))]
    Toml(#[from] toml::de::Error),
    /// A name that cannot be an interface or a part of a path.
    #[error(
        "'{0}' cannot be a name here: use 1 to {LONGEST_NAME} of a-z, 0-9 and -, beginning with a letter"
    )]
    Name(String),
    /// A lab's hosts are named after it, which must not mean something else.
    #[error("no lab can be named '{0}': '{0}/…' names other targets; use --name for another one")]
    ReservedName(String),
    /// No members, too many, or one name twice.
    #[error("a lab has 1 to {MOST_MEMBERS} members with different names")]
    Members,
    /// Not an IPv4 network of length 24.
    #[error("'{0}' is no subnet for a lab: write it as in 10.213.0.0/24")]
    Subnet(String),
    /// The command is empty.
    #[error("[member] command is empty")]
    Command,
    /// `{folder}` stands for nothing.
    #[error("the description uses {{folder}}, its own directory: give it as a full path (folder)")]
    NoFolder,
    /// A duration that cannot be read.
    #[error("ready_within: {0}")]
    ReadyWithin(#[from] faultd_api::units::UnitError),
}

/// Where the members keep their data.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// On a tmpfs, gone with the lab.
    #[default]
    Memory,
    /// Below the daemon's state directory.
    Disk,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    driver: String,
    members: Vec<String>,
    subnet: String,
    client_port: u16,
    #[serde(default)]
    ready_within: Option<String>,
    #[serde(default)]
    storage: Storage,
    member: MemberTemplate,
    /// The same cluster in containers: no business of a lab, `faultctl run --cluster FOLDER` reads it.
    #[serde(default, rename = "containers")]
    _containers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberTemplate {
    command: Vec<String>,
    /// What is added to the command of all members but the first.
    #[serde(default)]
    others: Vec<String>,
    #[serde(default)]
    peer: String,
    #[serde(default)]
    install: Option<String>,
}

/// A checked lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDescription {
    /// Its name.
    pub name: String,
    /// The driver plugin that speaks to it.
    pub driver: String,
    /// Address of the switch, from which clients connect.
    pub switch_address: IpAddr,
    /// Length of the network's prefix.
    pub prefix_length: u8,
    /// How long it may take until it serves.
    pub ready_within: Duration,
    /// Where the members keep their data.
    pub storage: Storage,
    /// How to get the program that the members run.
    pub install: Option<String>,
    /// Its hosts.
    pub members: Vec<MemberDescription>,
}

/// A checked host of a lab; `{data}` and `{folder}` in the command are still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Port for clients.
    pub client_port: u16,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// The directories that a command may name.
#[derive(Debug, Clone, Copy)]
pub struct Directories<'a> {
    /// `{data}`: the member's own.
    pub data: &'a Path,
    /// `{folder}`: the description's, where it is known.
    pub folder: Option<&'a str>,
}

impl MemberDescription {
    /// Program and arguments, with no placeholder left in them.
    ///
    /// # Errors
    /// When they name the description's directory, which is not known.
    pub fn command_in(&self, directories: Directories<'_>) -> Result<Vec<String>, DescriptionError> {
        let data = directories.data.to_string_lossy();
        let folder = directories.folder.filter(|folder| Path::new(folder).is_absolute());
        let filled_in = |word: &String| {
            let word = word.replace(DATA, &data);
            match folder {
                Some(folder) => Ok(word.replace(FOLDER, folder)),
                None if word.contains(FOLDER) => Err(DescriptionError::NoFolder),
                None => Ok(word),
            }
        };
        self.command.iter().map(filled_in).collect()
    }
}

impl LabDescription {
    /// Reads a `cluster.toml`, under another name if one is given.
    ///
    /// # Errors
    /// When the text is not TOML of the right keys, or a value cannot be right.
    pub fn parse(text: &str, name: Option<&str>) -> Result<Self, DescriptionError> {
        let document: Document = toml::from_str(text)?;
        let name = checked_name(name.unwrap_or(&document.name))?;
        if crate::target::is_kind(&name) {
            return Err(DescriptionError::ReservedName(name));
        }
        let network = parse_subnet(&document.subnet)?;
        let members = members(&document, &name, network)?;
        Ok(Self {
            name,
            driver: document.driver,
            switch_address: host_address(network, SWITCH_HOST),
            prefix_length: 24,
            ready_within: document
                .ready_within
                .as_deref()
                .map_or(Ok(Duration::from_secs(30)), parse_duration)?,
            storage: document.storage,
            install: document.member.install,
            members,
        })
    }
}

fn members(
    document: &Document,
    lab: &str,
    network: [u8; 3],
) -> Result<Vec<MemberDescription>, DescriptionError> {
    let mut names = document.members.iter().map(|name| checked_name(name)).collect::<Result<Vec<_>, _>>()?;
    let count = names.len();
    names.sort();
    names.dedup();
    if names.is_empty() || count > MOST_MEMBERS || names.len() != count {
        return Err(DescriptionError::Members);
    }
    if document.member.command.first().is_none_or(String::is_empty) {
        return Err(DescriptionError::Command);
    }
    let hosts: Vec<(String, IpAddr)> = (1..)
        .zip(&document.members)
        .map(|(host, name)| (name.clone(), host_address(network, host)))
        .collect();
    let peers: Vec<String> =
        hosts.iter().map(|(name, address)| fill_in(&document.member.peer, name, *address)).collect();
    let peers = peers.join(",");
    let first = host_address(network, 1).to_string();
    Ok((0..)
        .zip(hosts)
        .map(|(number, (name, address))| {
            let fill = |word: &String| {
                let word = fill_in(word, &name, address).replace("{peers}", &peers);
                let word = word.replace("{lab}", lab).replace("{first}", &first);
                word.replace("{number}", &number.to_string()).replace("{count}", &count.to_string())
            };
            let MemberTemplate { command, others, .. } = &document.member;
            let others: &[String] = if number == 0 { &[] } else { others };
            let command = command.iter().chain(others).map(fill).collect();
            MemberDescription { command, name, address, client_port: document.client_port }
        })
        .collect())
}

fn fill_in(text: &str, member: &str, address: IpAddr) -> String {
    text.replace("{member}", member).replace("{address}", &address.to_string())
}

fn checked_name(name: &str) -> Result<String, DescriptionError> {
    let fits = (1..=LONGEST_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits { Ok(name.to_owned()) } else { Err(DescriptionError::Name(name.to_owned())) }
}

fn parse_subnet(text: &str) -> Result<[u8; 3], DescriptionError> {
    let wrong = || DescriptionError::Subnet(text.to_owned());
    let address = text.strip_suffix("/24").ok_or_else(wrong)?;
    let [a, b, c, host] = address.parse::<Ipv4Addr>().map_err(|_| wrong())?.octets();
    if host == 0 { Ok([a, b, c]) } else { Err(wrong()) }
}

fn host_address([a, b, c]: [u8; 3], host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, host))
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../../workloads/etcd/cluster.toml");

    #[test]
    fn the_shipped_etcd_lab_has_three_members_that_know_each_other() {
        let lab = LabDescription::parse(SHIPPED, None).unwrap();
        assert_eq!((lab.name.as_str(), lab.driver.as_str(), lab.members.len()), ("etcd", "etcd-kv", 3));
        let first = &lab.members[0];
        assert_eq!(first.address.to_string(), "10.213.0.1");
        let peers = "--initial-cluster=etcd0=http://10.213.0.1:2380,etcd1=http://10.213.0.2:2380,etcd2=http://10.213.0.3:2380";
        assert!(first.command.contains(&peers.to_owned()), "{:?}", first.command);
    }

    #[test]
    fn a_second_lab_of_the_same_description_has_its_own_name() {
        let lab = LabDescription::parse(SHIPPED, Some("other")).unwrap();
        assert_eq!(lab.name, "other");
        assert!(lab.members[0].command.contains(&"--initial-cluster-token=faultd-other".to_owned()));
    }

    #[test]
    fn in_the_shipped_redis_lab_all_follow_the_first() {
        let shipped = include_str!("../../../../workloads/redis/cluster.toml");
        let lab = LabDescription::parse(shipped, None).unwrap();
        let follows =
            |member: &MemberDescription| member.command.iter().position(|word| word == "--replicaof");
        assert_eq!((lab.driver.as_str(), lab.members.len()), ("redis", 3));
        assert_eq!(follows(&lab.members[0]), None);
        for member in &lab.members[1..] {
            let whom = follows(member).unwrap() + 1;
            assert_eq!(member.command[whom], lab.members[0].address.to_string());
        }
    }

    #[test]
    fn the_shipped_cassandra_lab_runs_a_script_beside_its_description() {
        let shipped = include_str!("../../../../workloads/cassandra/cluster.toml");
        let lab = LabDescription::parse(shipped, None).unwrap();
        let data = Path::new("/data/cassandra-b");
        let in_folder = |folder| lab.members[1].command_in(Directories { data, folder });
        let command = in_folder(Some("/workloads/cassandra")).unwrap();
        let first = lab.members[0].address.to_string();
        let own = lab.members[1].address.to_string();
        let words = ["/workloads/cassandra/member.sh", "1", "3", &own, &first, "/data/cassandra-b"];
        assert_eq!(command, words);
        for unknown in [None, Some("workloads/cassandra")] {
            assert!(matches!(in_folder(unknown), Err(DescriptionError::NoFolder)), "{unknown:?}");
        }
    }

    #[test]
    fn what_cannot_be_right_is_refused_in_one_line() {
        let wrong = |from: &str, to: &str| {
            let text = LabDescription::parse(&SHIPPED.replace(from, to), None).unwrap_err().to_string();
            assert!(!text.contains('\n'), "{text}");
            text
        };
        assert!(wrong("name = \"etcd\"", "name = \"../etcd\"").contains("cannot be a name"));
        assert!(wrong("name = \"etcd\"", "name = \"netns\"").contains("names other targets"));
        assert!(wrong("\"etcd1\", ", "\"etcd0\", ").contains("different names"));
        assert!(wrong("10.213.0.0/24", "10.213.0.0/16").contains("no subnet"));
        assert!(wrong("client_port", "clinet_port").contains("clinet_port"));
        assert!(wrong("30s", "-30s").contains("ready_within"));
    }
}
