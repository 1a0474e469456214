//! Makes a thread wake up on time, on a machine that has other things to do.

use std::{io, num::NonZeroU64};

use rustix::{process::setpriority_process, thread::set_current_timer_slack};

/// Above every ordinary thread, below every other real-time one.
const REALTIME_PRIORITY: i32 = 1;

/// Lowers the timer slack of the calling thread (50 us by default) and raises its priority as far as
/// this process may.
pub(crate) fn make_thread_punctual() {
    if let Err(error) = set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "cannot lower the timer slack of a thread");
    }
    // Niceness is the second choice: it means nothing against threads of other sessions where the
    // kernel groups threads by session, and of other control groups.
    let Err(error) = set_realtime() else { return };
    tracing::debug!(%error, "a thread cannot have a real-time priority");
    // The kernel's "process" 0 is the calling thread alone.
    if let Err(error) = setpriority_process(None, -20) {
        tracing::debug!(%error, "cannot raise the priority of a thread");
    }
}

fn set_realtime() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: REALTIME_PRIORITY };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 means the calling thread, and the parameter is read during the call only.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
