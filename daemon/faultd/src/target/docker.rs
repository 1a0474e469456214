//! Running containers of a Docker-compatible engine, through its socket.
//!
//! Only the process id and the addresses are taken from the engine; the interfaces are found by asking
//! the kernel.

use std::{env, error::Error, net::IpAddr, time::Duration};

use bollard::{
    Docker, errors::Error as EngineFailure, models::ContainerInspectResponse,
    query_parameters::ListContainersOptions,
};
use faultd_api::target::TargetStatus;
use faultd_kernel::namespace::Namespace;

use super::{
    ResolvedTarget, TargetError,
    interfaces::{self, InterfacesError, connections},
    status,
};
use crate::error_chain;

/// Where Docker's own client looks when nobody says otherwise.
const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
/// An engine on this host answers in milliseconds; one that hangs must not hold up a fault on a lab.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Why a container cannot be a target.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The engine knows no such container.
    #[error("no such container")]
    NotFound,
    /// No engine could be asked.
    #[error("no container engine answers at {address}: {reason}")]
    NoEngine {
        /// Where it was looked for.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// The engine does not want to answer.
    #[error("the container engine refused: {0}")]
    Refused(String),
    /// The container has no process.
    #[error("container '{0}' is not running: start it first")]
    NotRunning(String),
    /// It is connected to nothing, or the kernel could not be asked.
    #[error(transparent)]
    Interfaces(#[from] InterfacesError),
}

/// A container engine that may or may not be there.
#[derive(Clone)]
pub struct ContainerEngine {
    address: String,
    client: Result<Docker, String>,
}

impl ContainerEngine {
    /// The engine that `DOCKER_HOST` names, or Docker's own socket; it is asked when it is needed.
    #[must_use]
    pub fn from_environment() -> Self {
        let address = env::var("DOCKER_HOST").unwrap_or_else(|_| DEFAULT_ADDRESS.to_owned());
        let client = Docker::connect_with_host(&address).map(|client| client.with_timeout(ANSWERS_WITHIN));
        Self { address, client: client.map_err(|error| innermost(&error)) }
    }

    /// Finds a running container by name or id.
    ///
    /// # Errors
    /// When there is no engine, no such container, or none that can be faulted.
    pub async fn find(&self, name: &str) -> Result<ResolvedTarget, ContainerError> {
        let (name, pid, addresses) = self.running(name).await?;
        let found = connections(described(&name), namespace_of(&name, pid)?).await?;
        // One in the network of another container has no addresses as far as the engine knows.
        let addresses = if addresses.is_empty() { found.addresses.clone() } else { addresses };
        Ok(ResolvedTarget { addresses, ..ResolvedTarget::connected(name, found) })
    }

    /// The full name and the addresses of a running container.
    ///
    /// # Errors
    /// When there is no engine or no such container, or it does not run.
    pub async fn addresses(&self, name: &str) -> Result<(String, Vec<IpAddr>), ContainerError> {
        let (name, pid, addresses) = self.running(name).await?;
        if !addresses.is_empty() {
            return Ok((name, addresses));
        }
        let addresses = interfaces::addresses(described(&name), namespace_of(&name, pid)?).await?;
        Ok((name, addresses))
    }

    /// Full name, process and addresses of a running container.
    async fn running(&self, name: &str) -> Result<(String, u32, Vec<IpAddr>), ContainerError> {
        let container =
            self.client()?.inspect_container(name, None).await.map_err(|error| self.failed(error))?;
        let name = container_name(&container, name);
        let pid = running_pid(&container).ok_or_else(|| ContainerError::NotRunning(name.clone()))?;
        Ok((name, pid, container_addresses(&container)))
    }

    /// All running containers.
    ///
    /// # Errors
    /// When there is no engine.
    pub async fn list(&self) -> Result<Vec<TargetStatus>, ContainerError> {
        let containers = self
            .client()?
            .list_containers(None::<ListContainersOptions>)
            .await
            .map_err(|error| self.failed(error))?;
        let mut targets = Vec::new();
        for container in containers {
            let name = container.names.unwrap_or_default().into_iter().next().unwrap_or_default();
            let networks =
                container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
            let addresses = addresses(networks.into_values().map(|endpoint| endpoint.ip_address));
            let name = name.trim_start_matches('/').to_owned();
            let found = self.find(&name).await.map_err(TargetError::Container);
            targets.push(TargetStatus { addresses, ..status("docker", name, found) });
        }
        Ok(targets)
    }

    /// The engine's version, or why it does not answer.
    ///
    /// # Errors
    /// When there is no engine.
    pub async fn version(&self) -> Result<String, ContainerError> {
        let version = self.client()?.version().await.map_err(|error| self.failed(error))?;
        Ok(version.version.unwrap_or_default())
    }

    fn client(&self) -> Result<&Docker, ContainerError> {
        self.client.as_ref().map_err(|reason| self.silent(reason.clone()))
    }

    fn failed(&self, failure: EngineFailure) -> ContainerError {
        match failure {
            EngineFailure::DockerResponseServerError { status_code: 404, .. } => ContainerError::NotFound,
            EngineFailure::DockerResponseServerError { message, .. } => ContainerError::Refused(message),
            other => self.silent(innermost(&other)),
        }
    }

    fn silent(&self, reason: String) -> ContainerError {
        ContainerError::NoEngine { address: self.address.clone(), reason }
    }
}

/// The layers of an HTTP client say that something failed; only the innermost says what.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn described(name: &str) -> String {
    format!("container '{name}'")
}

fn namespace_of(name: &str, pid: u32) -> Result<Namespace, InterfacesError> {
    Namespace::of_process(pid)
        .map_err(|error| InterfacesError::Kernel { of: described(name), reason: error_chain(&error) })
}

fn container_addresses(container: &ContainerInspectResponse) -> Vec<IpAddr> {
    let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let endpoints = networks.into_iter().flat_map(|networks| networks.values());
    let texts = endpoints.flat_map(|endpoint| [&endpoint.ip_address, &endpoint.global_ipv6_address]);
    texts.filter_map(|text| text.as_ref()?.parse().ok()).collect()
}

fn running_pid(container: &ContainerInspectResponse) -> Option<u32> {
    let state = container.state.as_ref()?;
    let pid = u32::try_from(state.pid?).ok()?;
    (state.running == Some(true) && pid > 0).then_some(pid)
}

fn container_name(container: &ContainerInspectResponse, asked: &str) -> String {
    container.name.as_deref().map_or(asked, |name| name.trim_start_matches('/')).to_owned()
}

fn addresses(found: impl Iterator<Item = Option<String>>) -> Vec<String> {
    found.flatten().filter(|address| !address.is_empty()).collect()
}
