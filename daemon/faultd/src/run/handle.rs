//! One run as others see it: what it is, what it does, how it ended.

use std::sync::Arc;

use faultd_api::run::{RemoteFaultNote, RunProgress, RunRequest, RunResult, RunStatus};
use jiff::Timestamp;
use tokio::sync::watch;

use super::notes::{NoteError, Notes};

/// What does not change about a run.
#[derive(Debug)]
pub struct AboutRun {
    /// The cluster that it measures.
    pub cluster: String,
    /// The number of the user who has begun it.
    pub user: u32,
    label: String,
    folder: String,
    begun_at: Timestamp,
    detached: bool,
}

impl AboutRun {
    /// A run that begins now.
    #[must_use]
    pub fn new(request: &RunRequest, cluster: String, folder: String, user: u32) -> Self {
        let (label, detached) = (request.label.clone(), request.detach);
        Self { cluster, user, label, folder, begun_at: Timestamp::now(), detached }
    }
}

/// A run that goes on or has ended; clones speak of the same one.
#[derive(Clone)]
pub struct RunHandle {
    /// Its id: `r1`, `r2` ...
    pub id: String,
    pub(super) about: Arc<AboutRun>,
    pub(super) progress: watch::Receiver<RunProgress>,
    pub(super) result: watch::Receiver<Option<RunResult>>,
    pub(super) stop: Arc<watch::Sender<Option<String>>>,
    pub(super) notes: Notes,
}

impl RunHandle {
    /// What does not change about it.
    #[must_use]
    pub fn about(&self) -> &AboutRun {
        &self.about
    }

    /// What it is doing, once a second.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<RunProgress> {
        self.progress.clone()
    }

    /// Adds to its events what its caller says of a fault on another machine.
    ///
    /// # Errors
    /// When the note is out of bounds, or the run has ended.
    pub fn note(&self, note: RemoteFaultNote) -> Result<(), NoteError> {
        self.notes.take(note)
    }

    /// Ends it early; the first reason counts.
    pub fn stop(&self, reason: &str) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            if first {
                *stop = Some(reason.to_owned());
            }
            first
        });
    }

    /// Waits for its end.
    pub async fn wait(&self) -> RunResult {
        let mut result = self.result.clone();
        match result.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
            Ok(Some(result)) => result,
            _ => RunResult {
                id: self.id.clone(),
                status: "failed".to_owned(),
                folder: String::new(),
                error: Some("the run broke off; the daemon's log says why".to_owned()),
            },
        }
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        let AboutRun { cluster, user, label, folder, begun_at, detached } = &*self.about;
        let ended = self.result.borrow().clone();
        let progress = Some(self.progress.borrow().clone());
        let progress = progress.filter(|progress| ended.is_none() && !progress.phase.is_empty());
        let (status, error) = match ended {
            Some(ended) => (ended.status, ended.error),
            None => ("running".to_owned(), None),
        };
        RunStatus {
            id: self.id.clone(),
            cluster: cluster.clone(),
            label: label.clone(),
            status,
            folder: folder.clone(),
            begun_at: begun_at.to_string(),
            user: *user,
            detached: *detached,
            progress,
            error,
        }
    }

    /// The number in its id.
    pub(super) fn number(&self) -> u64 {
        self.id.trim_start_matches('r').parse().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> (RunHandle, watch::Sender<RunProgress>, watch::Sender<Option<RunResult>>) {
        let request = r#"{"cluster":"etcd","label":"mid","duration_ns":30000000000,"detach":true}"#;
        let request: RunRequest = serde_json::from_str(request).unwrap();
        let about = AboutRun::new(&request, "etcd".into(), "20260304_050607_mid".into(), 1000);
        let ((progress, progress_seen), (result, result_seen)) =
            (watch::channel(RunProgress::default()), watch::channel(None));
        let stop = Arc::new(watch::channel(None).0);
        let handle = RunHandle {
            id: "r7".into(),
            about: about.into(),
            progress: progress_seen,
            result: result_seen,
            stop,
            notes: Notes::default(),
        };
        (handle, progress, result)
    }

    #[test]
    fn a_run_is_running_until_it_has_a_result_and_then_what_that_says() {
        let (run, progress, result) = run();
        let begun = run.status();
        assert_eq!((begun.status.as_str(), begun.user, begun.detached), ("running", 1000, true));
        assert_eq!((begun.progress, run.number()), (None, 7));
        progress.send_replace(RunProgress { phase: "baseline".into(), ..RunProgress::default() });
        assert_eq!(run.status().progress.unwrap().phase, "baseline");
        let ended = RunResult {
            id: "r7".into(),
            status: "failed".into(),
            folder: "20260304_050607_mid".into(),
            error: Some("a member ended".into()),
        };
        result.send_replace(Some(ended));
        let ended = run.status();
        assert_eq!((ended.status.as_str(), ended.progress), ("failed", None));
        assert_eq!(ended.error.as_deref(), Some("a member ended"));
    }
}
