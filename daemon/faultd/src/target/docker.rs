//! Running containers of a Docker-compatible engine, through its socket.
//!
//! Only the process id and the addresses are taken from the engine; the interface on the host is
//! found by asking the kernel who the peer of the container's veth is.

use std::{env, error::Error, net::IpAddr, time::Duration};

use bollard::{
    Docker, errors::Error as EngineFailure, models::ContainerInspectResponse,
    query_parameters::ListContainersOptions,
};
use faultd_api::target::TargetStatus;
use faultd_kernel::{
    datapath::{InterfaceReference, TargetSide},
    link,
    namespace::Namespace,
};

use super::ResolvedTarget;

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
    /// It shares the network of the host or of nobody.
    #[error(
        "container '{0}' has no veth on this host (host network, none, or a driver without veth): \
         faultd cannot tell its packets from others"
    )]
    NoVeth(String),
    /// The kernel could not be asked.
    #[error("the interfaces of container '{name}' cannot be found: {reason}")]
    Kernel {
        /// The container's name.
        name: String,
        /// What went wrong.
        reason: String,
    },
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
        let container =
            self.client()?.inspect_container(name, None).await.map_err(|error| self.failed(error))?;
        let name = container_name(&container, name);
        let pid = running_pid(&container).ok_or_else(|| ContainerError::NotRunning(name.clone()))?;
        let interfaces = host_interfaces(name.clone(), pid).await?;
        let addresses = container_addresses(&container);
        Ok(ResolvedTarget { name, interfaces, addresses })
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
            targets.push(self.status(name.trim_start_matches('/'), addresses).await);
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

    async fn status(&self, name: &str, addresses: Vec<String>) -> TargetStatus {
        let found = self.find(name).await;
        let interface = found.as_ref().ok().map(|target| {
            let names: Vec<&str> =
                target.interfaces.iter().map(|interface| interface.name.as_str()).collect();
            names.join(",")
        });
        let problem = found.err().map(|error| error.to_string());
        TargetStatus { name: name.to_owned(), kind: "docker".to_owned(), addresses, interface, problem }
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

async fn host_interfaces(name: String, pid: u32) -> Result<Vec<InterfaceReference>, ContainerError> {
    let of_name = name.clone();
    let kernel = move |reason: String| ContainerError::Kernel { name: name.clone(), reason };
    let found = tokio::task::spawn_blocking(move || -> Result<Vec<InterfaceReference>, String> {
        let inside = Namespace::of_process(pid).map_err(|error| error.to_string())?;
        let host = Namespace::current().map_err(|error| error.to_string())?;
        if inside == host {
            return Ok(Vec::new());
        }
        let pairs = link::host_side_of(&inside, &host).map_err(|error| error.to_string())?;
        let reference = |pair: link::VethPair| InterfaceReference {
            namespace: host.clone(),
            index: pair.outside.index,
            name: pair.outside.name,
            target: TargetSide::Beyond,
        };
        Ok(pairs.into_iter().map(reference).collect())
    });
    let interfaces = found.await.map_err(|error| kernel(error.to_string()))?.map_err(&kernel)?;
    if interfaces.is_empty() { Err(ContainerError::NoVeth(of_name)) } else { Ok(interfaces) }
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
