//! Peers that move: which of them are to be followed, and what is changed when they have.

use std::collections::BTreeSet;

use tokio::sync::watch;

use super::{
    active::ActiveFault,
    handle::{Application, FollowedContainers},
    owner::Owner,
    port::RulePort,
};
use crate::target::{FollowedFault, FoundPeer, Part, Peers};

impl<P: RulePort> Owner<P> {
    /// Tells those who look on that faults have changed, and the followers which targets and peers they are to look
    /// for, if that is not what they know.
    pub(super) fn tell_followed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
        let peers = || self.faults.values().flat_map(|fault| &fault.application.peers);
        let named = peers().filter(|(_, peer)| peer.containers.is_empty());
        tell(&self.named_peers, named.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>());
        let containers = peers().filter(|(_, peer)| !peer.containers.is_empty());
        tell(
            &self.containers,
            FollowedContainers {
                faults: self.faults.values().filter_map(followed).collect(),
                peers: containers.map(|(name, peer)| (name.clone(), peer.clone())).collect(),
            },
        );
    }

    /// Changes the faults whose peers have moved. One that the kernel does not change is tried again with
    /// the next look, and told once.
    pub(super) fn follow(&mut self, found: &Peers) {
        for fault in self.faults.values_mut() {
            let Some(application) = fault.application.followed(found) else { continue };
            let target = application.target.name.clone();
            match self.carriers.set(fault, &application, fault.deadline_ns) {
                Ok(()) => {
                    let before = std::mem::replace(&mut fault.application, application);
                    fault.refused_to_follow = false;
                    tell_absent(&fault.id, &before.peers, &fault.application.peers);
                    if have_moved(&before.peers, &fault.application.peers) {
                        self.metrics.peers_moved(&target);
                        tracing::info!(fault = fault.id, target, "peers have moved, the fault follows them");
                    }
                }
                Err(reason) if !fault.refused_to_follow => {
                    fault.refused_to_follow = true;
                    tracing::error!(fault = fault.id, target, reason, "the fault cannot follow its peers");
                }
                Err(_known) => {}
            }
        }
        self.tell_followed();
    }
}

fn tell<T: PartialEq>(followers: &watch::Sender<T>, followed: T) {
    followers.send_if_modified(|known| {
        let differs = *known != followed;
        *known = followed;
        differs
    });
}

/// A fault on a container, as those see it who follow it.
fn followed(fault: &ActiveFault) -> Option<FollowedFault> {
    let Application { spec, target, .. } = &fault.application;
    Some(FollowedFault {
        id: fault.id.clone(),
        asked: spec.target.clone(),
        part: Part::of(spec),
        container: target.container.clone()?,
        away: fault.away,
    })
}

/// Says which containers are away now, and which are back.
fn tell_absent(fault: &str, before: &Peers, now: &Peers) {
    for (peer, found) in now {
        let was_away = before.get(peer).is_some_and(|before| before.addresses.is_empty());
        match (was_away, found.addresses.is_empty()) {
            (false, true) => {
                tracing::warn!(fault, peer, "the peer of a fault is away: no packet is taken for one of it");
            }
            (true, false) => tracing::info!(fault, peer, "the peer of a fault is back"),
            _ => {}
        }
    }
}

/// Whether somebody is at other addresses, and not only away.
fn have_moved(before: &Peers, now: &Peers) -> bool {
    let addresses =
        |peers: &Peers, name: &str| peers.get(name).map(|peer: &FoundPeer| peer.addresses.clone());
    now.iter().any(|(name, peer)| {
        !peer.addresses.is_empty() && addresses(before, name).as_ref() != Some(&peer.addresses)
    })
}
