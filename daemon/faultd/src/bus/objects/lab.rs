//! A lab on the bus.

use std::sync::Arc;

use faultd_api::{
    dictionary::Dictionary,
    error::Error,
    names::{LAB_PATH, path_element},
};
use zbus::{ObjectServer, OwnedObjectPath, interface, message::Header};

use super::{Kind, Shown};
use crate::{
    bus::{
        desk::{Desk, encode},
        errors::of_lab,
        labs,
    },
    lab::LabFacts,
    policy::Right,
};

pub(super) struct LabObject {
    desk: Arc<Desk>,
    shown: Shown<LabFacts>,
}

impl Kind for LabObject {
    type Status = LabFacts;
    const SILENT: &'static [&'static str] = &[];

    fn path(name: &str) -> String {
        format!("{LAB_PATH}/{}", path_element(name))
    }

    fn new(desk: &Arc<Desk>, shown: Shown<LabFacts>) -> Self {
        Self { desk: Arc::clone(desk), shown }
    }
}

#[interface(name = "org.faultd.Engine1.Lab")]
impl LabObject {
    /// What it is doing, its members asked for their roles: one of what ListLabs answers.
    #[zbus(out_args("lab"))]
    async fn show(&self, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        self.desk.admit(&header, Right::Read).await?;
        let status = self.desk.services.labs.status_of(&self.shown.now().name).await;
        encode(&status.map_err(|error| of_lab(&error))?)
    }

    /// Takes it down without a trace; faults on its hosts are removed first.
    async fn down(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<(), Error> {
        labs::down(&self.desk, server, &header, &self.shown.now().name).await
    }

    /// The same as a job, which is answered at once.
    #[zbus(out_args("job"))]
    async fn begin_down(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, Error> {
        labs::begin_down(&self.desk, server, &header, &self.shown.now().name).await
    }

    /// Its name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.shown.now().name.clone()
    }

    /// The driver plugin that speaks to the cluster.
    #[zbus(property(emits_changed_signal = "const"))]
    fn driver(&self) -> String {
        self.shown.now().driver.clone()
    }

    /// The namespace of its switch, as `ip netns` shows it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn namespace(&self) -> String {
        self.shown.now().namespace.clone()
    }

    /// The full names of its hosts, which are targets.
    #[zbus(property(emits_changed_signal = "const"))]
    fn hosts(&self) -> Vec<String> {
        self.shown.now().hosts.clone()
    }
}
