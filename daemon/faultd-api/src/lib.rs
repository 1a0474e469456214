//! What `faultd` says on D-Bus: names, requests, replies, proxies and the table of errors.
//!
//! No I/O and no policy. The daemon, the command line and tests share it, so that a name or a
//! default exists once.
//!
//! ```text
//! units  ──▶ fault, lab, run, doctor   requests and replies as plain structs
//!                     │
//!               dictionary             struct ⇄ a{sv}
//!                     │
//!              names, error, proxy     what travels on the bus
//! ```

#![forbid(unsafe_code)]

pub mod dictionary;
pub mod doctor;
pub mod error;
pub mod fault;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod job;
pub mod lab;
pub mod names;
pub mod plugin;
pub mod prometheus_address;
pub mod proxy;
pub mod quantities;
pub mod run;
pub mod shape;
pub mod stop_condition;
pub mod target;
pub mod units;

#[cfg(test)]
mod text_properties;
