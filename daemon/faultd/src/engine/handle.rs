//! How the rest of the daemon speaks to the engine: commands with a reply.

use std::collections::BTreeSet;

use faultd_api::fault::FaultStatus;
use faultd_kernel::datapath::{InterfaceReference, Selector};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    active::{Applied, Cleared, FaultOwner},
    budget::{Budget, BudgetSpent},
    queue::Callers,
};
use crate::{
    fault::{FaultSpec, backend::ChosenBackend},
    target::{FollowedFault, FoundPeer, Peers, ResolvedTarget, Whereabouts},
};

/// A checked fault, on a found target, with a chosen backend: ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// What to do.
    pub spec: FaultSpec,
    /// To whom.
    pub target: ResolvedTarget,
    /// The peers that are named, as they were found last.
    pub peers: Peers,
    /// By what.
    pub backend: ChosenBackend,
    /// Until whose end.
    pub owner: FaultOwner,
    /// Packets that it does nothing to, whatever it selects.
    pub spared: Vec<Selector>,
    /// How many targets may be under fault at once.
    pub budget: Budget,
}

impl Application {
    /// To which packets of the target: a rule for each.
    #[must_use]
    pub fn selectors(&self) -> Vec<Selector> {
        let addresses = |name: &str| self.peers.get(name).map(|peer| peer.addresses.clone());
        self.spec.selection.selectors(|name| addresses(name).unwrap_or_default())
    }

    /// The same with peers as they are found now; nothing where none of them has moved. A process that
    /// has the number of another one is not that, and a container that was asked for by its id only itself.
    pub(super) fn followed(&self, found: &Peers) -> Option<Self> {
        let moved = |(name, known): (&String, &FoundPeer)| {
            let now = found.get(name).filter(|now| now.process == known.process && **now != *known)?;
            Some((name.clone(), now.clone()))
        };
        let moved: Peers = self.peers.iter().filter_map(moved).collect();
        (!moved.is_empty()).then(|| {
            let mut followed = self.clone();
            followed.peers.extend(moved);
            followed
        })
    }
}

impl Application {
    /// Keeps what is known of peers that are containers: that is newer than what a run remembers of them.
    pub(super) fn keep_containers(&mut self, known: &Peers) {
        for (name, peer) in &mut self.peers {
            if let Some(known) = known.get(name).filter(|known| !known.containers.is_empty()) {
                peer.clone_from(known);
            }
        }
    }
}

/// Which faults a command concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every fault.
    All,
    /// One fault, by id.
    Id(String),
    /// All faults of a target, by full name.
    Target(String),
    /// All faults of a lab's hosts.
    Lab(String),
    /// All faults of an owner that has gone.
    Owner(FaultOwner),
}

/// Why the engine did not do it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The kernel refused; nothing of the fault is left.
    #[error("the fault was not applied to {target}: {reason}; 'faultctl doctor' says what this host can do")]
    NotApplied {
        /// The target's full name.
        target: String,
        /// What the kernel said.
        reason: String,
    },
    /// The programs cannot be loaded.
    #[error("the kernel does not take the programs: {0}; 'faultctl doctor' says what this host can do")]
    NotPrepared(String),
    /// There is no such fault.
    #[error("no fault has the id '{0}'; see 'faultctl fault ls'")]
    NoSuchFault(String),
    /// The kernel refused a change; the fault holds as it was.
    #[error("fault {id} was not changed: {reason}")]
    NotChanged {
        /// The fault's id.
        id: String,
        /// What the kernel said.
        reason: String,
    },
    /// A change to something that only a new fault can have.
    #[error(
        "fault {0} cannot change its kind between packets, pauses and processors, its target, network, direction, backend or number of port ranges: remove it and add a new one"
    )]
    NotTheSame(String),
    /// Another fault holds there already.
    #[error(
        "{target} already has a fault for the same packets in this direction ({id}, {direction}): remove it first \
         ('faultctl fault rm {id}'), or give this one another --priority"
    )]
    Occupied {
        /// The target's full name.
        target: String,
        /// The direction in which both would act.
        direction: String,
        /// The other fault's id.
        id: String,
    },
    /// Another fault of this kind does something to the same processes already.
    #[error(
        "{target} already has a fault of the kind {kind} ({id}): change it ('faultctl fault set {id}') or remove it first"
    )]
    SameKind {
        /// The target's full name.
        target: String,
        /// `pause` or `cpu`.
        kind: &'static str,
        /// The other fault's id.
        id: String,
    },
    /// Too many targets are under fault already.
    #[error(transparent)]
    BudgetSpent(#[from] BudgetSpent),
    /// Everything was cleared while it waited; nothing of the fault is left.
    #[error(
        "all faults were cleared before this one on {0} was in place, so it was not added: add it again if it is still wanted"
    )]
    ClearedMeanwhile(String),
    /// The engine's thread is gone: the daemon is about to stop.
    #[error("the daemon is stopping")]
    Stopping,
}

pub(super) enum Command {
    Add {
        application: Box<Application>,
        /// How many times everything had been cleared when it was asked for.
        clearings: u64,
        reply: oneshot::Sender<Result<Applied, EngineError>>,
    },
    Set {
        id: String,
        application: Box<Application>,
        reply: oneshot::Sender<Result<FaultStatus, EngineError>>,
    },
    Clear {
        selection: Selection,
        reply: oneshot::Sender<Vec<Cleared>>,
    },
    List {
        reply: oneshot::Sender<Vec<FaultStatus>>,
    },
    Follow {
        found: Peers,
        reply: oneshot::Sender<()>,
    },
    Move {
        id: String,
        whereabouts: Box<Whereabouts>,
        reply: oneshot::Sender<()>,
    },
    Prepare {
        interfaces: Vec<InterfaceReference>,
        reply: oneshot::Sender<Result<(), EngineError>>,
    },
    Release {
        interfaces: Vec<InterfaceReference>,
        reply: oneshot::Sender<()>,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// What is to be followed, as it is known now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowedContainers {
    /// The faults on containers.
    pub faults: Vec<FollowedFault>,
    /// The named peers of faults that are containers.
    pub peers: Peers,
}

impl FollowedContainers {
    /// Whether no fault concerns any container.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.peers.is_empty()
    }
}

/// What the engine tells those who follow.
#[derive(Clone)]
pub(super) struct Told {
    /// Peers that are no containers.
    pub(super) named_peers: watch::Receiver<BTreeSet<String>>,
    pub(super) containers: watch::Receiver<FollowedContainers>,
    /// Counts changes of the faults that hold.
    pub(super) changes: watch::Receiver<u64>,
}

/// When a fault was asked for, counted in clearings of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked(u64);

/// A handle to the engine; clones speak to the same one.
#[derive(Clone)]
pub struct EngineHandle {
    callers: Callers,
    told: Told,
}

impl EngineHandle {
    pub(super) fn new(callers: Callers, told: Told) -> Self {
        Self { callers, told }
    }

    /// The peers that faults which hold call by a name, containers apart, whenever that changes.
    #[must_use]
    pub fn named_peers(&self) -> watch::Receiver<BTreeSet<String>> {
        self.told.named_peers.clone()
    }

    /// The containers that faults which hold concern, whenever that changes.
    #[must_use]
    pub fn containers(&self) -> watch::Receiver<FollowedContainers> {
        self.told.containers.clone()
    }

    /// Hears when a fault has begun, changed, moved or ended.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.told.changes.clone()
    }

    /// Moves a fault to where its target is now: it keeps its id, seed, owner, deadline and what it counted.
    /// While its target is away it has no rules. A fault that has ended meanwhile stays so.
    ///
    /// # Errors
    /// Only when the daemon is stopping.
    pub async fn move_fault(&self, id: &str, whereabouts: Whereabouts) -> Result<(), EngineError> {
        let (id, whereabouts) = (id.to_owned(), Box::new(whereabouts));
        self.ask(|reply| Command::Move { id, whereabouts, reply }).await
    }

    /// Changes every fault that names one of these peers and knows it by other addresses, at once for
    /// each packet. What cannot be changed holds as it was, and is logged.
    ///
    /// # Errors
    /// Only when the daemon is stopping.
    pub async fn follow(&self, found: Peers) -> Result<(), EngineError> {
        self.ask(|reply| Command::Follow { found, reply }).await
    }

    /// The moment at which a fault is asked for, before its target is looked for.
    #[must_use]
    pub fn asked_now(&self) -> Asked {
        Asked(self.callers.clearings.so_far())
    }

    /// As [`EngineHandle::add`], for a fault that was asked for then: it is refused if everything was cleared since.
    ///
    /// # Errors
    /// As [`EngineHandle::add`].
    pub async fn add_as_asked(&self, application: Application, asked: Asked) -> Result<Applied, EngineError> {
        let (application, Asked(clearings)) = (Box::new(application), asked);
        self.ask(|reply| Command::Add { application, clearings, reply }).await?
    }

    /// Applies a fault; when this returns, the kernel has confirmed it.
    ///
    /// # Errors
    /// When another fault is in the way, the kernel refuses, or everything is cleared meanwhile.
    pub async fn add(&self, application: Application) -> Result<Applied, EngineError> {
        let asked = self.asked_now();
        self.add_as_asked(application, asked).await
    }

    /// Changes what a fault does, to which packets and until when, at once for each packet.
    ///
    /// # Errors
    /// When there is no such fault, or the kernel refuses; it holds as it was, then.
    pub async fn set(&self, id: &str, application: Application) -> Result<FaultStatus, EngineError> {
        let (id, application) = (id.to_owned(), Box::new(application));
        self.ask(|reply| Command::Set { id, application, reply }).await?
    }

    /// Removes faults; when this returns, they do not hold any more. [`Selection::All`] goes ahead of everything that
    /// waits, and faults that wait to be added are refused.
    ///
    /// # Errors
    /// Only when the daemon is stopping, which removes them as well.
    pub async fn clear(&self, selection: Selection) -> Result<Vec<Cleared>, EngineError> {
        if selection == Selection::All {
            return self.ask_ahead(|reply| Command::Clear { selection, reply }).await;
        }
        self.ask(|reply| Command::Clear { selection, reply }).await
    }

    /// The faults that hold, with what they did so far.
    ///
    /// # Errors
    /// Only when the daemon is stopping.
    pub async fn list(&self) -> Result<Vec<FaultStatus>, EngineError> {
        self.ask(|reply| Command::List { reply }).await
    }

    /// Makes ready for faults on these interfaces, so that they take effect at once.
    ///
    /// # Errors
    /// When the kernel refuses the programs; nothing is held ready then.
    pub async fn prepare(&self, interfaces: Vec<InterfaceReference>) -> Result<(), EngineError> {
        self.ask(|reply| Command::Prepare { interfaces, reply }).await?
    }

    /// Takes back one [`EngineHandle::prepare`] of the same interfaces.
    pub async fn release(&self, interfaces: Vec<InterfaceReference>) {
        // An engine that is gone holds nothing ready.
        let _ = self.ask(|reply| Command::Release { interfaces, reply }).await;
    }

    /// Removes everything and ends the engine's thread.
    pub async fn stop(&self) {
        // An engine that is gone already has removed everything.
        let _ = self.ask_ahead(|reply| Command::Stop { reply }).await;
    }

    /// For what clears everything.
    async fn ask_ahead<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, EngineError> {
        self.callers.clearings.begin();
        ask(&self.callers.ahead, command).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, EngineError> {
        ask(&self.callers.in_order, command).await
    }
}

async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, EngineError> {
    let (reply, answer) = oneshot::channel();
    commands.send(command(reply)).await.map_err(|_| EngineError::Stopping)?;
    answer.await.map_err(|_| EngineError::Stopping)
}
