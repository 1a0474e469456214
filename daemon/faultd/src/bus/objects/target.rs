//! Something that can be made slow, on the bus.

use std::sync::Arc;

use faultd_api::{
    dictionary::Dictionary,
    error::Error,
    names::{TARGET_PATH, path_element},
    target::TargetStatus,
};
use zbus::{ObjectServer, Variant, interface, message::Header};

use super::{Kind, Shown};
use crate::bus::{desk::Desk, faults};

pub(super) struct TargetObject {
    desk: Arc<Desk>,
    shown: Shown<TargetStatus>,
}

impl Kind for TargetObject {
    type Status = TargetStatus;
    const SILENT: &'static [&'static str] = &[];

    fn path(name: &str) -> String {
        format!("{TARGET_PATH}/{}", path_element(name))
    }

    fn new(desk: &Arc<Desk>, shown: Shown<TargetStatus>) -> Self {
        Self { desk: Arc::clone(desk), shown }
    }
}

#[interface(name = "org.faultd.Engine1.Target")]
impl TargetObject {
    /// Applies a fault to it: AddFault, whose request need not name the target.
    #[zbus(out_args("fault"))]
    async fn add_fault(
        &self,
        mut request: Dictionary,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<Dictionary, Error> {
        let name = Variant::from(self.shown.now().name.clone());
        request.insert("target".to_owned(), name.try_into().map_err(Error::ZBus)?);
        faults::add(&self.desk, server, &header, request).await
    }

    /// Removes all its faults; answers how many.
    #[zbus(out_args("cleared"))]
    async fn clear_faults(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<u32, Error> {
        faults::clear_target(&self.desk, server, &header, &self.shown.now().name).await
    }

    /// The name to use.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.shown.now().name.clone()
    }

    /// lab, docker, podman, netns or interface.
    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> String {
        self.shown.now().kind.clone()
    }

    /// Of a container: the beginning of its id.
    #[zbus(property)]
    fn id(&self) -> String {
        self.shown.now().id.clone().unwrap_or_default()
    }

    /// Of a container: running, paused, exited ...
    #[zbus(property)]
    fn state(&self) -> String {
        self.shown.now().state.clone().unwrap_or_default()
    }

    /// Of a container that compose made: its project and service.
    #[zbus(property)]
    fn service(&self) -> String {
        self.shown.now().service.clone().unwrap_or_default()
    }

    /// Of a container: its labels.
    #[zbus(property)]
    fn labels(&self) -> Vec<String> {
        self.shown.now().labels.clone()
    }

    /// Of a container: its image.
    #[zbus(property)]
    fn image(&self) -> String {
        self.shown.now().image.clone().unwrap_or_default()
    }

    /// Its addresses, without prefix length.
    #[zbus(property)]
    fn addresses(&self) -> Vec<String> {
        self.shown.now().addresses.clone()
    }

    /// The interfaces at which its packets would be caught.
    #[zbus(property)]
    fn interface(&self) -> String {
        self.shown.now().interface.clone().unwrap_or_default()
    }

    /// Why no fault can be applied to it; empty where one can be.
    #[zbus(property)]
    fn problem(&self) -> String {
        self.shown.now().problem.clone().unwrap_or_default()
    }
}
