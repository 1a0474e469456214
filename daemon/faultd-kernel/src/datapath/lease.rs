//! The leases: a thread that moves the deadlines, which the programs compare with the clock, ahead of
//! now. If this process dies or is stopped, all rules end within the length of a lease.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use aya::maps::{Array, MapData};

use super::{DatapathError, RuleId};
use crate::{clock, punctual};

/// How long rules outlive the last renewal: with what it takes to notice, traffic is back to normal
/// within a second after this process died.
pub(super) const LEASE: Duration = Duration::from_millis(900);

/// How often leases are renewed: three renewals may fail to come before a lease ends by mistake.
const RENEWAL: Duration = Duration::from_millis(200);

/// The map of deadlines of one namespace.
pub(super) type Deadlines = Arc<Mutex<Array<MapData, u64>>>;

pub(super) struct LeaseKeeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    stopped: Condvar,
}

#[derive(Default)]
struct Table {
    leases: BTreeMap<RuleId, Lease>,
    stopping: bool,
}

struct Lease {
    deadlines: Deadlines,
    slot: u32,
    until_ns: Option<u64>,
}

impl LeaseKeeper {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("faultd-lease".to_owned())
                .spawn(move || shared.renew_until_stopped())?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Gives a rule its first lease and renews it from now on, until `until_ns` at most.
    pub(super) fn grant(
        &self,
        id: RuleId,
        deadlines: &Deadlines,
        slot: u32,
        until_ns: Option<u64>,
    ) -> Result<(), DatapathError> {
        let lease = Lease { deadlines: Arc::clone(deadlines), slot, until_ns };
        lease.renew()?;
        self.shared.lock().leases.insert(id, lease);
        Ok(())
    }

    /// Changes until when a lease is renewed.
    pub(super) fn set_deadline(&self, id: RuleId, until_ns: Option<u64>) -> Result<(), DatapathError> {
        let mut table = self.shared.lock();
        let lease = table.leases.get_mut(&id).ok_or(DatapathError::UnknownRule(id))?;
        lease.until_ns = until_ns;
        lease.renew()
    }

    /// Ends a lease at once. One that is not there is no error.
    pub(super) fn end(&self, id: RuleId) {
        if let Some(lease) = self.shared.lock().leases.remove(&id)
            && let Err(error) = lease.set(0)
        {
            tracing::error!(error = &error as &dyn std::error::Error, rule = id.get(), "cannot end a lease");
        }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.stopped.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that renews leases panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew_until_stopped(&self) {
        // Rules must not end by mistake because the machine is busy.
        punctual::make_thread_punctual();
        let mut table = self.lock();
        while !table.stopping {
            for (id, lease) in &table.leases {
                if let Err(error) = lease.renew() {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        rule = id.get(),
                        "cannot renew a lease"
                    );
                }
            }
            table = self.stopped.wait_timeout(table, RENEWAL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Lease {
    fn renew(&self) -> Result<(), DatapathError> {
        let lease_end_ns = clock::monotonic_ns().saturating_add(clock::nanoseconds(LEASE));
        self.set(self.until_ns.map_or(lease_end_ns, |until_ns| until_ns.min(lease_end_ns)))
    }

    fn set(&self, deadline_ns: u64) -> Result<(), DatapathError> {
        let mut deadlines = self.deadlines.lock().unwrap_or_else(PoisonError::into_inner);
        deadlines.set(self.slot, deadline_ns, 0).map_err(DatapathError::map("DEADLINES"))
    }
}
