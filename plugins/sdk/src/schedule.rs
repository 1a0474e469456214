//! The world `schedule` for guests: says which faults hold at which time of a run.

pub use crate::bindings::schedule::exports::faultd::plugin::scheduler::{
    Decision, Delay, Direction, Effect, Loss, Plan, Rule,
};

/// The schedule of a run.
pub trait Schedule: Sized {
    /// Called once with what the user asked for.
    ///
    /// # Errors
    /// One line for the user, for example about a setting that is not known.
    fn start(plan: Plan) -> Result<Self, String>;

    /// What holds from `now_ns` on, in nanoseconds since the start of the measured part of the run. The same
    /// time must get the same answer.
    fn decide(&mut self, now_ns: u64) -> Decision;
}

/// Makes the crate a schedule plugin. Takes a type that implements [`Schedule`].
#[macro_export]
macro_rules! export_schedule {
    ($schedule:ty) => {
        const _: () = {
            use ::std::{cell::RefCell, string::String};
            use $crate::schedule::{Decision, Plan, Schedule};

            // An instance serves one run and has one thread.
            ::std::thread_local! {
                static SCHEDULE: RefCell<Option<$schedule>> = const { RefCell::new(None) };
            }

            struct Exported;

            impl $crate::bindings::schedule::exports::faultd::plugin::scheduler::Guest for Exported {
                fn start(plan: Plan) -> Result<(), String> {
                    $crate::log_panics();
                    let schedule = <$schedule as Schedule>::start(plan)?;
                    SCHEDULE.set(Some(schedule));
                    Ok(())
                }

                fn decide(now_ns: u64) -> Decision {
                    SCHEDULE.with_borrow_mut(|schedule| match schedule {
                        Some(schedule) => schedule.decide(now_ns),
                        None => ::std::panic!("decide before start"),
                    })
                }
            }

            $crate::bindings::schedule::export_schedule_world!(
                Exported with_types_in $crate::bindings::schedule
            );
        };
    };
}
