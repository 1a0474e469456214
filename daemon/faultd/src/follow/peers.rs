//! Follows peers that are no containers and that faults call by a name: looks for their addresses again and
//! again while such a fault holds. Without such a fault it sleeps.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::sleep;

use crate::{
    engine::EngineHandle,
    target::{FoundPeer, Peers, TargetError, Targets},
};

/// How often addresses are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Follows peers until the engine ends.
pub(super) async fn follow(engine: EngineHandle, targets: Targets) {
    let mut named = engine.named_peers();
    let mut absent = Absent::default();
    loop {
        // The addresses of lab hosts are those of their description.
        let moving = |name: &&String| !targets.is_lab_host(name);
        let moving: Vec<String> = named.borrow_and_update().iter().filter(moving).cloned().collect();
        absent.keep_only(&moving);
        if moving.is_empty() {
            if named.changed().await.is_err() {
                return;
            }
            continue;
        }
        if engine.follow(look_for(&moving, &targets, &mut absent).await).await.is_err() {
            return;
        }
        tokio::select! {
            changed = named.changed() => if changed.is_err() { return },
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

/// The peers that are there.
async fn look_for(names: &[String], targets: &Targets, absent: &mut Absent) -> Peers {
    let mut found = Peers::new();
    for name in names {
        if let Some(peer) = absent.note(name, targets.peer(name).await) {
            found.insert(name.clone(), peer);
        }
    }
    found
}

/// Peers that were not there at the last look: a fault knows them by their last addresses until they are
/// back, for a container that is started again is gone for a moment only.
#[derive(Default)]
struct Absent(BTreeSet<String>);

impl Absent {
    /// Who is not to be followed any more is not missed either.
    fn keep_only(&mut self, names: &[String]) {
        self.0.retain(|name| names.contains(name));
    }

    /// Notes whether a peer is there, and says so when that is news.
    fn note(&mut self, name: &str, found: Result<FoundPeer, TargetError>) -> Option<FoundPeer> {
        match found {
            Ok(peer) => {
                if self.0.remove(name) {
                    tracing::info!(peer = name, "the peer of a fault is back");
                }
                Some(peer)
            }
            Err(error) => {
                if self.0.insert(name.to_owned()) {
                    tracing::warn!(
                        peer = name,
                        %error,
                        "the peer of a fault is gone: the fault keeps its last addresses"
                    );
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_gone_for_a_moment_is_missed_until_it_is_back() {
        let mut absent = Absent::default();
        let gone = || Err(TargetError::NoNamespace("b".to_owned()));
        assert_eq!(absent.note("netns/b", gone()), None);
        assert_eq!(absent.note("netns/b", gone()), None);
        assert_eq!(absent.0.len(), 1);
        let back = FoundPeer { addresses: vec![[10, 0, 0, 1].into()], ..FoundPeer::default() };
        assert_eq!(absent.note("netns/b", Ok(back.clone())), Some(back));
        assert!(absent.0.is_empty());
        assert_eq!(absent.note("netns/b", gone()), None);
        absent.keep_only(&[]);
        assert!(absent.0.is_empty());
    }
}
