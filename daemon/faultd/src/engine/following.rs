//! Peers that move: which of them are to be followed, and what is changed when they have.

use std::collections::BTreeSet;

use super::{
    owner::{Owner, set_rules},
    port::RulePort,
};
use crate::{error_chain, target::Peers};

impl<P: RulePort> Owner<P> {
    /// Tells the follower which peers faults call by a name, if that is not what it knows.
    pub(super) fn tell_named_peers(&self) {
        let peers = self.faults.values().flat_map(|fault| fault.application.peers.keys());
        let named: BTreeSet<String> = peers.cloned().collect();
        self.named_peers.send_if_modified(|known| {
            let differs = *known != named;
            *known = named;
            differs
        });
    }

    /// Changes the faults whose peers have moved. One that the kernel does not change is tried again with
    /// the next look, and told once.
    pub(super) fn follow(&mut self, found: &Peers) {
        for fault in self.faults.values_mut() {
            let Some(application) = fault.application.followed(found) else { continue };
            let target = application.target.name.clone();
            match set_rules(&mut self.port, fault, &application, fault.deadline_ns) {
                Ok(()) => {
                    fault.application = application;
                    fault.refused_to_follow = false;
                    self.metrics.peers_moved(&target);
                    tracing::info!(fault = fault.id, target, "peers have moved, the fault follows them");
                }
                Err(error) if !fault.refused_to_follow => {
                    fault.refused_to_follow = true;
                    let reason = error_chain(&error);
                    tracing::error!(fault = fault.id, target, reason, "the fault cannot follow its peers");
                }
                Err(_known) => {}
            }
        }
    }
}
