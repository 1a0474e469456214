//! From a name to the interfaces whose packets a fault concerns.

pub mod docker;

use std::{collections::BTreeMap, net::IpAddr};

use faultd_api::target::TargetStatus;
use faultd_kernel::datapath::{InterfaceReference, Selector};

use self::docker::{ContainerEngine, ContainerError};
use crate::{fault::Selection, lab::Labs};

/// A target that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedTarget {
    /// Its full name: `etcd/etcd0` for a lab host, the container's name otherwise.
    pub name: String,
    /// The host sides of its interfaces.
    pub interfaces: Vec<InterfaceReference>,
    /// Its addresses, by which it is known as a peer of others.
    pub addresses: Vec<IpAddr>,
}

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
    #[error("'{name}' could be any of {}: name one of them in full", candidates.join(", "))]
    Ambiguous {
        /// The name as it was given.
        name: String,
        /// What it could be.
        candidates: Vec<String>,
    },
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
    containers: ContainerEngine,
}

impl Targets {
    /// Looks in these labs and at this container engine.
    #[must_use]
    pub fn new(labs: Labs, containers: ContainerEngine) -> Self {
        Self { labs, containers }
    }

    /// Finds a target by its full name, or by a lab host's short one where that is clear.
    ///
    /// # Errors
    /// When nothing, or more than one thing, has that name, or a container cannot be faulted.
    pub async fn resolve(&self, name: &str) -> Result<ResolvedTarget, TargetError> {
        let mut found = self.labs.hosts_named(name);
        let why = match self.containers.find(name).await {
            Ok(container) => {
                found.push(container);
                String::new()
            }
            Err(ContainerError::NotFound) => String::new(),
            Err(error @ ContainerError::NoEngine { .. }) => format!(" ({error})"),
            Err(error) if found.is_empty() => return Err(TargetError::Container(error)),
            Err(_) => String::new(),
        };
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(TargetError::NotFound { name: name.to_owned(), why }),
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                found.push(last);
                let candidates = found.into_iter().map(|target| target.name).collect();
                Err(TargetError::Ambiguous { name: name.to_owned(), candidates })
            }
        }
    }

    /// The kernel's selectors for what a fault selects: named peers are looked up now.
    ///
    /// # Errors
    /// When a peer is no target, or has no address.
    pub async fn selectors(&self, selection: &Selection) -> Result<Vec<Selector>, TargetError> {
        let mut addresses: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for name in selection.named_peers() {
            let peer = self.resolve(name).await?;
            if peer.addresses.is_empty() {
                return Err(TargetError::NoAddress(peer.name));
            }
            addresses.insert(name.to_owned(), peer.addresses);
        }
        Ok(selection.selectors(|name| addresses.get(name).cloned().unwrap_or_default()))
    }

    /// Everything that can be named, with what stands in the way of a fault.
    pub async fn list(&self) -> Vec<TargetStatus> {
        let mut targets = self.labs.target_statuses();
        targets.extend(self.containers.list().await.unwrap_or_default());
        targets
    }
}
