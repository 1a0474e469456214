//! Jobs: what takes time, and goes on while others ask for it.

use serde::{Deserialize, Serialize};

/// A job that goes on or has ended.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct JobStatus {
    /// Its id: `j1`, `j2` ...
    pub id: String,
    /// `lab-up` or `lab-down`.
    pub kind: String,
    /// The name of the lab, where it is known from the beginning.
    pub subject: String,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}
