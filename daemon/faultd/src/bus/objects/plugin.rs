//! A plugin on the bus.

use std::sync::Arc;

use faultd_api::{
    dictionary::Dictionary,
    error::Error,
    names::{PLUGIN_PATH, path_element},
    plugin::PluginStatus,
};
use zbus::{interface, message::Header};

use super::{Kind, Shown};
use crate::bus::{desk::Desk, plugins};

pub(super) struct PluginObject {
    desk: Arc<Desk>,
    shown: Shown<PluginStatus>,
}

impl Kind for PluginObject {
    type Status = PluginStatus;
    const SILENT: &'static [&'static str] = &[];

    fn path(name: &str) -> String {
        format!("{PLUGIN_PATH}/{}", path_element(name))
    }

    fn new(desk: &Arc<Desk>, shown: Shown<PluginStatus>) -> Self {
        Self { desk: Arc::clone(desk), shown }
    }
}

#[interface(name = "org.faultd.Engine1.Plugin")]
impl PluginObject {
    /// Everything about it; see InspectPlugin.
    #[zbus(out_args("report"))]
    async fn inspect(&self, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        plugins::inspect(&self.desk, &header, &self.shown.now().name).await
    }

    /// Tries it out without a cluster; see CheckPlugin.
    #[zbus(out_args("report"))]
    async fn check(
        &self,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dictionary, Error> {
        plugins::check(&self.desk, &header, &self.shown.now().name, request).await
    }

    /// Its name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.shown.now().name.clone()
    }

    /// schedule or driver; empty where that is not known.
    #[zbus(property)]
    fn world(&self) -> String {
        self.shown.now().world.clone()
    }

    /// Its version.
    #[zbus(property)]
    fn version(&self) -> String {
        self.shown.now().version.clone()
    }

    /// What it does, in one line.
    #[zbus(property)]
    fn summary(&self) -> String {
        self.shown.now().summary.clone()
    }

    /// Size of the component, in bytes.
    #[zbus(property)]
    fn bytes(&self) -> u64 {
        self.shown.now().bytes
    }

    /// Why it cannot be used; empty for one that can.
    #[zbus(property)]
    fn problem(&self) -> String {
        self.shown.now().problem.clone().unwrap_or_default()
    }
}
