//! Loads plugins (WebAssembly components, contract in `plugins/wit`) and runs them within limits.
//! A plugin reaches nothing but what this crate lends it: log, random numbers, HTTP and TCP to the cluster's members.
//!
//! ```text
//! bytes ─ PluginEngine ─▶ DriverPlugin ──── client() ─▶ DriverClient: one Store, one connection a member
//!                     └─▶ SchedulePlugin ── start() ──▶ Schedule: one Store
//! ```
#![forbid(unsafe_code)]

mod bindings;
mod cache;
mod driver;
mod engine;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod instance;
mod limits;
mod log;
mod proposal_guard;
mod random;
mod reach;
mod schedule;
mod streams;
mod written;

pub use cache::{CacheError, CompiledPlugins};
pub use driver::{ClientOptions, DriverClient, DriverPlugin, Failure, MemberRole, Operation, Outcome, Role};
pub use engine::{PluginEngine, PluginFacts};
pub use error::{PluginError, Problem, Refusal, World};
pub use faultd_plugin_manifest as manifest;
pub use limits::PluginLimits;
pub use log::{LogLevel, LogSink, log_to_tracing};
pub use reach::{ConnectFuture, Connector, Member};
pub use schedule::{
    ClusterMember, Counters, Decision, Direction, Effect, Finding, Latency, Needs, Observation, Plan, Rule,
    Schedule, SchedulePlugin, Second,
};
