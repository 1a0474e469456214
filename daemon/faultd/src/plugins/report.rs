//! What can be said of a plugin without running it.

use std::collections::BTreeMap;

use faultd_api::plugin::{PluginReport, PluginStatus, SettingStatus};
use faultd_plugin_host::{
    DriverPlugin, PluginFacts, PluginLimits, SchedulePlugin,
    manifest::{self, FaultLimits, Manifest, NetworkLimits, World},
};

use super::{PluginProblem, Plugins};

impl Plugins {
    /// Every plugin in the directory, as its manifest describes it. None is compiled for that.
    pub async fn list(&self) -> Vec<PluginStatus> {
        let mut found = Vec::new();
        for name in self.names().await {
            found.push(match self.bytes(&name).await {
                Ok(bytes) => status(&name, &bytes),
                Err(problem) => {
                    PluginStatus { name, problem: Some(problem.to_string()), ..PluginStatus::default() }
                }
            });
        }
        found
    }

    /// Everything about one plugin; it is compiled for that, if it was not yet.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be used.
    pub async fn inspect(&self, name: &str) -> Result<PluginReport, PluginProblem> {
        let bytes = self.bytes(name).await?;
        match status(name, &bytes).world.as_str() {
            "driver" => Ok(of_driver(&*self.driver(name).await?, bytes.len())),
            _ => Ok(of_schedule(&*self.schedule(name).await?, bytes.len())),
        }
    }
}

fn status(name: &str, bytes: &[u8]) -> PluginStatus {
    let name = name.to_owned();
    let size = bytes.len();
    match manifest::extract(bytes) {
        Ok(manifest) => PluginStatus { name, ..described(&manifest, size) },
        Err(error) => {
            let bytes = u64::try_from(size).unwrap_or(u64::MAX);
            PluginStatus { name, bytes, problem: Some(error.to_string()), ..PluginStatus::default() }
        }
    }
}

fn described(manifest: &Manifest, size: usize) -> PluginStatus {
    let world = match manifest.world {
        World::Driver => "driver",
        World::Schedule => "schedule",
    };
    PluginStatus {
        name: manifest.id.clone(),
        world: world.to_owned(),
        version: manifest.version.clone(),
        summary: manifest.summary.clone(),
        bytes: u64::try_from(size).unwrap_or(u64::MAX),
        problem: None,
    }
}

pub(super) fn of_schedule(plugin: &SchedulePlugin, size: usize) -> PluginReport {
    let mut limits = resource_limits(plugin.limits());
    limits.extend(fault_limits(&plugin.fault_limits()));
    report(plugin.facts(), size, limits)
}

pub(super) fn of_driver(plugin: &DriverPlugin, size: usize) -> PluginReport {
    let mut limits = resource_limits(plugin.limits());
    limits.extend(network_limits(&plugin.facts().manifest.network));
    report(plugin.facts(), size, limits)
}

fn report(facts: &PluginFacts, size: usize, limits: BTreeMap<String, String>) -> PluginReport {
    let PluginFacts { manifest, imports } = facts;
    let setting = |setting: &manifest::Setting| SettingStatus {
        name: setting.name.clone(),
        summary: setting.summary.clone(),
        default: setting.default.clone(),
    };
    PluginReport {
        plugin: described(manifest, size),
        imports: imports.clone(),
        limits,
        operations: manifest.operations.clone(),
        settings: manifest.settings.iter().map(setting).collect(),
    }
}

fn resource_limits(limits: &PluginLimits) -> BTreeMap<String, String> {
    [
        ("memory", format!("{} bytes", limits.memory_bytes)),
        ("fuel", format!("{} for each call", limits.fuel_per_call)),
        ("transfer", format!("{} bytes in one call", limits.transfer_bytes)),
        ("exchanges", format!("{} in one call", limits.exchanges_per_call)),
        ("log", format!("{} lines", limits.log_lines)),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

fn fault_limits(limits: &FaultLimits) -> BTreeMap<String, String> {
    let effects: Vec<&str> = limits.effects.iter().map(|effect| effect.name()).collect();
    [
        ("effects", effects.join(", ")),
        ("delay", format!("{} ms at most", limits.longest_delay_ms)),
        ("loss", format!("{} % at most", limits.most_loss * 100.0)),
        ("rate", format!("{} bytes a second at least", limits.least_rate)),
        ("time", format!("{} s in all", limits.longest_s)),
        ("targets", limits.targets.join(", ")),
        ("at once", format!("{} faults", limits.most_at_once)),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

fn network_limits(limits: &NetworkLimits) -> BTreeMap<String, String> {
    let uses: Vec<&str> = limits.uses.iter().map(|used| used.name()).collect();
    [("network", uses.join(", ")), ("members", limits.members.name().to_owned())]
        .map(|(name, text)| (name.to_owned(), text))
        .into()
}
