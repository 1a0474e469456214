//! Containers that are under fault, or peers of one, looked for again: where they are now, and whether they are
//! there at all.

use super::{
    FoundPeer, Part, ResolvedTarget, TargetError, Targets,
    containers::{ContainerError, ContainerIdentity},
};

/// A fault on a container, as far as it must be known to follow that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedFault {
    /// The fault's id.
    pub id: String,
    /// The target as it was asked for.
    pub asked: String,
    /// What of the container it concerns.
    pub part: Part,
    /// The container as it was known last.
    pub container: ContainerIdentity,
    /// Whether it was away when it was looked for last.
    pub away: bool,
}

/// Where the target of a fault is now.
#[derive(Debug, Clone, PartialEq)]
pub enum Whereabouts {
    /// It is connected, or runs, here.
    There(ResolvedTarget),
    /// It is not there, or cannot be faulted, for a reason that people are told.
    Away(String),
}

impl Targets {
    /// Where the target of a fault is now; nothing when its engine does not answer, but the container still
    /// runs.
    pub async fn target_again(&self, fault: &FollowedFault) -> Option<Whereabouts> {
        let FollowedFault { asked, part, container, .. } = fault;
        let found = match self.containers.find_again(container, asked, part).await {
            Err(ContainerError::NoEngine { .. }) if container.process.is_alive() => return None,
            found => found.map_err(TargetError::Container),
        };
        Some(match found.and_then(|target| part.checked(target)) {
            Ok(target) => Whereabouts::There(target),
            Err(why) => Whereabouts::Away(why.to_string()),
        })
    }

    /// Where a peer is now that is a container; while it is away it has no addresses.
    pub async fn peer_again(&self, name: &str, known: &FoundPeer) -> FoundPeer {
        let away = || FoundPeer { addresses: Vec::new(), ..known.clone() };
        match self.containers.peer_again(&known.containers, name).await {
            Ok(mut peer) => {
                peer.addresses.sort_unstable();
                peer.addresses.dedup();
                peer
            }
            Err(ContainerError::NoEngine { .. }) if all_alive(&known.containers) => known.clone(),
            Err(_why) => away(),
        }
    }
}

fn all_alive(containers: &[ContainerIdentity]) -> bool {
    containers.iter().all(|container| container.process.is_alive())
}
