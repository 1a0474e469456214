//! What this kernel and host can do: the reply of `Doctor`.

use serde::{Deserialize, Serialize};

/// The whole report.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// What is wrong, or less than it could be; each with what to do.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Some faults cannot be had at all.
    Error,
    /// Something is missing, slower or less exact than it could be.
    Warning,
}

impl Severity {
    /// As it is written everywhere: `error` or `warning`.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Something that a person can put right.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub what: String,
    /// What to do, in one line: a command where there is one.
    pub fix: String,
}

impl Problem {
    /// Something without which faults cannot be had.
    #[must_use]
    pub fn error(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Error, what: what.into(), fix: fix.into() }
    }

    /// Something that could be better.
    #[must_use]
    pub fn warning(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), fix: fix.into() }
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Choice {
    /// `loss` or `delay`.
    pub fault: String,
    /// The backend's name, or `none`.
    pub backend: String,
    /// Why this one.
    pub reason: String,
}
