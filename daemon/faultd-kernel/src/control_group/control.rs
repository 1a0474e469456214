//! What makes the processes of others slow, and takes that back: the front of this module. Nothing is changed before
//! it is written down and a guard runs that would undo it.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    ControlGroupError,
    finding::{ControlGroup, Controller, GroupOwner},
    freezing::{Freezer, Freezing as _},
    guard::{
        Guard, GuardProgram,
        protocol::{Counts, Hold, Order, Reply},
        undo_whatever_it_takes,
    },
    quota::QuotaPlan,
    undo::Undo,
    written::WrittenDown,
};
use crate::{
    clock::{monotonic_ns, nanoseconds},
    journal::Journal,
    kill_points,
    process::ProcessIdentity,
};

/// Numbers a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlId(u64);

impl ControlId {
    /// For those who stand in for the kernel in tests.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ControlId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What is done to the processes of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ControlEffect {
    /// They stand still now and then.
    Pause {
        /// For how long each time.
        length: Duration,
        /// From the begin of one pause to that of the next; one pause alone where it is missing.
        every: Option<Duration>,
    },
    /// They may use so many processors together, on average over a period of the kernel's.
    Processors(f64),
}

impl ControlEffect {
    fn controller(self) -> Controller {
        match self {
            Self::Pause { .. } => Controller::Freezer,
            Self::Processors(_) => Controller::Cpu,
        }
    }
}

/// Whom to make slow, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlPlan {
    /// A process of the target, by which its group is found.
    pub process: ProcessIdentity,
    /// Whose that group must be.
    pub owner: GroupOwner,
    /// What is done.
    pub effect: ControlEffect,
    /// When it ends by itself.
    pub deadline_monotonic_ns: Option<u64>,
}

/// What a control did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlReport {
    /// The group, for people: `/docker/ID (cgroup v1)`.
    pub group: String,
    /// Pauses in which the kernel confirmed that all processes stood still.
    pub pauses: u64,
    /// For how long they did, in nanoseconds.
    pub paused_ns: u64,
    /// Pauses that the kernel did not confirm.
    pub unconfirmed_pauses: u64,
    /// Periods in which there was something to run.
    pub periods: u64,
    /// Those in which the share was used up.
    pub throttled_periods: u64,
    /// For how long processes waited because of that, over all processors, in nanoseconds.
    pub throttled_ns: u64,
    /// When it was felt for the first time, on the monotonic clock.
    pub first_at_ns: Option<u64>,
    /// Whether it holds no more, because its group or the guard has gone.
    pub is_lost: bool,
}

struct Control {
    plan: ControlPlan,
    group: ControlGroup,
    /// What is restored is what was there before the first change.
    undo: Undo,
    /// Of a quota.
    quota: Option<QuotaPlan>,
    /// What was counted last.
    counts: Counts,
    /// Whether the guard that held it is no more.
    is_lost: bool,
}

/// All that is done to processes of others. Dropped, it undoes all of it.
pub struct ProcessControl {
    program: GuardProgram,
    written: WrittenDown,
    guard: Option<Guard>,
    controls: BTreeMap<ControlId, Control>,
    last: u64,
}

impl ProcessControl {
    /// Nothing is done yet. What is to be undone is written down in the journal.
    #[must_use]
    pub fn new(program: GuardProgram, journal: Journal) -> Self {
        let written = WrittenDown::in_journal(journal);
        Self { program, written, guard: None, controls: BTreeMap::new(), last: 0 }
    }

    /// Begins; when this returns, the first pause has been confirmed, or the quota is in place. Answers since when,
    /// on the monotonic clock.
    ///
    /// # Errors
    /// When the target is in no group of its own, or the kernel refuses; nothing is left behind then.
    pub fn begin(&mut self, plan: ControlPlan) -> Result<(ControlId, u64), ControlGroupError> {
        let control = Control::new(plan)?;
        self.last = self.last.saturating_add(1);
        let number = self.last;
        self.start_guard()?;
        kill_points::here("control.guarded");
        match self.hold(number, &control) {
            Ok(since_ns) => {
                self.controls.insert(ControlId(number), control);
                Ok((ControlId(number), since_ns))
            }
            Err(error) => {
                // What could not be written down was not done.
                if !matches!(error, ControlGroupError::Journal(_)) {
                    self.take_back(number, &control.undo);
                }
                self.end_idle_guard();
                Err(error)
            }
        }
    }

    /// Changes what is done to the same processes. Answers since when.
    ///
    /// # Errors
    /// When the kernel refuses; it holds as it was, then, or, if the guard is lost, not at all.
    pub fn set(&mut self, id: ControlId, plan: ControlPlan) -> Result<u64, ControlGroupError> {
        self.note_lost_guard();
        let known = self.controls.get(&id).ok_or(ControlGroupError::Unknown(id.0))?;
        if known.is_lost {
            return Err(ControlGroupError::GuardLost);
        }
        let changed = known.changed(plan)?;
        let since_ns = self.hold(id.0, &changed)?;
        self.controls.insert(id, changed);
        if let Some(guard) = &self.guard {
            guard.keep_last(id.0);
        }
        self.written.keep_last(id.0);
        Ok(since_ns)
    }

    /// Ends; when this returns, processes run as before. Answers since when, and the last report.
    ///
    /// # Errors
    /// When there is no such control.
    pub fn end(&mut self, id: ControlId) -> Result<(u64, ControlReport), ControlGroupError> {
        self.note_lost_guard();
        let mut control = self.controls.remove(&id).ok_or(ControlGroupError::Unknown(id.0))?;
        let answer = self.ask(&Order::End { number: id.0 }, id.0);
        kill_points::here("control.ended");
        if let (false, Ok(Reply::Counts { counts, .. })) = (control.is_lost, answer) {
            control.counts = counts;
            self.forget(id.0);
        } else {
            self.take_back(id.0, &control.undo);
        }
        let ended_ns = monotonic_ns();
        self.end_idle_guard();
        Ok((ended_ns, control.report()))
    }

    /// What a control did so far.
    ///
    /// # Errors
    /// When there is no such control.
    pub fn report(&mut self, id: ControlId) -> Result<ControlReport, ControlGroupError> {
        self.note_lost_guard();
        let is_lost = self.controls.get(&id).ok_or(ControlGroupError::Unknown(id.0))?.is_lost;
        let answer = if is_lost { None } else { self.ask(&Order::Count { number: id.0 }, id.0).ok() };
        let control = self.controls.get_mut(&id).ok_or(ControlGroupError::Unknown(id.0))?;
        if let Some(Reply::Counts { counts, .. }) = answer {
            control.counts = counts;
        }
        Ok(control.report())
    }

    /// Whether a control still holds. The guard is not asked.
    pub fn is_there(&mut self, id: ControlId) -> bool {
        self.note_lost_guard();
        self.controls.get(&id).is_some_and(|control| !control.has_gone())
    }

    fn start_guard(&mut self) -> Result<(), ControlGroupError> {
        self.note_lost_guard();
        if self.guard.is_none() {
            self.guard = Some(Guard::start(&self.program).map_err(ControlGroupError::NoGuard)?);
        }
        Ok(())
    }

    /// Lets a guard go that is lost, and with it what it held, which has been undone.
    fn note_lost_guard(&mut self) {
        if self.guard.as_ref().is_some_and(Guard::is_lost) {
            self.guard = None;
            self.controls.values_mut().for_each(|control| control.is_lost = true);
        }
    }

    /// Without anything to hold no guard is needed.
    fn end_idle_guard(&mut self) {
        if self.controls.values().all(|control| control.is_lost) {
            self.guard = None;
        }
    }

    fn ask(&self, order: &Order, number: u64) -> Result<Reply, ControlGroupError> {
        self.guard.as_ref().ok_or(ControlGroupError::GuardLost)?.ask(order, number)
    }

    /// Writes it down, and has the guard hold it.
    fn hold(&mut self, number: u64, control: &Control) -> Result<u64, ControlGroupError> {
        self.written.add(number, &control.undo)?;
        kill_points::here("control.written");
        if let Some(guard) = &self.guard {
            guard.will_undo(number, control.undo.clone());
        }
        match self.ask(&control.order(number), number)? {
            Reply::Holds { since_ns, .. } => {
                kill_points::here("control.holds");
                Ok(since_ns)
            }
            Reply::Failed { reason, .. } => Err(ControlGroupError::Refused(reason)),
            Reply::Beat | Reply::Counts { .. } => {
                Err(ControlGroupError::Refused("no such answer".to_owned()))
            }
        }
    }

    /// Undoes what the guard has not, and forgets it. What the kernel does not let us undo stays written down.
    fn take_back(&mut self, number: u64, undo: &Undo) {
        // It may hold it without having said so.
        let _ = self.ask(&Order::End { number }, number);
        if undo_whatever_it_takes(undo) {
            self.forget(number);
        } else {
            self.written.give_up(number);
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(guard) = &self.guard {
            guard.has_undone(number);
        }
        self.written.remove(number);
    }
}

impl Drop for ProcessControl {
    fn drop(&mut self) {
        let ids: Vec<ControlId> = self.controls.keys().copied().collect();
        for id in ids {
            // Each is there: it is one of ours.
            let _ = self.end(id);
        }
    }
}

impl Control {
    fn new(plan: ControlPlan) -> Result<Self, ControlGroupError> {
        let group = ControlGroup::of_process(plan.process, plan.effect.controller(), &plan.owner)?;
        let quota = match plan.effect {
            ControlEffect::Pause { .. } => {
                refuse_frozen(&group)?;
                None
            }
            ControlEffect::Processors(processors) => Some(QuotaPlan::of(&group, processors)?),
        };
        Ok(Self::with(plan, group, quota))
    }

    fn changed(&self, plan: ControlPlan) -> Result<Self, ControlGroupError> {
        let quota = match (&self.quota, plan.effect) {
            (Some(quota), ControlEffect::Processors(processors)) => {
                Some(quota.changed(&self.group, processors)?)
            }
            (None, ControlEffect::Pause { .. }) => None,
            _ => return Err(ControlGroupError::Refused("it is of another kind".to_owned())),
        };
        Ok(Self { counts: self.counts, ..Self::with(plan, self.group.clone(), quota) })
    }

    fn with(plan: ControlPlan, group: ControlGroup, quota: Option<QuotaPlan>) -> Self {
        let undo = match &quota {
            Some(quota) => quota.undo.clone(),
            None => Freezer::undo(group.version, &group.directory),
        };
        Self { plan, group, undo, quota, counts: Counts::default(), is_lost: false }
    }

    fn order(&self, number: u64) -> Order {
        let hold = match (self.plan.effect, &self.quota) {
            (_, Some(quota)) => {
                Hold::Quota { undo: quota.undo.clone(), statistics: quota.statistics.clone() }
            }
            (effect, None) => {
                let (length, every) = match effect {
                    ControlEffect::Pause { length, every } => (length, every),
                    ControlEffect::Processors(_) => (Duration::ZERO, None),
                };
                Hold::Pauses {
                    version: self.group.version,
                    directory: self.group.directory.clone(),
                    length_ns: nanoseconds(length),
                    every_ns: every.map_or(0, nanoseconds),
                }
            }
        };
        Order::Hold { number, deadline_ns: self.plan.deadline_monotonic_ns.unwrap_or(0), hold }
    }

    /// Whether it holds no more, because its group or the guard has gone.
    fn has_gone(&self) -> bool {
        self.is_lost || !self.undo.file.exists()
    }

    fn report(&self) -> ControlReport {
        let Counts { hits, total_ns, others, first_ns } = self.counts;
        let common = ControlReport {
            group: format!("{} (cgroup {})", self.group.path, self.group.version.text()),
            first_at_ns: (first_ns > 0).then_some(first_ns),
            is_lost: self.has_gone(),
            ..ControlReport::default()
        };
        match self.plan.effect {
            ControlEffect::Pause { .. } => {
                ControlReport { pauses: hits, paused_ns: total_ns, unconfirmed_pauses: others, ..common }
            }
            ControlEffect::Processors(_) => {
                ControlReport { periods: others, throttled_periods: hits, throttled_ns: total_ns, ..common }
            }
        }
    }
}

fn refuse_frozen(group: &ControlGroup) -> Result<(), ControlGroupError> {
    let file = || group.directory.clone();
    let freezer = Freezer::open(group.version, &group.directory).map_err(ControlGroupError::file(file()))?;
    match freezer.is_asked_to_freeze().map_err(ControlGroupError::file(file()))? {
        true => Err(ControlGroupError::FrozenAlready),
        false => Ok(()),
    }
}
