//! The flags that say which cluster is meant: a lab, or containers that somebody else has brought up.

use std::{fs, path::Path};

use clap::Args;
use faultd_api::run::ContainerMembers;
use serde::Deserialize;

use crate::command_error::CommandError;

/// The file that describes a cluster, in a folder of its own.
const DESCRIPTION: &str = "cluster.toml";
const NO_CLUSTER: &str = "no cluster was named: give --cluster, such as a lab of 'faultctl lab status'";

/// One cluster.
#[derive(Debug, Args)]
pub(crate) struct ClusterFlags {
    /// The cluster under test: a lab, as `lab status` shows it; or containers that are up, by the folder of
    /// their cluster.toml (./etcd, workloads/etcd).
    #[arg(long)]
    cluster: Option<String>,
    /// Containers that are the members of the cluster, which is called as --cluster says: names, PROJECT/SERVICE
    /// of compose, label:KEY=VALUE, image:REF or re:REGEX.
    #[arg(long, num_args = 1.., value_name = "CONTAINER", requires_all = ["driver", "client_port"])]
    containers: Vec<String>,
    /// The driver plugin that speaks to these containers.
    #[arg(long, requires = "containers")]
    driver: Option<String>,
    /// The port where these containers serve clients.
    #[arg(long, value_name = "PORT", requires = "containers")]
    client_port: Option<u16>,
}

/// A cluster as a run names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedCluster {
    /// Its name.
    pub(crate) name: String,
    /// Its members, unless it is a lab.
    pub(crate) containers: Option<ContainerMembers>,
}

/// What a cluster.toml says of containers; the rest of it describes a lab.
#[derive(Debug, Deserialize)]
struct Description {
    name: String,
    driver: String,
    client_port: u16,
    #[serde(default)]
    containers: Vec<String>,
}

impl ClusterFlags {
    /// The cluster that is meant.
    ///
    /// # Errors
    /// [`CommandError::Usage`] when a description cannot be read or names no containers.
    pub(crate) fn named(self) -> Result<NamedCluster, CommandError> {
        let Self { cluster, containers: members, driver, client_port } = self;
        let name = cluster.ok_or_else(|| CommandError::Usage(NO_CLUSTER.to_owned()))?;
        match (driver, client_port) {
            (Some(driver), Some(client_port)) => {
                Ok(NamedCluster { name, containers: Some(ContainerMembers { members, driver, client_port }) })
            }
            _ if is_path(&name) => described(Path::new(&name)),
            _ => Ok(NamedCluster { name, containers: None }),
        }
    }
}

/// No lab has such a name.
fn is_path(name: &str) -> bool {
    name.contains('/') || name.starts_with('.')
}

fn described(path: &Path) -> Result<NamedCluster, CommandError> {
    let file = if path.is_dir() { path.join(DESCRIPTION) } else { path.to_path_buf() };
    let usage = |what: String| CommandError::Usage(format!("{}: {what}", file.display()));
    let text = fs::read_to_string(&file).map_err(|error| usage(error.to_string()))?;
    let Description { name, driver, client_port, containers: members } =
        toml::from_str(&text).map_err(|error| usage(error.message().to_owned()))?;
    if members.is_empty() {
        let lab = format!("'faultctl lab up {}' and --cluster {name}", path.display());
        return Err(usage(format!("it names no containers; for a lab write {lab}")));
    }
    Ok(NamedCluster { name, containers: Some(ContainerMembers { members, driver, client_port }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(cluster: &str) -> ClusterFlags {
        ClusterFlags {
            cluster: Some(cluster.to_owned()),
            containers: Vec::new(),
            driver: None,
            client_port: None,
        }
    }

    #[test]
    fn a_name_is_a_lab_and_a_folder_is_containers() {
        assert_eq!(flags("etcd").named().unwrap(), NamedCluster { name: "etcd".into(), containers: None });
        let workload = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workloads/etcd");
        let members = ["etcd0", "etcd1", "etcd2"].map(str::to_owned).into();
        let containers = Some(ContainerMembers { members, driver: "etcd-kv".into(), client_port: 2379 });
        assert_eq!(flags(workload).named().unwrap(), NamedCluster { name: "etcd".into(), containers });
    }

    #[test]
    fn containers_that_are_named_need_no_file() {
        let named = ClusterFlags {
            containers: vec!["label:app=etcd".into()],
            driver: Some("etcd-kv".into()),
            client_port: Some(2379),
            ..flags("mine")
        };
        let named = named.named().unwrap();
        assert_eq!((named.name.as_str(), named.containers.unwrap().members.len()), ("mine", 1));
    }

    #[test]
    fn what_cannot_be_read_is_told_in_one_line() {
        let refused = flags("./nowhere").named().unwrap_err().to_string();
        assert!(refused.starts_with("./nowhere: No such file"), "{refused}");
        assert!(!refused.contains('\n'), "{refused}");
    }
}
