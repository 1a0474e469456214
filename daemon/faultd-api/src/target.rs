//! What can be named as a target.

use serde::{Deserialize, Serialize};

/// One thing that a fault can be applied to.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct TargetStatus {
    /// The name to use: `etcd/etcd0` for a lab host, `netns/NAME` for a named namespace, `interface/NAME`
    /// for an interface of the host, or the container's name.
    pub name: String,
    /// `lab`, `docker`, `netns` or `interface`.
    pub kind: String,
    /// Addresses, without prefix length.
    pub addresses: Vec<String>,
    /// The interface, or interfaces, at which its packets would be caught.
    pub interface: Option<String>,
    /// Why no fault can be applied to it, when that is so.
    pub problem: Option<String>,
}
