//! From a name to the interfaces whose packets a fault concerns, or to the processes.
//!
//! ```text
//! etcd/etcd0, etcd0 ─▶ lab            netns/NAME, pid/N ─▶ namespace, process ─┐
//! web, shop/db, label:tier=front ─▶ containers ─────────────────────────────────┴▶ interfaces
//! interface/NAME ─▶ interface
//! ```

mod again;
pub mod containers;
pub mod interface;
pub mod interfaces;
mod namespace;
mod process;
mod selecting;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use faultd_api::target::TargetStatus;
use faultd_kernel::{control_group::GroupOwner, datapath::InterfaceReference, process::ProcessIdentity};

pub use self::again::{FollowedFault, Whereabouts};
use self::{
    containers::{ContainerError, ContainerIdentity, Containers, Selector, candidates_text},
    interface::InterfaceProblem,
    interfaces::{Connections, InterfacesError},
};
use crate::{
    fault::{FaultSpec, Selection},
    lab::Labs,
};

/// A target that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedTarget {
    /// Its full name: `etcd/etcd0` for a lab host, the container's name, or the kind and its name.
    pub name: String,
    /// Where its packets are caught.
    pub interfaces: Vec<InterfaceReference>,
    /// Its addresses, by which it is known as a peer of others.
    pub addresses: Vec<IpAddr>,
    /// Whether it shares the network of the host, where only its port tells its packets from others.
    pub shares_host: bool,
    /// Which container it is, where it is one.
    pub container: Option<ContainerIdentity>,
    /// Its processes, where they are known apart from all others.
    pub processes: Option<TargetProcesses>,
}

/// The processes of a target that can be paused or throttled together, and nobody with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetProcesses {
    /// The one by which the others are found.
    pub first: ProcessIdentity,
    /// Whose their control group must be.
    pub owner: GroupOwner,
}

/// What of a target a fault concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Its packets.
    Packets {
        /// Those of one network of a container; of all when missing.
        network: Option<String>,
        /// Whether they are told by its ports, so that it may be in the network of the host.
        names_ports: bool,
    },
    /// Its processes.
    Processes,
}

impl Part {
    /// What a fault concerns.
    #[must_use]
    pub fn of(fault: &FaultSpec) -> Self {
        match fault.processes {
            Some(_) => Self::Processes,
            None => Self::Packets {
                network: fault.network.clone(),
                names_ports: fault.selection.names_target_ports(),
            },
        }
    }

    /// All packets.
    pub(super) fn anything() -> Self {
        Self::Packets { network: None, names_ports: false }
    }

    /// A target of such a fault, which does not concern anybody else.
    fn checked(&self, target: ResolvedTarget) -> Result<ResolvedTarget, TargetError> {
        match self {
            Self::Processes if target.processes.is_none() => Err(TargetError::NoProcesses(target.name)),
            Self::Packets { names_ports: false, .. } if target.shares_host => {
                Err(TargetError::SharesHost(target.name))
            }
            Self::Packets { network: Some(_), .. } if target.container.is_none() => {
                Err(TargetError::NoContainer(target.name))
            }
            _ => Ok(target),
        }
    }
}

impl ResolvedTarget {
    fn connected(name: String, connections: Connections) -> Self {
        let Connections { interfaces, addresses, shares_host } = connections;
        let interfaces = interfaces.into_iter().map(|(interface, _addresses)| interface).collect();
        Self { name, interfaces, addresses, shares_host, container: None, processes: None }
    }
}

/// A target as others know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundPeer {
    /// Its addresses, in order.
    pub addresses: Vec<IpAddr>,
    /// Which process it is, where it was named by its number.
    pub process: Option<ProcessIdentity>,
    /// Which containers it is, where it is one or what compose made for a service. They keep being known
    /// while they are away and have no addresses.
    pub containers: Vec<ContainerIdentity>,
}

impl FoundPeer {
    /// A peer that is no container.
    fn elsewhere(addresses: Vec<IpAddr>, process: Option<ProcessIdentity>) -> Self {
        Self { addresses, process, containers: Vec::new() }
    }
}

/// The named peers of a fault.
pub type Peers = BTreeMap<String, FoundPeer>;

/// Why a name leads to no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Nothing has that name.
    #[error("no lab host and no running container is named '{name}'{why}; see 'faultctl target ls'")]
    NotFound {
        /// The name as it was given.
        name: String,
        /// Whether a container engine could be asked at all.
        why: String,
    },
    /// More than one thing has that name.
    #[error(
        "'{name}' could be any of {}: name one of them in full, containers by their id if need be",
        candidates_text(candidates)
    )]
    Ambiguous {
        /// The name as it was given.
        name: String,
        /// What it could be.
        candidates: Vec<String>,
    },
    /// No such namespace.
    #[error("no network namespace is named '{0}' (in /run/netns); see 'faultctl target ls'")]
    NoNamespace(String),
    /// No such process.
    #[error("no process has the number {0}; see 'ps -e'")]
    NoProcess(u32),
    /// Not a number.
    #[error("'{0}' is no number of a process: write it as in pid/1234")]
    BadProcess(String),
    /// No such interface.
    #[error("the host has no interface '{0}'; see 'faultctl target ls'")]
    NoInterface(String),
    /// The interface is there and cannot be faulted.
    #[error(transparent)]
    Interface(#[from] InterfaceProblem),
    /// There is nothing to catch packets at.
    #[error(transparent)]
    Interfaces(#[from] InterfacesError),
    /// A network of something that has none.
    #[error("'{0}' is no container: leave --network out")]
    NoContainer(String),
    /// Its processes are not known apart from others.
    #[error(
        "'{0}' has no processes that could be paused or throttled alone: that is for containers and hosts of labs"
    )]
    NoProcesses(String),
    /// More targets are wanted than there are.
    #[error("{wanted} targets cannot be chosen of {among}: ask for at least 1 and at most {among}")]
    TooFew {
        /// How many are wanted.
        wanted: u64,
        /// Of how many.
        among: usize,
    },
    /// Nothing to select by.
    #[error("no target was given; see 'faultctl target ls'")]
    NoSelector,
    /// All of the host would be under fault.
    #[error("'{0}' is in the network of the host: say with --port which packets are its own (--port 80)")]
    SharesHost(String),
    /// A peer has no address.
    #[error("'{0}' has no address by which its packets could be told apart")]
    NoAddress(String),
    /// The container exists and cannot be faulted.
    #[error(transparent)]
    Container(ContainerError),
}

/// Everything that can be a target.
#[derive(Clone)]
pub struct Targets {
    labs: Labs,
    containers: Containers,
}

impl Targets {
    /// Looks in these labs and at this container engine.
    #[must_use]
    pub fn new(labs: Labs, containers: Containers) -> Self {
        Self { labs, containers }
    }

    /// Finds a target by its full name, or by a lab host's short one or a selector of containers where that
    /// is clear.
    ///
    /// # Errors
    /// When nothing, or more than one thing, has that name, or what has it cannot be faulted.
    pub async fn resolve(&self, name: &str) -> Result<ResolvedTarget, TargetError> {
        self.resolve_for(name, &Part::anything()).await
    }

    /// Finds a target as [`Targets::resolve`] does, for a fault on a part of it.
    ///
    /// # Errors
    /// As [`Targets::resolve`], and when it has no such part.
    pub async fn resolve_for(&self, name: &str, part: &Part) -> Result<ResolvedTarget, TargetError> {
        match Named::of(name) {
            Named::Namespace(_) | Named::Process(_) | Named::Interface(_) if *part == Part::Processes => {
                Err(TargetError::NoProcesses(name.to_owned()))
            }
            Named::Namespace(name) => namespace::find(name).await,
            Named::Process(number) => process::find(number).await,
            Named::Interface(name) => interface::find(name).await,
            Named::Host => {
                let container = self.containers.find(name, part).await;
                only(name, self.labs.hosts_named(name), container, |target| target.name.clone())
            }
        }
    }

    /// Finds the target of a fault.
    ///
    /// # Errors
    /// As [`Targets::resolve`], and when the fault would concern all packets or processes of the host.
    pub async fn of_fault(&self, fault: &FaultSpec) -> Result<ResolvedTarget, TargetError> {
        let part = Part::of(fault);
        part.checked(self.resolve_for(&fault.target, &part).await?)
    }

    /// The named peers of a fault, looked up now.
    ///
    /// # Errors
    /// When a peer is no target, or has no address.
    pub async fn peers(&self, selection: &Selection) -> Result<Peers, TargetError> {
        let mut peers = Peers::new();
        for name in selection.named_peers() {
            peers.insert(name.to_owned(), self.peer(name).await?);
        }
        Ok(peers)
    }

    /// One peer, looked up now.
    ///
    /// # Errors
    /// When it is no target, or has no address.
    pub async fn peer(&self, name: &str) -> Result<FoundPeer, TargetError> {
        let mut peer = self.find_peer(name).await?;
        // An engine tells them in any order.
        peer.addresses.sort_unstable();
        peer.addresses.dedup();
        if peer.addresses.is_empty() { Err(TargetError::NoAddress(name.to_owned())) } else { Ok(peer) }
    }

    async fn find_peer(&self, name: &str) -> Result<FoundPeer, TargetError> {
        match Named::of(name) {
            Named::Namespace(name) => namespace::peer(name).await,
            Named::Process(number) => process::peer(number).await,
            Named::Interface(name) => interface::peer(name).await,
            Named::Host => self.host_or_container(name).await,
        }
    }

    async fn host_or_container(&self, name: &str) -> Result<FoundPeer, TargetError> {
        let hosts = self.labs.hosts_named(name);
        let host = |host: ResolvedTarget| (host.name, FoundPeer::elsewhere(host.addresses, None));
        let hosts = hosts.into_iter().map(host).collect();
        let container = self.containers.peer(name).await.map(|peer| (name.to_owned(), peer));
        Ok(only(name, hosts, container, |(full_name, _)| full_name.clone())?.1)
    }

    /// The containers of this host.
    #[must_use]
    pub fn containers(&self) -> &Containers {
        &self.containers
    }

    /// The full names of those that belong to the same cluster as a target, itself included: the hosts of its lab, or
    /// what compose made for the same project. Nothing where it belongs to none.
    pub async fn of_the_same_cluster(&self, name: &str) -> Option<BTreeSet<String>> {
        let mut known = self.labs.target_statuses();
        if known.iter().any(|target| target.name == name) {
            let (lab, _) = name.split_once('/')?;
            let is_of_it =
                |target: &TargetStatus| target.name.split_once('/').is_some_and(|(of, _)| of == lab);
            return Some(known.into_iter().filter(is_of_it).map(|target| target.name).collect());
        }
        known = self.containers.list().await.unwrap_or_default();
        let project =
            |target: &TargetStatus| target.service.as_ref()?.split_once('/').map(|(of, _)| of.to_owned());
        let of_target = known.iter().find(|target| target.name == name).and_then(project)?;
        known.retain(|target| project(target).as_ref() == Some(&of_target));
        Some(known.into_iter().map(|target| target.name).collect())
    }

    /// Whether the name is that of a lab host, whose address never changes.
    #[must_use]
    pub fn is_lab_host(&self, name: &str) -> bool {
        !self.labs.hosts_named(name).is_empty()
    }

    /// Everything that can be named, with what stands in the way of a fault; processes, which are many,
    /// are left out.
    pub async fn list(&self) -> Vec<TargetStatus> {
        let mut targets = self.labs.target_statuses();
        targets.extend(self.containers.list().await.unwrap_or_default());
        targets.extend(namespace::list().await);
        targets.extend(interface::list().await);
        targets
    }
}

/// What a name stands for, as far as the name says it.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    Namespace(&'a str),
    Process(&'a str),
    Interface(&'a str),
    /// A lab host or a container.
    Host,
}

impl<'a> Named<'a> {
    fn of(name: &'a str) -> Self {
        let kinds = [
            (namespace::PREFIX, Self::Namespace as fn(&'a str) -> Self),
            (process::PREFIX, Self::Process),
            (interface::PREFIX, Self::Interface),
        ];
        let mut named = kinds.into_iter().filter_map(|(prefix, kind)| name.strip_prefix(prefix).map(kind));
        named.next().unwrap_or(Self::Host)
    }
}

/// Whether names that begin with this word and a slash are those of another kind of target than lab hosts.
#[must_use]
pub fn is_kind(word: &str) -> bool {
    Named::of(&format!("{word}/")) != Named::Host
}

/// The only thing that has a name, among lab hosts and the container.
fn only<T>(
    name: &str,
    mut found: Vec<T>,
    container: Result<T, ContainerError>,
    full_name: impl Fn(&T) -> String,
) -> Result<T, TargetError> {
    let why = match container {
        Ok(container) => {
            found.push(container);
            String::new()
        }
        Err(ContainerError::NotFound) => String::new(),
        Err(error @ ContainerError::NoEngine { .. }) => format!(" ({error})"),
        Err(ContainerError::Ambiguous { name, candidates }) => {
            let hosts = found.iter().map(full_name);
            return Err(TargetError::Ambiguous { name, candidates: hosts.chain(candidates).collect() });
        }
        Err(error) if found.is_empty() => return Err(TargetError::Container(error)),
        Err(_) => String::new(),
    };
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(TargetError::NotFound { name: name.to_owned(), why }),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            found.push(last);
            let candidates = found.iter().map(full_name).collect();
            Err(TargetError::Ambiguous { name: name.to_owned(), candidates })
        }
    }
}

/// A target for people, with what stands in the way of a fault.
fn status(kind: &str, name: String, found: Result<ResolvedTarget, TargetError>) -> TargetStatus {
    let shares_host = found.as_ref().is_ok_and(|target| target.shares_host);
    let usable = found.as_ref().ok().filter(|_target| !shares_host);
    let interfaces = |target: &ResolvedTarget| {
        target.interfaces.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(",")
    };
    TargetStatus {
        kind: kind.to_owned(),
        addresses: usable
            .map_or_else(Vec::new, |target| target.addresses.iter().map(IpAddr::to_string).collect()),
        interface: usable.map(interfaces),
        problem: match found {
            Ok(_) if shares_host => Some(TargetError::SharesHost(name.clone()).to_string()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        },
        name,
        ..TargetStatus::default()
    }
}

/// Does what waits for the kernel where it keeps nobody else waiting.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_kind_of_thing_it_stands_for() {
        for (name, kind) in [
            ("netns/blue", Named::Namespace("blue")),
            ("pid/12", Named::Process("12")),
            ("interface/eth0", Named::Interface("eth0")),
            ("etcd/etcd0", Named::Host),
            ("netns", Named::Host),
            ("web", Named::Host),
        ] {
            assert_eq!(Named::of(name), kind, "{name}");
        }
        assert!(is_kind("netns") && is_kind("pid") && is_kind("interface") && !is_kind("etcd"));
    }

    #[test]
    fn a_name_that_a_host_and_a_container_have_is_said_to_be_both() {
        type Found = Result<&'static str, ContainerError>;
        let only = |hosts: &[&'static str], container: Found| {
            only("web", hosts.to_vec(), container, |name| (*name).into())
        };
        assert_eq!(only(&["lab/web"], Err(ContainerError::NotFound)).unwrap(), "lab/web");
        assert_eq!(only(&[], Ok("web")).unwrap(), "web");
        let both = only(&["lab/web"], Ok("web")).unwrap_err().to_string();
        assert_eq!(
            both,
            "'web' could be any of lab/web, web: name one of them in full, containers by their id if need be"
        );
        assert!(matches!(only(&[], Err(ContainerError::NotFound)), Err(TargetError::NotFound { .. })));
        let stopped = || Err(ContainerError::NotRunning("web".into()));
        assert!(matches!(only(&[], stopped()), Err(TargetError::Container(_))));
        assert_eq!(only(&["lab/web"], stopped()).unwrap(), "lab/web", "a host is not hidden by a container");
    }
}
