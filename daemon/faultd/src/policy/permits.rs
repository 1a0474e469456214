//! Whether a fault may be on a target, and what it has to keep to: the policy with what must be looked up for it.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use faultd_kernel::{datapath::Selector, namespace::Namespace};

use super::{
    Policy,
    faults::{FaultPolicy, FaultRefusal, Patterns},
};
use crate::{
    engine::{Budget, ClusterBudget},
    error_chain,
    fault::FaultSpec,
    target::{ResolvedTarget, TargetError, Targets, containers::ContainerError},
};

/// The policy that is in force; clones share it.
#[derive(Clone)]
pub struct Permits {
    policy: Arc<RwLock<Arc<Policy>>>,
    targets: Targets,
}

/// What a fault that may be has to keep to.
#[derive(Debug, Clone, PartialEq)]
pub struct Permit {
    /// For how long it may hold.
    pub hold_for: Option<Duration>,
    /// Packets that it does nothing to.
    pub spared: Vec<Selector>,
    /// How many targets may be under fault at once.
    pub budget: Budget,
}

impl Permits {
    /// Holds faults on these targets to a policy.
    #[must_use]
    pub fn new(policy: Policy, targets: Targets) -> Self {
        Self { policy: Arc::new(RwLock::new(Arc::new(policy))), targets }
    }

    /// The policy as it is now.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another policy in force, for everything that is asked for from now on.
    pub fn replace(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// Whether a fault may be on a target. `cluster` has the members, where it is known which cluster is meant;
    /// otherwise they are looked up.
    ///
    /// # Errors
    /// When the policy forbids it, or it cannot be found out whether it does.
    pub async fn of_fault(
        &self,
        fault: &FaultSpec,
        target: &ResolvedTarget,
        cluster: Option<BTreeSet<String>>,
    ) -> Result<Permit, FaultRefusal> {
        let policy = self.policy();
        let limits = policy.faults();
        limits.check(fault)?;
        self.check_target(limits, &target.name).await?;
        let host = Namespace::current().map_err(|error| unknown(&target.name, &error_chain(&error)))?;
        Ok(Permit {
            hold_for: limits.hold_for(fault.hold_for),
            spared: limits.spared(target, &host),
            budget: Budget {
                cluster: self.share_of_cluster(limits, target, cluster).await,
                ..limits.budget()
            },
        })
    }

    async fn check_target(&self, limits: &FaultPolicy, name: &str) -> Result<(), FaultRefusal> {
        if self.fits(limits.never(), name).await? {
            return Err(FaultRefusal::Protected(name.to_owned()));
        }
        match limits.allowed() {
            Some(allowed) if !self.fits(allowed, name).await? => {
                Err(FaultRefusal::NotAllowed(name.to_owned()))
            }
            _ => Ok(()),
        }
    }

    async fn fits(&self, patterns: Patterns<'_>, name: &str) -> Result<bool, FaultRefusal> {
        if patterns.name(name) {
            return Ok(true);
        }
        // Lab hosts, namespaces and interfaces have no labels.
        if name.contains('/') {
            return Ok(false);
        }
        for label in patterns.labels() {
            match self.targets.containers().names_of_all(label).await {
                Ok(names) if names.iter().any(|labelled| labelled == name) => return Ok(true),
                Ok(_) | Err(ContainerError::NotFound) => {}
                Err(error) => return Err(unknown(name, &TargetError::Container(error).to_string())),
            }
        }
        Ok(false)
    }

    async fn share_of_cluster(
        &self,
        limits: &FaultPolicy,
        target: &ResolvedTarget,
        cluster: Option<BTreeSet<String>>,
    ) -> Option<ClusterBudget> {
        let share = limits.most_of_a_cluster?;
        let members = match cluster {
            Some(members) => members,
            None => self.targets.of_the_same_cluster(&target.name).await?,
        };
        Some(ClusterBudget { members, share })
    }
}

fn unknown(target: &str, reason: &str) -> FaultRefusal {
    FaultRefusal::Unknown { target: target.to_owned(), reason: reason.to_owned() }
}
