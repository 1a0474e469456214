//! What this kernel and host can do: the reply of `Doctor`.

use serde::{Deserialize, Serialize};

/// The whole report.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct DoctorReport {
    /// Version of the daemon.
    pub version: String,
    /// Release of the running kernel, as `uname -r` says it.
    pub kernel: String,
    /// What was tried on this host, and what came of it.
    pub checks: Vec<Check>,
    /// Which backend a rule gets when nobody asks for one, and why.
    pub choices: Vec<Choice>,
    /// What the start of the daemon found of an earlier life and removed.
    pub recovered: Vec<String>,
    /// What is there now and should not be.
    pub leftovers: Vec<String>,
}

/// One thing that was tried.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Check {
    /// What was tried: `tcx`, `tap`, `sch_fq`, `docker` ...
    pub name: String,
    /// `ok`, `missing` or `failed`.
    pub state: String,
    /// What was found, or why not and what to do.
    pub detail: String,
}

/// The backend for one kind of need.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Choice {
    /// `loss` or `delay`.
    pub fault: String,
    /// The backend's name, or `none`.
    pub backend: String,
    /// Why this one.
    pub reason: String,
}
