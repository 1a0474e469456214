//! Jobs: what takes time goes on by itself, and whoever knows its id can wait for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use faultd_api::{dictionary::Dictionary, error::Error, job::JobStatus};
use tokio::sync::watch;

/// Jobs that have ended are told about until so many younger ones have ended.
const ENDED_JOBS: usize = 32;

/// All jobs of this daemon; clones share them.
#[derive(Clone, Default)]
pub struct Jobs {
    table: Arc<Mutex<Table>>,
    /// Counts changes.
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct Table {
    last_id: u64,
    jobs: BTreeMap<u64, Job>,
}

struct Job {
    status: JobStatus,
    outcome: watch::Receiver<Option<Result<Dictionary, Error>>>,
}

impl Jobs {
    /// Begins a job, which goes on also when nobody waits for it; answers its id.
    pub fn begin(
        &self,
        kind: &str,
        subject: &str,
        work: impl Future<Output = Result<Dictionary, Error>> + Send + 'static,
    ) -> String {
        let (ended, outcome) = watch::channel(None);
        let (number, id) = {
            let mut table = self.table();
            table.last_id += 1;
            let (number, id) = (table.last_id, format!("j{}", table.last_id));
            let status = JobStatus {
                id: id.clone(),
                kind: kind.to_owned(),
                subject: subject.to_owned(),
                state: "running".to_owned(),
                error: None,
            };
            table.jobs.insert(number, Job { status, outcome });
            (number, id)
        };
        self.changed();
        let jobs = self.clone();
        tokio::spawn(async move {
            let result = work.await;
            jobs.end(number, &result);
            ended.send_replace(Some(result));
        });
        id
    }

    /// Waits for the end of a job.
    ///
    /// # Errors
    /// What the job failed with; [`Error::NotFound`] where there is no such job, or it ended long ago.
    pub async fn wait(&self, id: &str) -> Result<Dictionary, Error> {
        let outcome =
            self.table().jobs.values().find(|job| job.status.id == id).map(|job| job.outcome.clone());
        let mut outcome = outcome.ok_or_else(|| Error::NotFound(format!("no job has the id '{id}'")))?;
        match outcome.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
            Ok(Some(result)) => result,
            _ => Err(Error::Failed(format!("job {id} broke off; the daemon's log says why"))),
        }
    }

    /// The jobs that go on, and the last that have ended, by id.
    #[must_use]
    pub fn statuses(&self) -> Vec<JobStatus> {
        self.table().jobs.values().map(|job| job.status.clone()).collect()
    }

    /// Hears of every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn end(&self, number: u64, result: &Result<Dictionary, Error>) {
        let mut table = self.table();
        if let Some(job) = table.jobs.get_mut(&number) {
            let (state, error) = match result {
                Ok(_) => ("done", None),
                Err(error) => ("failed", Some(error.message())),
            };
            state.clone_into(&mut job.status.state);
            job.status.error = error;
        }
        let is_over = |job: &Job| job.status.state != "running";
        let over: Vec<u64> =
            table.jobs.iter().filter(|(_, job)| is_over(job)).map(|(number, _)| *number).collect();
        for number in over.iter().take(over.len().saturating_sub(ENDED_JOBS)) {
            table.jobs.remove(number);
        }
        drop(table);
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_is_waited_for_by_many_and_told_about_for_a_while_after_its_end() {
        let jobs = Jobs::default();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let id = jobs.begin("lab-up", "etcd", async move {
            let _ = wait.await;
            Err(Error::Busy("it is up".into()))
        });
        assert_eq!(jobs.statuses().first().unwrap().state, "running");
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                tokio::spawn({
                    let (jobs, id) = (jobs.clone(), id.clone());
                    async move { jobs.wait(&id).await }
                })
            })
            .collect();
        go.send(()).unwrap();
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap(), Err(Error::Busy("it is up".into())));
        }
        let status = jobs.statuses().remove(0);
        assert_eq!((status.state.as_str(), status.error.as_deref()), ("failed", Some("it is up")));
        for _ in 0..ENDED_JOBS {
            let id = jobs.begin("lab-down", "etcd", async { Ok(Dictionary::new()) });
            jobs.wait(&id).await.unwrap();
        }
        assert!(matches!(jobs.wait(&id).await, Err(Error::NotFound(_))));
        assert_eq!(jobs.statuses().len(), ENDED_JOBS);
    }
}
