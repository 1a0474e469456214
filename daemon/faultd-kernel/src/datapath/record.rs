//! What the journal says of a namespace in which programs and devices of ours are about to be: enough to find it again
//! when it has no name, or has lost it. What of ours is in it is known by our names.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    journal::{Entry, Outcome},
    namespace::{self, Namespace, NamespaceIdentity},
    residue::{self, Residue},
};

/// One namespace with an instance in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceRecord {
    /// By what it is recognised, so that a process id that is another's by now misleads nobody.
    identity: NamespaceIdentity,
    /// By what it was reached: `/run/netns/NAME`, `/proc/PID/ns/net`, or as our own.
    path: PathBuf,
}

impl Entry for NamespaceRecord {
    const KIND: &'static str = "network namespace";
}

impl NamespaceRecord {
    /// Of this namespace.
    #[must_use]
    pub fn of(namespace: &Namespace) -> Self {
        Self { identity: namespace.identity(), path: namespace.path().to_owned() }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        if self.path.starts_with("/proc/thread-self") {
            return "network namespace of the daemon".to_owned();
        }
        format!("network namespace {}", self.path.display())
    }

    /// Removes what an earlier life has left in it. Where another faultd lives, it may be that one's, and stays.
    pub(crate) fn of_earlier_life(&self, is_alone: bool) -> Outcome {
        let Some(namespace) = namespace::find(self.identity, &self.path) else {
            // What was in it has gone with it.
            return Outcome::nothing();
        };
        let found = match residue::find_in(&namespace) {
            Ok(found) => found,
            Err(error) => return Outcome::failed(format!("{}: cannot be looked into: {error}", self.text())),
        };
        if !found.is_empty() && !is_alone {
            return Outcome::failed(format!(
                "{}: has devices or filters of faultd, which stay since another faultd runs and they may be its own",
                self.text()
            ));
        }
        found.iter().map(remove).collect()
    }
}

/// Removes one thing that an earlier life has left.
pub(crate) fn remove(found: &Residue) -> Outcome {
    match residue::remove(found) {
        Ok(()) => Outcome::done(format!("{found}: left by an earlier faultd, removed")),
        Err(error) => {
            Outcome::failed(format!("{found}: left by an earlier faultd, and cannot be removed: {error}"))
        }
    }
}
