//! What can be named as a target.

use serde::{Deserialize, Serialize};

/// One thing that a fault can be applied to.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct TargetStatus {
    /// The name to use: `etcd/etcd0` for a lab host, the container's name otherwise.
    pub name: String,
    /// `lab` or `docker`.
    pub kind: String,
    /// Addresses, without prefix length.
    pub addresses: Vec<String>,
    /// The host side interface that would be used.
    pub interface: Option<String>,
    /// Why no fault can be applied to it, when that is so.
    pub problem: Option<String>,
}
