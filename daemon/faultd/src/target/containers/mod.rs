//! Running containers of Docker and Podman: found by name, id and other selectors across all engines of this
//! host, and found again when they are somewhere else.

mod engine;
mod events;
mod identity;
mod listing;
mod selector;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    net::IpAddr,
    sync::Arc,
};

use faultd_kernel::{control_group::GroupOwner, datapath::InterfaceReference, process::ProcessIdentity};
use futures_util::future::join_all;

pub(super) use self::selector::Selector;
use self::{
    engine::{Engine, Inspected},
    identity::namespace_of,
};
pub use self::{
    events::{ContainerEvent, ContainerEvents},
    identity::ContainerIdentity,
    selector::SelectorError,
};
use super::{
    FoundPeer, Part, ResolvedTarget, TargetProcesses,
    interfaces::{self, Connections, InterfacesError, connections},
};

/// Where engines are looked for when `DOCKER_HOST` does not say it.
const USUAL_ADDRESSES: [&str; 2] = ["unix:///var/run/docker.sock", "unix:///run/podman/podman.sock"];
/// How much of an id people are shown, as Docker shows it.
const SHORT_ID: usize = 12;

/// Why a container cannot be a target.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The engine knows no such container.
    #[error("no such container")]
    NotFound,
    /// No engine could be asked.
    #[error("no container engine answers at {address}: {reason}; start it ('sudo systemctl start docker')")]
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
    /// Its processes stand still already.
    #[error("container '{0}' is paused: let it go on first ('docker unpause {0}')")]
    Paused(String),
    /// More than one container is meant.
    #[error(
        "'{name}' could be any of {}: name one of them in full, or by its id",
        candidates_text(candidates)
    )]
    Ambiguous {
        /// The name as it was given.
        name: String,
        /// What it could be.
        candidates: Vec<String>,
    },
    /// A selector that is none.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// It is not on the network that was asked for.
    #[error("container '{container}' is on no network '{network}': it is on {}", networks_text(networks))]
    NoNetwork {
        /// Its full name.
        container: String,
        /// The network as it was given.
        network: String,
        /// Those that it is on.
        networks: Vec<String>,
    },
    /// It is connected to nothing, or the kernel could not be asked.
    #[error(transparent)]
    Interfaces(#[from] InterfacesError),
}

/// A container as a list of all shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// `docker` or `podman`.
    engine: &'static str,
    name: String,
    id: String,
    /// As it was asked for.
    image: String,
    image_id: String,
    labels: BTreeMap<String, String>,
    /// `running`, `paused`, `exited` ...
    state: String,
    addresses: Vec<IpAddr>,
}

impl Container {
    fn has_process(&self) -> bool {
        self.state == "running" || self.state == "paused"
    }

    /// How it is told from others of its name.
    fn in_full(&self) -> String {
        format!("{} ({} {})", self.name, self.engine, short(&self.id))
    }
}

/// The container engines of this host, each of which may or may not be there.
#[derive(Clone)]
pub struct Containers {
    engines: Arc<[Engine]>,
}

impl Containers {
    /// The engine that `DOCKER_HOST` names, or those at Docker's and Podman's own sockets.
    #[must_use]
    pub fn from_environment() -> Self {
        match env::var("DOCKER_HOST") {
            Ok(address) => Self::at(&[&address]),
            Err(_) => Self::at(&USUAL_ADDRESSES),
        }
    }

    fn at(addresses: &[&str]) -> Self {
        Self { engines: addresses.iter().map(|address| Engine::at(address)).collect() }
    }

    /// The only container that a selector means.
    ///
    /// # Errors
    /// When there is no engine, no such container, several, or none that can be faulted.
    pub async fn find(&self, asked: &str, part: &Part) -> Result<ResolvedTarget, ContainerError> {
        let (engine, container) = self.only(asked).await?;
        // Later on it may be paused by us, and an engine take that for its own doing.
        if *part == Part::Processes && container.is_paused {
            return Err(ContainerError::Paused(container.name));
        }
        resolved(engine, container, asked, part).await
    }

    /// The full name of the only container that has this name, or the whole id of the only one whose id
    /// begins so, whether it can be faulted or not.
    ///
    /// # Errors
    /// When there is no engine, no such container, or several.
    pub async fn name_in_full(&self, asked: &str) -> Result<String, ContainerError> {
        let (_engine, container) = self.only(asked).await?;
        Ok(if container.name == asked { container.name } else { container.id })
    }

    /// The full names of all running containers that a selector means, in order.
    ///
    /// # Errors
    /// When there is no engine, or no such container that runs.
    pub async fn names_of_all(&self, asked: &str) -> Result<Vec<String>, ContainerError> {
        let selected = self.selected(&Selector::read(asked)?).await?;
        let mut names: Vec<String> =
            selected.into_iter().map(|(_engine, container)| container.name).collect();
        names.sort_unstable();
        // By its name alone one of two could not be faulted.
        match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[String]>::first) {
            Some(twice) => Err(self.ambiguous(twice).await),
            None => Ok(names),
        }
    }

    /// A container, or what compose made for a service, as others know it.
    ///
    /// # Errors
    /// When there is no engine, no such container, or none that runs.
    pub async fn peer(&self, asked: &str) -> Result<FoundPeer, ContainerError> {
        let selector = Selector::read(asked)?;
        let mut peer = FoundPeer::default();
        if selector.is_for_several() {
            for (engine, container) in self.selected(&selector).await? {
                let container = engine.inspect(&container.id).await?;
                add_to_peer(&mut peer, engine, container, asked).await?;
            }
        } else {
            let (engine, container) = self.only(asked).await?;
            add_to_peer(&mut peer, engine, container, asked).await?;
        }
        Ok(peer)
    }

    /// The same container again, wherever it is connected now. Another one that has its name is the same,
    /// unless it was asked for by its id; one of another engine is not.
    ///
    /// # Errors
    /// When its engine does not answer, or it is not there now or cannot be faulted.
    pub async fn find_again(
        &self,
        known: &ContainerIdentity,
        asked: &str,
        part: &Part,
    ) -> Result<ResolvedTarget, ContainerError> {
        let (engine, container) = self.again(known, asked).await?;
        let mut target = resolved(engine, container, asked, part).await?;
        if let Some(identity) = &mut target.container {
            identity.by_id = known.by_id;
        }
        Ok(target)
    }

    /// The same peer again.
    ///
    /// # Errors
    /// When its engine does not answer, or it is not there now.
    pub async fn peer_again(
        &self,
        known: &[ContainerIdentity],
        asked: &str,
    ) -> Result<FoundPeer, ContainerError> {
        match known {
            [only] if !Selector::read(asked)?.is_for_several() => {
                let mut peer = FoundPeer::default();
                let (engine, container) = self.again(only, asked).await?;
                add_to_peer(&mut peer, engine, container, asked).await?;
                peer.containers.iter_mut().for_each(|identity| identity.by_id = only.by_id);
                Ok(peer)
            }
            _ => self.peer(asked).await,
        }
    }

    async fn again(
        &self,
        known: &ContainerIdentity,
        asked: &str,
    ) -> Result<(&Engine, Inspected), ContainerError> {
        let engine = self.engines.iter().find(|engine| engine.address == known.engine);
        let engine = engine.ok_or(ContainerError::NotFound)?;
        if known.by_id {
            return Ok((engine, engine.inspect(&known.id).await?));
        }
        let selector = Selector::read(asked)?;
        let container = if selector.is_for_several() {
            let mut containers = engine.list().await?.into_iter();
            let same = containers.find(|container| container.name == known.name && selector.fits(container));
            engine.inspect(&same.ok_or(ContainerError::NotFound)?.id).await?
        } else {
            engine.inspect(&known.name).await?
        };
        // An engine also answers with a container whose id begins so.
        if container.name == known.name { Ok((engine, container)) } else { Err(ContainerError::NotFound) }
    }

    /// The engines' versions, or why none answers.
    ///
    /// # Errors
    /// When there is no engine.
    pub async fn version(&self) -> Result<String, ContainerError> {
        let versions = self.ask(Engine::version).await?.into_iter();
        let versions = versions.map(|(engine, version)| format!("{} {version}", engine.kind));
        Ok(versions.collect::<Vec<_>>().join(", "))
    }

    async fn only(&self, asked: &str) -> Result<(&Engine, Inspected), ContainerError> {
        let selector = Selector::read(asked)?;
        if selector.is_for_several() {
            let mut selected = self.selected(&selector).await?;
            return match (selected.pop(), selected.is_empty()) {
                (Some((engine, container)), true) => Ok((engine, engine.inspect(&container.id).await?)),
                _ => Err(self.ambiguous(asked).await),
            };
        }
        let found = match self.ask(|engine| engine.inspect(asked)).await {
            Err(ContainerError::Ambiguous { .. }) => return Err(self.ambiguous(asked).await),
            found => found?,
        };
        let mut found = one_each(found, |container| container.id.clone());
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(ContainerError::NotFound),
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(self.ambiguous(asked).await),
        }
    }

    /// All running containers that a selector fits.
    async fn selected(&self, selector: &Selector<'_>) -> Result<Vec<(&Engine, Container)>, ContainerError> {
        let mut fitting = self.all().await?;
        fitting.retain(|(_engine, container)| selector.fits(container));
        let stopped = fitting.iter().map(|(_engine, container)| container.name.clone()).next();
        fitting.retain(|(_engine, container)| container.has_process());
        match (fitting.is_empty(), stopped) {
            (true, Some(stopped)) => Err(ContainerError::NotRunning(stopped)),
            (true, None) => Err(ContainerError::NotFound),
            (false, _) => Ok(fitting),
        }
    }

    async fn all(&self) -> Result<Vec<(&Engine, Container)>, ContainerError> {
        let lists = self.ask(Engine::list).await?.into_iter();
        let all = lists.flat_map(|(engine, list)| list.into_iter().map(move |container| (engine, container)));
        Ok(one_each(all.collect(), |container| container.id.clone()))
    }

    async fn ambiguous(&self, name: &str) -> ContainerError {
        let all = self.all().await.unwrap_or_default();
        let Ok(selector) = Selector::read(name) else { return ContainerError::NotFound };
        let fitting = all.iter().filter(|(_engine, container)| selector.fits(container));
        let mut candidates: Vec<String> = fitting.map(|(_engine, container)| container.in_full()).collect();
        candidates.sort_unstable();
        ContainerError::Ambiguous { name: name.to_owned(), candidates }
    }

    /// Asks every engine. One that knows no such container stands back behind one that does, and one that
    /// is not there behind both.
    async fn ask<'a, T, A>(
        &'a self,
        question: impl Fn(&'a Engine) -> A,
    ) -> Result<Vec<(&'a Engine, T)>, ContainerError>
    where
        A: Future<Output = Result<T, ContainerError>>,
    {
        let mut asked: Vec<&Engine> = self.engines.iter().filter(|engine| engine.has_socket()).collect();
        if asked.is_empty() {
            // It says best why it does not answer.
            asked.extend(self.engines.first());
        }
        let answers = join_all(asked.iter().map(|engine| question(engine))).await;
        let (mut found, mut silent, mut is_answered) = (Vec::new(), None, false);
        for (engine, answer) in asked.into_iter().zip(answers) {
            match answer {
                Ok(answer) => found.push((engine, answer)),
                Err(ContainerError::NotFound) => is_answered = true,
                Err(error @ ContainerError::NoEngine { .. }) => silent = silent.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match (found.is_empty() && !is_answered, silent) {
            (true, Some(silent)) => Err(silent),
            _ => Ok(found),
        }
    }
}

/// The first of those that are the same: one socket may be a link to the other.
fn one_each<T>(found: Vec<(&Engine, T)>, key: impl Fn(&T) -> String) -> Vec<(&Engine, T)> {
    let mut known = BTreeSet::new();
    found.into_iter().filter(|(_engine, container)| known.insert(key(container))).collect()
}

async fn resolved(
    engine: &Engine,
    container: Inspected,
    asked: &str,
    part: &Part,
) -> Result<ResolvedTarget, ContainerError> {
    let (process, inside) = namespace_of(&container)?;
    let identity = identity_of(engine, &container, asked, process);
    let owner = GroupOwner::Container { id: container.id.clone() };
    let processes = Some(TargetProcesses { first: process, owner });
    let target = ResolvedTarget {
        name: container.name.clone(),
        interfaces: Vec::new(),
        addresses: Vec::new(),
        shares_host: false,
        container: Some(identity),
        processes,
    };
    // Processes can be paused that have no network.
    let Part::Packets { network, .. } = part else { return Ok(target) };
    let found = connections(format!("container '{}'", container.name), inside).await?;
    let shares_host = found.shares_host;
    let (interfaces, addresses) = on_networks(&container, found, network.as_deref())?;
    Ok(ResolvedTarget { interfaces, addresses, shares_host, ..target })
}

fn identity_of(
    engine: &Engine,
    container: &Inspected,
    asked: &str,
    process: ProcessIdentity,
) -> ContainerIdentity {
    ContainerIdentity {
        engine: engine.address.clone(),
        by_id: asked != container.name && container.id.starts_with(asked),
        id: container.id.clone(),
        name: container.name.clone(),
        process,
    }
}

/// The interfaces and addresses of a container, on one network or on all.
fn on_networks(
    container: &Inspected,
    found: Connections,
    network: Option<&str>,
) -> Result<(Vec<InterfaceReference>, Vec<IpAddr>), ContainerError> {
    let Some(network) = network else {
        // One in the network of another container has no addresses as far as the engine knows.
        let known: Vec<IpAddr> = container.networks.values().flatten().copied().collect();
        let interfaces = found.interfaces.into_iter().map(|(interface, _addresses)| interface).collect();
        return Ok((interfaces, if known.is_empty() { found.addresses } else { known }));
    };
    let no_network = || ContainerError::NoNetwork {
        container: container.name.clone(),
        network: network.to_owned(),
        networks: container.networks.keys().cloned().collect(),
    };
    let addresses = container.networks.get(network).ok_or_else(no_network)?;
    let is_on = |of: &Vec<IpAddr>| of.iter().any(|address| addresses.contains(address));
    let interfaces = found.interfaces.into_iter().filter(|(_interface, of)| is_on(of));
    let interfaces: Vec<InterfaceReference> = interfaces.map(|(interface, _addresses)| interface).collect();
    if interfaces.is_empty() { Err(no_network()) } else { Ok((interfaces, addresses.clone())) }
}

async fn add_to_peer(
    peer: &mut FoundPeer,
    engine: &Engine,
    container: Inspected,
    asked: &str,
) -> Result<(), ContainerError> {
    let (process, inside) = namespace_of(&container)?;
    let mut addresses: Vec<IpAddr> = container.networks.values().flatten().copied().collect();
    if addresses.is_empty() {
        addresses = interfaces::addresses(format!("container '{}'", container.name), inside).await?;
    }
    peer.addresses.extend(addresses);
    peer.containers.push(identity_of(engine, &container, asked, process));
    Ok(())
}

fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// The first few, and how many more.
pub(super) fn candidates_text(candidates: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = candidates.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match candidates.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn networks_text(networks: &[String]) -> String {
    if networks.is_empty() { "none of its own".to_owned() } else { networks.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_candidates_the_first_are_named() {
        let names = |count: usize| (1..=count).map(|number| format!("c{number}")).collect::<Vec<_>>();
        assert_eq!(candidates_text(&names(2)), "c1, c2");
        assert_eq!(candidates_text(&names(50)), "c1, c2, c3, c4, c5, c6 and 44 more");
    }

    #[test]
    fn of_several_networks_the_one_that_was_asked_for_is_told_by_its_address() {
        let namespace = faultd_kernel::namespace::Namespace::current().unwrap();
        let target = faultd_kernel::datapath::TargetSide::Beyond;
        let interface = |index: u32, last: u8| {
            let (namespace, name) = (namespace.clone(), format!("veth{index}"));
            (InterfaceReference { namespace, index, name, target }, vec![IpAddr::from([10, 0, 0, last])])
        };
        let found = Connections {
            interfaces: vec![interface(1, 1), interface(2, 2)],
            addresses: vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()],
            shares_host: false,
        };
        let networks = [("back".to_owned(), vec![[10, 0, 0, 2].into()]), ("none".to_owned(), Vec::new())];
        let container = Inspected { name: "web".into(), networks: networks.into(), ..Inspected::default() };
        let on = |network: Option<&str>| {
            let (interfaces, _addresses) = on_networks(&container, found.clone(), network)?;
            Ok::<_, ContainerError>(interfaces.iter().map(|interface| interface.index).collect::<Vec<_>>())
        };
        assert_eq!(on(None).unwrap(), [1, 2]);
        assert_eq!(on(Some("back")).unwrap(), [2]);
        for elsewhere in ["front", "none"] {
            let text = on(Some(elsewhere)).unwrap_err().to_string();
            let expected = format!("container 'web' is on no network '{elsewhere}': it is on back, none");
            assert_eq!(text, expected);
        }
    }
}
