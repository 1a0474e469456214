//! All containers as people are shown them, with what stands in the way of a fault.

use std::net::IpAddr;

use faultd_api::target::TargetStatus;
use futures_util::future::join_all;

use super::{
    super::{Part, TargetError, status},
    Container, ContainerError, Containers,
    engine::Engine,
    resolved,
    selector::{labels_of, service_of},
    short,
};

impl Containers {
    /// All containers, those that do not run included.
    ///
    /// # Errors
    /// When there is no engine.
    pub async fn list(&self) -> Result<Vec<TargetStatus>, ContainerError> {
        let mut all = self.all().await?;
        all.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
        Ok(join_all(all.into_iter().map(|(engine, container)| shown(engine, container))).await)
    }
}

async fn shown(engine: &Engine, container: Container) -> TargetStatus {
    let found =
        if container.has_process() { look(engine, &container).await } else { not_running(&container) };
    TargetStatus {
        addresses: container.addresses.iter().map(IpAddr::to_string).collect(),
        id: Some(short(&container.id).to_owned()),
        service: service_of(&container),
        labels: labels_of(&container),
        image: Some(container.image),
        state: Some(container.state),
        ..status(container.engine, container.name, found.map_err(TargetError::Container))
    }
}

async fn look(engine: &Engine, container: &Container) -> Result<super::ResolvedTarget, ContainerError> {
    let inspected = engine.inspect(&container.id).await?;
    resolved(engine, inspected, &container.name, &Part::anything()).await
}

fn not_running(container: &Container) -> Result<super::ResolvedTarget, ContainerError> {
    Err(ContainerError::NotRunning(container.name.clone()))
}
