//! Labs: clusters that the daemon itself starts in network namespaces.

use serde::{Deserialize, Serialize};

/// What `LabUp` takes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LabRequest {
    /// The text of the `cluster.toml`.
    pub description: String,
    /// Another name than the description's, so that two labs of one description can be up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The directory that `{folder}` in the description stands for: where its scripts are, as a full path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

/// A lab and its members.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// The driver plugin that speaks to the cluster.
    pub driver: String,
    /// `serving`, `degraded` (some member is down or nobody leads) or `down`.
    pub state: String,
    /// The namespace of the lab's switch, as `ip netns` shows it.
    pub namespace: String,
    /// Its hosts.
    pub members: Vec<MemberStatus>,
}

/// One host of a lab.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MemberStatus {
    /// Its name: `etcd0`.
    pub name: String,
    /// Its address inside of the lab.
    pub address: String,
    /// Where clients connect to.
    pub endpoint: String,
    /// `leader`, `follower` or `unknown`.
    pub role: String,
    /// `running` or how it ended.
    pub process: String,
    /// Process id.
    pub pid: u64,
    /// Its namespace, as `ip netns` shows it.
    pub namespace: String,
    /// The file with everything that it printed.
    pub log: String,
}
