//! A job on the bus.

use std::sync::Arc;

use faultd_api::{
    dictionary::Dictionary,
    error::Error,
    job::JobStatus,
    names::{JOB_PATH, path_element},
};
use zbus::{ObjectServer, interface, message::Header};

use super::{Kind, Shown};
use crate::{bus::desk::Desk, policy::Right};

pub(in crate::bus) struct JobObject {
    desk: Arc<Desk>,
    shown: Shown<JobStatus>,
}

impl Kind for JobObject {
    type Status = JobStatus;
    const SILENT: &'static [&'static str] = &[];

    fn path(id: &str) -> String {
        format!("{JOB_PATH}/{}", path_element(id))
    }

    fn new(desk: &Arc<Desk>, shown: Shown<JobStatus>) -> Self {
        Self { desk: Arc::clone(desk), shown }
    }
}

#[interface(name = "org.faultd.Engine1.Job")]
impl JobObject {
    /// Returns when it has ended, with what the method that takes as long would have answered, or its error.
    #[zbus(out_args("result"))]
    async fn wait(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<Dictionary, Error> {
        self.desk.admit(&header, Right::Read).await?;
        let ended = self.desk.services.jobs.wait(&self.shown.now().id).await;
        self.desk.services.inventory.look_at_jobs();
        self.desk.refresh(server).await;
        ended
    }

    /// Its id: j1, j2 ...
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.shown.now().id.clone()
    }

    /// lab-up or lab-down.
    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> String {
        self.shown.now().kind.clone()
    }

    /// The name of the lab, where it was known from the beginning.
    #[zbus(property(emits_changed_signal = "const"))]
    fn subject(&self) -> String {
        self.shown.now().subject.clone()
    }

    /// running, done or failed.
    #[zbus(property)]
    fn state(&self) -> String {
        self.shown.now().state.clone()
    }

    /// Why it failed; empty otherwise.
    #[zbus(property)]
    fn error(&self) -> String {
        self.shown.now().error.clone().unwrap_or_default()
    }
}
