//! What the caller of a run has to say of faults on other machines, until it is written to the run's events. A fixed
//! kind, fields of bounded length, and not many: it is the caller's word and not a measurement of ours.

use std::sync::{Arc, Mutex, PoisonError};

use faultd_api::run::RemoteFaultNote;
use faultd_kernel::clock;
use faultd_results::event::{EventKind, RemoteFaultEvent, RemoteFaultState};

/// In one run.
const MOST: usize = 10_000;
const LONGEST_NAME: usize = 255;
const LONGEST_DETAIL: usize = 1000;
/// What was converted from another clock may lie a little ahead.
const FURTHEST_AHEAD_NS: u64 = 1_000_000_000;

/// Why a note is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoteError {
    /// A field that cannot be meant.
    #[error("the note's {0}")]
    Wrong(&'static str),
    /// Too many.
    #[error("a run takes {MOST} notes at most")]
    TooMany,
    /// Its events are written.
    #[error("the run has ended")]
    Ended,
}

/// The notes of a run; clones share them.
#[derive(Clone, Default)]
pub struct Notes {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    waiting: Vec<(u64, EventKind)>,
    count: usize,
    ended: bool,
}

impl Notes {
    /// Takes a note.
    ///
    /// # Errors
    /// When it is out of bounds, one too many, or too late.
    pub fn take(&self, note: RemoteFaultNote) -> Result<(), NoteError> {
        let at_ns = note.monotonic_ns;
        let event = checked(note, clock::monotonic_ns())?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.ended {
            return Err(NoteError::Ended);
        }
        if kept.count >= MOST {
            return Err(NoteError::TooMany);
        }
        kept.count += 1;
        kept.waiting.push((at_ns, EventKind::RemoteFault(event)));
        Ok(())
    }

    /// Those that were not written yet, with their instants.
    pub(super) fn drain(&self) -> Vec<(u64, EventKind)> {
        std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner).waiting)
    }

    /// The last ones: none is taken after that.
    pub(super) fn end(&self) -> Vec<(u64, EventKind)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.drain()
    }
}

fn checked(note: RemoteFaultNote, now_ns: u64) -> Result<RemoteFaultEvent, NoteError> {
    let RemoteFaultNote { monotonic_ns, uncertainty_ns, host, target, fault, state, detail } = note;
    if monotonic_ns > now_ns.saturating_add(FURTHEST_AHEAD_NS) {
        return Err(NoteError::Wrong("monotonic_ns is ahead of the clock of this host"));
    }
    if [&host, &target].iter().any(|name| name.is_empty() || name.len() > LONGEST_NAME)
        || fault.len() > LONGEST_NAME
    {
        return Err(NoteError::Wrong("host, target and fault are names of at most 255 bytes"));
    }
    if detail.as_ref().is_some_and(|detail| detail.len() > LONGEST_DETAIL) {
        return Err(NoteError::Wrong("detail has at most 1000 bytes"));
    }
    let state = match state.as_str() {
        "commanded" => RemoteFaultState::Commanded,
        "effective" => RemoteFaultState::Effective,
        "cleared" => RemoteFaultState::Cleared,
        "failed" => RemoteFaultState::Failed,
        _ => return Err(NoteError::Wrong("state is commanded, effective, cleared or failed")),
    };
    Ok(RemoteFaultEvent { host, target, fault, state, uncertainty_ns, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> RemoteFaultNote {
        RemoteFaultNote {
            monotonic_ns: 1,
            host: "web1".into(),
            target: "checkout".into(),
            fault: "f1".into(),
            state: "effective".into(),
            ..RemoteFaultNote::default()
        }
    }

    #[test]
    fn a_note_is_kept_until_it_is_written_and_none_comes_after_the_end() {
        let notes = Notes::default();
        notes.take(note()).unwrap();
        assert_eq!(notes.drain().len(), 1);
        assert_eq!(notes.drain().len(), 0);
        notes.take(note()).unwrap();
        assert_eq!(notes.end().len(), 1);
        assert_eq!(notes.take(note()), Err(NoteError::Ended));
    }

    #[test]
    fn what_is_out_of_bounds_is_no_note() {
        let wrong = [
            RemoteFaultNote { monotonic_ns: u64::MAX, ..note() },
            RemoteFaultNote { host: String::new(), ..note() },
            RemoteFaultNote { target: "x".repeat(256), ..note() },
            RemoteFaultNote { fault: "x".repeat(256), ..note() },
            RemoteFaultNote { detail: Some("x".repeat(1001)), ..note() },
            RemoteFaultNote { state: "leader".into(), ..note() },
        ];
        for wrong in wrong {
            assert!(matches!(Notes::default().take(wrong.clone()), Err(NoteError::Wrong(_))), "{wrong:?}");
        }
        let notes = Notes::default();
        for _ in 0..MOST {
            notes.take(note()).unwrap();
        }
        assert_eq!(notes.take(note()), Err(NoteError::TooMany));
    }
}
