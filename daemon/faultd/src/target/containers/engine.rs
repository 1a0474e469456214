//! One container engine, Docker's or Podman's, through its socket: what it is asked, and how it fails.
//!
//! Only names, process ids, addresses and what people gave are taken from it; the interfaces are found by
//! asking the kernel.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    net::IpAddr,
    path::Path,
    sync::OnceLock,
    time::Duration,
};

use bollard::{
    Docker,
    errors::Error as EngineFailure,
    models::{ContainerInspectResponse, ContainerSummary, EndpointSettings, EventMessage},
    query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder},
};
use futures_util::{Stream, StreamExt as _};

use super::{Container, ContainerError};

/// An engine on this host answers in milliseconds; one that hangs must not hold up a fault on a lab.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A container engine that may or may not be there.
pub(super) struct Engine {
    /// `docker` or `podman`.
    pub(super) kind: &'static str,
    pub(super) address: String,
    /// Made when the socket is there for the first time.
    client: OnceLock<Docker>,
}

/// A container as the engine describes it alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Inspected {
    pub(super) name: String,
    pub(super) id: String,
    /// Its first process, while it runs.
    pub(super) pid: Option<u32>,
    /// Whether somebody has paused it.
    pub(super) is_paused: bool,
    /// Its addresses on each of its networks.
    pub(super) networks: BTreeMap<String, Vec<IpAddr>>,
}

impl Engine {
    /// The engine behind an address; it is asked when it is needed.
    pub(super) fn at(address: &str) -> Self {
        let kind = if address.contains("podman") { "podman" } else { "docker" };
        Self { kind, address: address.to_owned(), client: OnceLock::new() }
    }

    /// Whether somebody could listen there.
    pub(super) fn has_socket(&self) -> bool {
        self.address.strip_prefix("unix://").is_none_or(|path| Path::new(path).exists())
    }

    /// A container by its name or the beginning of its id.
    pub(super) async fn inspect(&self, name: &str) -> Result<Inspected, ContainerError> {
        if !could_be_name(name) {
            return Err(ContainerError::NotFound);
        }
        let answer = self.client()?.inspect_container(name, None).await;
        Ok(inspected(answer.map_err(|error| self.failed(name, error))?, name))
    }

    /// All containers, those that do not run included.
    pub(super) async fn list(&self) -> Result<Vec<Container>, ContainerError> {
        let all = ListContainersOptionsBuilder::default().all(true).build();
        let answer = self.client()?.list_containers(Some(all)).await;
        let containers = answer.map_err(|error| self.failed("", error))?.into_iter();
        Ok(containers.map(|container| self.listed(container)).collect())
    }

    pub(super) async fn version(&self) -> Result<String, ContainerError> {
        let version = self.client()?.version().await.map_err(|error| self.failed("", error))?;
        Ok(version.version.unwrap_or_default())
    }

    /// What happens to containers and networks from now on, until the engine goes away.
    pub(super) fn events(&self) -> Result<impl Stream<Item = EventMessage> + Unpin + use<>, ContainerError> {
        let of_interest = HashMap::from([("type", vec!["container", "network"])]);
        let options = EventsOptionsBuilder::default().filters(&of_interest).build();
        let events = self.client()?.events(Some(options));
        Ok(Box::pin(
            events
                .take_while(|event| std::future::ready(event.is_ok()))
                .filter_map(|event| std::future::ready(event.ok())),
        ))
    }

    fn client(&self) -> Result<&Docker, ContainerError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Docker::connect_with_host(&self.address);
        let client = client.map_err(|error| self.silent(innermost(&error)))?;
        Ok(self.client.get_or_init(|| client.with_timeout(ANSWERS_WITHIN)))
    }

    fn listed(&self, container: ContainerSummary) -> Container {
        let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        Container {
            engine: self.kind,
            name: own_name(&container.names.unwrap_or_default()),
            id: container.id.unwrap_or_default(),
            image: container.image.unwrap_or_default(),
            image_id: container.image_id.unwrap_or_default(),
            labels: container.labels.unwrap_or_default().into_iter().collect(),
            state: container.state.map(|state| state.to_string()).unwrap_or_default(),
            addresses: networks.values().flat_map(addresses).collect(),
        }
    }

    fn failed(&self, name: &str, failure: EngineFailure) -> ContainerError {
        match failure {
            EngineFailure::DockerResponseServerError { status_code: 404, .. } => ContainerError::NotFound,
            EngineFailure::DockerResponseServerError { message, .. } if is_ambiguity(&message) => {
                ContainerError::Ambiguous { name: name.to_owned(), candidates: Vec::new() }
            }
            EngineFailure::DockerResponseServerError { message, .. } => ContainerError::Refused(message),
            other => self.silent(innermost(&other)),
        }
    }

    fn silent(&self, reason: String) -> ContainerError {
        ContainerError::NoEngine { address: self.address.clone(), reason }
    }
}

/// Docker and Podman say it in these words when an id begins so for several containers.
fn is_ambiguity(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("multiple ids found") || message.contains("more than one result")
}

/// Whether an engine could have given this name, or an id begin with it; the rest is not even asked for.
fn could_be_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(fits)
}

/// The layers of an HTTP client say that something failed; only the innermost says what.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Of the names of a container, that which is not one for the links of another one.
fn own_name(names: &[String]) -> String {
    let mut names = names.iter().map(|name| name.trim_start_matches('/'));
    names.find(|name| !name.contains('/')).unwrap_or_default().to_owned()
}

fn inspected(container: ContainerInspectResponse, asked: &str) -> Inspected {
    let pid = running_pid(&container);
    let is_paused = container.state.as_ref().is_some_and(|state| state.paused == Some(true));
    let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let networks = networks.into_iter().map(|(name, endpoint)| (name, addresses(&endpoint)));
    Inspected {
        name: container.name.as_deref().unwrap_or(asked).trim_start_matches('/').to_owned(),
        id: container.id.unwrap_or_default(),
        pid,
        is_paused,
        networks: networks.collect(),
    }
}

/// Podman does not call a container running that is paused.
fn running_pid(container: &ContainerInspectResponse) -> Option<u32> {
    let state = container.state.as_ref()?;
    let pid = u32::try_from(state.pid?).ok()?;
    (state.running == Some(true) || state.paused == Some(true)).then_some(pid).filter(|pid| *pid > 0)
}

fn addresses(endpoint: &EndpointSettings) -> Vec<IpAddr> {
    let texts = [&endpoint.ip_address, &endpoint.global_ipv6_address];
    texts.into_iter().filter_map(|text| text.as_ref()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_name_is_not_asked_for() {
        for name in ["web", "3f", "a.b-c_d", "0"] {
            assert!(could_be_name(name), "{name}");
        }
        for name in ["", "-a", "../x", "a/b", "a b", "a?b", "ä"] {
            assert!(!could_be_name(name), "{name}");
        }
    }

    #[test]
    fn the_name_of_a_container_is_not_that_of_a_link_to_it() {
        let names = ["/web/db", "/db"].map(str::to_owned).to_vec();
        assert_eq!(own_name(&names), "db");
        assert_eq!(own_name(&[]), "");
    }

    #[test]
    fn the_kind_of_an_engine_is_in_its_address() {
        assert_eq!(Engine::at("unix:///run/podman/podman.sock").kind, "podman");
        assert_eq!(Engine::at("unix:///var/run/docker.sock").kind, "docker");
        assert!(Engine::at("tcp://10.0.0.1:2375").has_socket());
        assert!(!Engine::at("unix:///nowhere/at/all").has_socket());
    }
}
