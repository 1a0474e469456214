//! The lease: a thread that moves the time until which the programs may act ahead of now. If this
//! process dies or is stopped, all rules end within the length of a lease.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{DatapathError, object::Lease};
use crate::{clock, punctual};

/// How long rules outlive the last renewal: with what it takes to notice, traffic is back to normal
/// within a second after this process died.
const LENGTH: Duration = Duration::from_millis(900);

/// How often leases are renewed: three renewals may fail to come before a lease ends by mistake.
const RENEWAL: Duration = Duration::from_millis(200);

/// Renews the leases of all loaded objects.
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
    leases: Vec<Lease>,
    stopping: bool,
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

    /// Renews a lease now and from now on.
    pub(super) fn keep(&self, lease: Lease) -> Result<(), DatapathError> {
        renew(&lease)?;
        self.shared.lock().leases.push(lease);
        Ok(())
    }

    /// Ends a lease at once. One that is not kept is no error.
    pub(super) fn end(&self, lease: &Lease) {
        self.shared.lock().leases.retain(|kept| !Arc::ptr_eq(kept, lease));
        if let Err(error) = set(lease, 0) {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot end a lease");
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
            for error in table.leases.iter().filter_map(|lease| renew(lease).err()) {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot renew a lease");
            }
            table = self.stopped.wait_timeout(table, RENEWAL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn renew(lease: &Lease) -> Result<(), DatapathError> {
    set(lease, clock::monotonic_ns().saturating_add(clock::nanoseconds(LENGTH)))
}

fn set(lease: &Lease, until_ns: u64) -> Result<(), DatapathError> {
    let mut lease = lease.lock().unwrap_or_else(PoisonError::into_inner);
    lease.set(0, until_ns, 0).map_err(DatapathError::map("LEASE"))
}
