//! What can go wrong between a rule's plan and the kernel.

use std::{io, time::Duration};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use thiserror::Error;

use super::rule::RuleId;
use crate::{
    holding::{HoldingError, HoldingKind},
    journal::JournalError,
    namespace::NamespaceError,
    netlink::NetlinkError,
};

/// What can go wrong with rules in the kernel.
#[derive(Debug, Error)]
pub enum DatapathError {
    /// Probing found neither TCX nor clsact.
    #[error("this kernel can attach programs neither by TCX nor by clsact: see what `faultctl doctor` says")]
    NoAttachKind,
    /// The eBPF object was refused.
    #[error("the kernel does not load faultd's eBPF object (this needs root, or CAP_BPF and CAP_NET_ADMIN)")]
    Load(#[source] Box<EbpfError>),
    /// A program was refused or could not be attached.
    #[error("the kernel does not take the program {program}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// Why not, with the verifier's log where there is one.
        #[source]
        source: Box<ProgramError>,
    },
    /// A program or map is not in the object: daemon and object do not belong together.
    #[error("the eBPF object has no {0}: build object and daemon from the same source")]
    MissingInObject(&'static str),
    /// A map could not be read or written.
    #[error("cannot access the eBPF map {map}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// Why not.
        #[source]
        source: Box<MapError>,
    },
    /// Reading the number of CPUs failed.
    #[error("cannot prepare a rule's counters")]
    Counters(#[source] io::Error),
    /// A link, filter or queueing discipline could not be read or changed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// What will be changed could not be written down, so nothing was.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The holding device failed.
    #[error(transparent)]
    Holding(#[from] HoldingError),
    /// A thread could not be started.
    #[error("cannot start a thread of the datapath")]
    Thread(#[source] io::Error),
    /// A share of packets is not between 0 and 1.
    #[error("{0} is no ratio of packets: it must be between 0 and 1")]
    InvalidRatio(f64),
    /// A correlation is not from 0 to below 1.
    #[error("{0} is no correlation: it must be at least 0 and below 1")]
    InvalidCorrelation(f64),
    /// A measured distribution has too few values, or values that are no numbers.
    #[error("a measured distribution needs two values at least, all of them numbers")]
    InvalidDistribution,
    /// Every zeroth packet.
    #[error("every packet number is a multiple of none: say every how many packets one is lost")]
    LossOfEveryZeroth,
    /// A loss trace is empty or too long.
    #[error("a loss trace of {0} packets: it must be of at least 1 and at most {max}", max = super::effect::LONGEST_TRACE)]
    TraceLength(usize),
    /// A rate of nearly nothing.
    #[error("a rate below 8 bytes a second lets nothing pass: ask for full loss instead")]
    InvalidRate,
    /// A delay, jitter or queueing time beyond the bound.
    #[error("{0:?} is too long: at most an hour")]
    TooLong(Duration),
    /// Reordering where nothing waits.
    #[error("packets can only overtake others that wait: reordering needs a delay")]
    ReorderWithoutDelay,
    /// No port at all.
    #[error("ports {first} to {last} are none")]
    EmptyPortRange {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
    },
    /// Something must wait without saying which device holds the packets.
    #[error("this rule needs a holding device")]
    NoHoldingDevice,
    /// The device cannot do what was planned.
    #[error("{kind} cannot {what}")]
    BackendCannot {
        /// The device.
        kind: HoldingKind,
        /// What it cannot do.
        what: &'static str,
    },
    /// Two rules that hold must be alike in where their packets are held.
    #[error("a rule that holds cannot change from one backend to another: remove it and add a new one")]
    HoldingChange,
    /// A rule that holds cannot be moved.
    #[error("a rule that holds cannot move to another interface or direction: remove it and add a new one")]
    Moved,
    /// Rules on one hook must agree on which end of the interface their target is.
    #[error(
        "other rules on {interface} see their target at the other end of it: name the same target as they \
         do, or remove them first"
    )]
    OtherEnd {
        /// Name of the interface.
        interface: String,
    },
    /// As many rules compete for a packet as can.
    #[error(
        "{limit} rules compete for the same packets of {interface} already, which is the most: remove one first"
    )]
    TooManyRules {
        /// Name of the interface.
        interface: String,
        /// The most that is possible.
        limit: usize,
    },
    /// All jitter tables are in use.
    #[error("{0} different shapes of jitter are in use already, which is the most: remove a rule first")]
    TooManyJitterTables(u32),
    /// All slots of the namespace are in use.
    #[error("no more rules fit into this network namespace: remove some first")]
    NoFreeSlot,
    /// There is no such rule.
    #[error("there is no rule {0}")]
    UnknownRule(RuleId),
    /// Something could not be taken down; everything else was.
    #[error("could not clean up everything: {}", join(.0))]
    Teardown(Vec<DatapathError>),
}

impl DatapathError {
    pub(super) fn map(map: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| Self::Map { map, source: Box::new(source) }
    }

    pub(super) fn program(program: &'static str) -> impl FnOnce(ProgramError) -> Self {
        move |source| Self::Program { program, source: Box::new(source) }
    }

    pub(super) fn from_teardown(errors: Vec<Self>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self::Teardown(errors)) }
    }
}

fn join(errors: &[DatapathError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
