//! Faults that begin at a time that their caller names, so that those on several machines begin at the same moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use faultd_api::{
    error::Error,
    units::{duration_text, nanoseconds},
};
use faultd_kernel::{clock, datapath::InterfaceReference};
use tokio::runtime::Handle;

use super::{caller::Caller, desk::Desk, errors::of_engine};
use crate::engine::{Application, Applied, Asked, EngineHandle};

/// What is made ready is held so long at most.
const LONGEST_AHEAD: Duration = Duration::from_secs(60);
/// A task is woken to the millisecond. The rest is slept away by a thread, which is woken much closer to its time.
const SLEPT_BY_A_THREAD: Duration = Duration::from_millis(5);

/// A time to begin, in nanoseconds on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    at_ns: u64,
}

impl Begin {
    /// Checks a time that was asked for against the clock.
    ///
    /// # Errors
    /// When it is over, or too far ahead.
    pub(super) fn checked(at_ns: Option<u64>) -> Result<Option<Self>, Error> {
        at_ns.map(|at_ns| Self::seen_from(clock::monotonic_ns(), at_ns)).transpose()
    }

    fn seen_from(now_ns: u64, at_ns: u64) -> Result<Self, Error> {
        let ahead_ns = at_ns.checked_sub(now_ns).ok_or_else(|| {
            let late = duration_text(now_ns - at_ns);
            Error::InvalidRequest(format!("the time to begin was {late} ago: ask Clock for the time here"))
        })?;
        if ahead_ns > nanoseconds(LONGEST_AHEAD) {
            return Err(Error::InvalidRequest(format!(
                "the time to begin is {} ahead: at most {}",
                duration_text(ahead_ns),
                duration_text(nanoseconds(LONGEST_AHEAD))
            )));
        }
        Ok(Self { at_ns })
    }

    /// Makes everything ready, waits, and applies the fault. Its end is counted from the time that was asked for.
    ///
    /// # Errors
    /// When the kernel refuses, the caller goes before the time, everything is cleared meanwhile, or the time in which it
    /// was to hold is over.
    pub(super) async fn add(
        self,
        desk: &Desk,
        mut application: Application,
        asked: Asked,
        caller: &Caller,
    ) -> Result<Applied, Error> {
        let engine = &desk.services.engine;
        let _ready = Ready::make(engine, &application).await?;
        tokio::select! {
            () = self.wait() => {}
            () = desk.door.gone(caller) => {
                return Err(Error::Failed("its caller went before the fault began".to_owned()));
            }
        }
        application.spec.hold_for = self.rest_of(application.spec.hold_for, clock::monotonic_ns())?;
        engine.add_as_asked(application, asked).await.map_err(|error| of_engine(&error))
    }

    async fn wait(self) {
        let left = |at_ns: u64| Duration::from_nanos(at_ns.saturating_sub(clock::monotonic_ns()));
        tokio::time::sleep(left(self.at_ns).saturating_sub(SLEPT_BY_A_THREAD)).await;
        let slept = tokio::task::spawn_blocking(move || std::thread::sleep(left(self.at_ns)));
        // A runtime that ends takes the fault's daemon with it.
        let _ = slept.await;
    }

    /// What is left of the time in which it is to hold.
    fn rest_of(self, hold_for: Option<Duration>, now_ns: u64) -> Result<Option<Duration>, Error> {
        let late = Duration::from_nanos(now_ns.saturating_sub(self.at_ns));
        match hold_for {
            Some(hold) if hold <= late => {
                Err(Error::Failed("the fault was over before everything was ready for it".to_owned()))
            }
            hold => Ok(hold.map(|hold| hold - late)),
        }
    }
}

/// The time of day in nanoseconds since 1970.
pub(super) fn realtime_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanoseconds)
}

/// Interfaces that are held ready for a fault, until this is dropped.
struct Ready {
    engine: EngineHandle,
    interfaces: Vec<InterfaceReference>,
    runtime: Handle,
}

impl Ready {
    /// Faults on processes need nothing.
    async fn make(engine: &EngineHandle, application: &Application) -> Result<Self, Error> {
        let is_on_packets = application.spec.processes.is_none();
        let interfaces = application.target.interfaces.iter().filter(|_interface| is_on_packets);
        let interfaces: Vec<InterfaceReference> = interfaces.cloned().collect();
        engine.prepare(interfaces.clone()).await.map_err(|error| of_engine(&error))?;
        Ok(Self { engine: engine.clone(), interfaces, runtime: Handle::current() })
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let (engine, interfaces) = (self.engine.clone(), std::mem::take(&mut self.interfaces));
        self.runtime.spawn(async move { engine.release(interfaces).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_begin_is_ahead_and_not_far() {
        assert_eq!(Begin::seen_from(5 * SECOND, 6 * SECOND).unwrap(), Begin { at_ns: 6 * SECOND });
        assert!(Begin::seen_from(5 * SECOND, 65 * SECOND).is_ok());
        let over = Begin::seen_from(5 * SECOND, 4 * SECOND).unwrap_err();
        assert_eq!(over.message(), "the time to begin was 1s ago: ask Clock for the time here");
        let far = Begin::seen_from(5 * SECOND, 66 * SECOND).unwrap_err();
        assert_eq!(far.message(), "the time to begin is 61s ahead: at most 1m");
        assert_eq!(Begin::checked(None).unwrap(), None);
    }

    #[test]
    fn the_end_is_counted_from_the_begin_that_was_asked_for() {
        let begin = Begin { at_ns: 10 * SECOND };
        let hold = Some(Duration::from_secs(3));
        assert_eq!(begin.rest_of(hold, 10 * SECOND).unwrap(), hold);
        assert_eq!(begin.rest_of(hold, 11 * SECOND).unwrap(), Some(Duration::from_secs(2)));
        assert_eq!(begin.rest_of(None, 11 * SECOND).unwrap(), None);
        assert!(begin.rest_of(hold, 13 * SECOND).is_err());
    }

    #[tokio::test]
    async fn a_time_is_waited_for_and_not_missed_by_much() {
        let at_ns = clock::monotonic_ns() + SECOND / 20;
        Begin { at_ns }.wait().await;
        let now_ns = clock::monotonic_ns();
        assert!((at_ns..at_ns + SECOND).contains(&now_ns), "{}", now_ns.abs_diff(at_ns));
    }
}
