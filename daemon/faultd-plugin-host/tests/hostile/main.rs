//! Files that are no plugins, and plugins that mean harm: each gets one clear line, and everybody else goes on.
//! All share one engine, as in the daemon.
#![forbid(unsafe_code)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of it is test code, also what is outside of the test functions"
)]

mod driver;
mod files;
mod schedule;
mod support;
