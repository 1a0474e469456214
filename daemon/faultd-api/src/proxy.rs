//! Client side of the bus interfaces. Their documentation is with the daemon's implementation,
//! where it becomes part of the introspection.

use zbus::{OwnedFd, OwnedObjectPath, proxy};

use crate::{dictionary::Dictionary, error::Error};

/// The root object.
#[proxy(interface = "org.faultd.Engine1.Manager", default_path = "/org/faultd/Engine1")]
pub trait Manager {
    /// What this host can do; a [`crate::doctor::DoctorReport`].
    fn doctor(&self) -> Result<Dictionary, Error>;
    /// Everything that can be named; [`crate::target::TargetStatus`].
    fn list_targets(&self) -> Result<Vec<Dictionary>, Error>;
    /// The targets that selectors fit, with a [`crate::target::SelectRequest`]; a
    /// [`crate::target::SelectedTargets`].
    fn select_targets(&self, selectors: &[&str], options: Dictionary) -> Result<Dictionary, Error>;
    /// Applies a [`crate::fault::FaultRequest`] and answers its [`crate::fault::FaultStatus`].
    #[zbus(allow_interactive_auth)]
    fn add_fault(&self, request: Dictionary) -> Result<Dictionary, Error>;
    /// What AddFault would do; a [`crate::fault::FaultPlan`].
    fn plan_fault(&self, request: Dictionary) -> Result<Dictionary, Error>;
    /// Changes a fault; the request is complete.
    #[zbus(allow_interactive_auth)]
    fn set_fault(&self, id: &str, request: Dictionary) -> Result<Dictionary, Error>;
    /// One fault with what it did so far.
    fn show_fault(&self, id: &str) -> Result<Dictionary, Error>;
    /// The faults that hold.
    fn list_faults(&self) -> Result<Vec<Dictionary>, Error>;
    /// Removes one fault.
    #[zbus(allow_interactive_auth)]
    fn remove_fault(&self, id: &str) -> Result<(), Error>;
    /// Removes the faults of one target, or all with an empty name; answers how many.
    #[zbus(allow_interactive_auth)]
    fn clear_faults(&self, target: &str) -> Result<u32, Error>;
    /// Removes all faults, ahead of what waits; answers what they were.
    #[zbus(allow_interactive_auth)]
    fn clear_all_faults(&self) -> Result<Vec<Dictionary>, Error>;
    /// Brings a lab up ([`crate::lab::LabRequest`]) and answers its [`crate::lab::LabStatus`].
    #[zbus(allow_interactive_auth)]
    fn lab_up(&self, request: Dictionary) -> Result<Dictionary, Error>;
    /// As LabUp; answers a [`Job`] at once.
    #[zbus(allow_interactive_auth)]
    fn begin_lab_up(&self, request: Dictionary) -> Result<OwnedObjectPath, Error>;
    /// As LabDown; answers a [`Job`] at once.
    #[zbus(allow_interactive_auth)]
    fn begin_lab_down(&self, name: &str) -> Result<OwnedObjectPath, Error>;
    /// The labs that are up.
    fn list_labs(&self) -> Result<Vec<Dictionary>, Error>;
    /// Takes a lab down without a trace.
    #[zbus(allow_interactive_auth)]
    fn lab_down(&self, name: &str) -> Result<(), Error>;
    /// Starts a [`crate::run::RunRequest`]; its folder is made inside of the given directory.
    #[zbus(allow_interactive_auth)]
    fn start_run(&self, request: Dictionary, outputs: OwnedFd) -> Result<OwnedObjectPath, Error>;
    /// The same where a command of the caller's is the load: its output comes out of the given pipe.
    #[zbus(allow_interactive_auth)]
    fn start_run_of_command(
        &self,
        request: Dictionary,
        outputs: OwnedFd,
        output_of_command: OwnedFd,
    ) -> Result<OwnedObjectPath, Error>;
    /// The runs of this daemon's life; [`crate::run::RunStatus`].
    fn list_runs(&self) -> Result<Vec<Dictionary>, Error>;
    /// One of them.
    fn show_run(&self, id: &str) -> Result<Dictionary, Error>;
    /// Returns when one of them has ended, with its [`crate::run::RunResult`].
    fn wait_run(&self, id: &str) -> Result<Dictionary, Error>;
    /// Ends one of them early.
    #[zbus(allow_interactive_auth)]
    fn stop_run(&self, id: &str) -> Result<(), Error>;
    /// The plugins in the daemon's directory; [`crate::plugin::PluginStatus`].
    fn list_plugins(&self) -> Result<Vec<Dictionary>, Error>;
    /// What a plugin may do; a [`crate::plugin::PluginReport`].
    fn inspect_plugin(&self, name: &str) -> Result<Dictionary, Error>;
    /// Tries a plugin with a [`crate::plugin::CheckRequest`]; a [`crate::plugin::CheckReport`].
    fn check_plugin(&self, name: &str, request: Dictionary) -> Result<Dictionary, Error>;
    /// The same for a component that is handed over and not kept.
    #[zbus(allow_interactive_auth)]
    fn check_component(&self, component: OwnedFd, request: Dictionary) -> Result<Dictionary, Error>;
    /// Makes the decisions of a recorded run again; a [`crate::plugin::ReplayReport`].
    fn replay_transcript(&self, transcript: OwnedFd) -> Result<Dictionary, Error>;
    /// The monotonic clock and the time of day there, in nanoseconds.
    fn clock(&self) -> Result<(u64, u64), Error>;
    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;
}

/// One run.
#[proxy(interface = "org.faultd.Engine1.Run")]
pub trait Run {
    /// Returns when the run has ended, with its [`crate::run::RunResult`].
    fn wait(&self) -> Result<Dictionary, Error>;
    /// Ends the run early; its faults are cleared and what was measured is kept.
    fn stop(&self) -> Result<(), Error>;
    /// Adds a [`crate::run::RemoteFaultNote`] to the run's events.
    fn note(&self, note: Dictionary) -> Result<(), Error>;
    /// A [`crate::run::RunProgress`], once a second.
    #[zbus(signal)]
    fn progress(&self, progress: Dictionary) -> zbus::Result<()>;
}

/// What takes time.
#[proxy(interface = "org.faultd.Engine1.Job")]
pub trait Job {
    /// Returns when the job has ended, with what the method that takes as long would have answered.
    fn wait(&self) -> Result<Dictionary, Error>;
    /// `running`, `done` or `failed`.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
}
