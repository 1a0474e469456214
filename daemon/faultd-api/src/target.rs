//! What can be named as a target.

use serde::{Deserialize, Serialize};

/// One thing that a fault can be applied to.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TargetStatus {
    /// The name to use: `etcd/etcd0` for a lab host, `netns/NAME` for a named namespace, `interface/NAME`
    /// for an interface of the host, or the container's name.
    pub name: String,
    /// `lab`, `docker`, `podman`, `netns` or `interface`.
    pub kind: String,
    /// Of a container: the beginning of its id.
    #[serde(default)]
    pub id: Option<String>,
    /// Of a container: `running`, `paused`, `exited` ...
    #[serde(default)]
    pub state: Option<String>,
    /// Of a container that compose made: its project and service, as in `shop/database`.
    #[serde(default)]
    pub service: Option<String>,
    /// Of a container: its labels, but for those that tools keep for themselves, as in `tier=front`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Of a container: its image, as it was asked for.
    #[serde(default)]
    pub image: Option<String>,
    /// Addresses, without prefix length.
    pub addresses: Vec<String>,
    /// The interface, or interfaces, at which its packets would be caught.
    pub interface: Option<String>,
    /// What carries out faults on it, where they can be: `ebpf`, or `ebpf+relay` with what holds packets back.
    #[serde(default)]
    pub backend: Option<String>,
    /// Why no fault can be applied to it, when that is so.
    pub problem: Option<String>,
}

/// How many of the targets that selectors fit are wanted.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SelectRequest {
    /// That many, chosen at random; all when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random: Option<u64>,
    /// Seed of the choice; chosen and shown when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// The targets that selectors fit.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SelectedTargets {
    /// Their full names, each once.
    pub targets: Vec<String>,
    /// Of how many they were chosen.
    pub among: u64,
    /// The seed of the choice, where there was one.
    pub seed: Option<u64>,
}
