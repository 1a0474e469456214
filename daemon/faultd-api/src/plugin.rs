//! Plugins: what there is, what one may do, and how a schedule behaves before anybody is hurt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fault::Direction;

/// One plugin in the daemon's directory, or one that was handed over.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PluginStatus {
    /// Its name, which is that of its file without `.wasm`.
    pub name: String,
    /// `schedule` or `driver`; empty where that is not known.
    #[serde(default)]
    pub world: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// What it does, in one line.
    #[serde(default)]
    pub summary: String,
    /// Size of the component, in bytes.
    pub bytes: u64,
    /// Why it cannot be used; missing for one that can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Everything that can be known of a plugin without running it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PluginReport {
    /// What it is.
    pub plugin: PluginStatus,
    /// The interfaces that it wants of the host.
    #[serde(default)]
    pub imports: Vec<String>,
    /// What it may use, propose and reach, the operator's policy included: name and value, for people.
    #[serde(default)]
    pub limits: BTreeMap<String, String>,
    /// The kinds of operations of a driver.
    #[serde(default)]
    pub operations: Vec<String>,
    /// The settings that it knows.
    #[serde(default)]
    pub settings: Vec<SettingStatus>,
}

/// One setting of a plugin.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SettingStatus {
    /// Its name.
    pub name: String,
    /// What it is, in one line.
    pub summary: String,
    /// What holds where it is not given; missing where it has to be given or nothing holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// A dry run: what `CheckPlugin` takes. The fault is what a schedule is asked to play, on a simulated cluster of
/// three members, `node0` to `node2`.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CheckRequest {
    /// Length of the dry run, in nanoseconds.
    pub duration_ns: u64,
    /// When the fault begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_at_ns: Option<u64>,
    /// How long it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_for_ns: Option<u64>,
    /// Whom the fault is for.
    pub target: String,
    /// Packets concerned.
    pub direction: Direction,
    /// Delay, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ns: Option<u64>,
    /// Share of the packets that are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_ratio: Option<f64>,
    /// Settings of the plugin.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Seed of its random numbers.
    pub seed: u64,
}

impl Default for CheckRequest {
    fn default() -> Self {
        Self {
            duration_ns: 60_000_000_000,
            inject_at_ns: None,
            hold_for_ns: None,
            target: "leader".to_owned(),
            direction: Direction::default(),
            delay_ns: None,
            loss_ratio: None,
            settings: BTreeMap::new(),
            seed: 1,
        }
    }
}

/// What `CheckPlugin` answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckReport {
    /// What the plugin is and may do.
    pub report: PluginReport,
    /// What is wrong with it; empty if nothing is.
    #[serde(default)]
    pub problems: Vec<String>,
    /// What a schedule did in the dry run; missing for a driver, and where it could not begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRun>,
}

/// What a schedule did in a dry run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DryRun {
    /// Its length, in nanoseconds: that of the request, or less if the schedule ended it.
    pub duration_ns: u64,
    /// How often it was asked.
    pub decisions: u64,
    /// What held from when on, one for each change, in order of time.
    #[serde(default)]
    pub changes: Vec<DryChange>,
    /// What it found out, in words.
    #[serde(default)]
    pub findings: Vec<String>,
}

/// What holds from a time of a dry run on.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DryChange {
    /// Nanoseconds since the start.
    pub at_ns: u64,
    /// All rules that hold.
    #[serde(default)]
    pub active: Vec<DryRule>,
}

/// One rule of a dry run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DryRule {
    /// The target as the schedule named it.
    pub target: String,
    /// `egress`, `ingress` or `both`.
    pub direction: String,
    /// How much of the fault that was asked for, 0 to 1 (more if the schedule went beyond it).
    pub severity: f64,
    /// What it does, in words.
    pub text: String,
}

/// What `ReplayTranscript` answers: whether a recorded run's schedule decides the same again.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplayReport {
    /// The schedule.
    pub schedule: String,
    /// How many decisions were made again.
    pub decisions: u64,
    /// The first decision that came out otherwise, in words; missing if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}
