//! What makes writing a faultd plugin in Rust pleasant: two traits, two macros, and the host's interfaces.
//! The contract itself, with what every function may and may not do, is in `plugins/wit`.
//!
//! A driver implements [`driver::Driver`] and says `export_driver!(ItsType)`; a schedule implements
//! [`schedule::Schedule`] and says `export_schedule!(ItsType)`. A crate holds one plugin.

#[doc(hidden)]
pub mod bindings;
pub mod driver;
pub mod grpc;
pub mod random;
pub mod schedule;
pub mod settings;
pub mod shape;
pub mod stream;
pub mod testing;

pub use bindings::host::log::Level;

/// Writes one line to the run's log.
pub fn log(level: Level, message: &str) {
    bindings::host::log::write(level, message);
}

/// Sends the message of a panic to the run's log, since the trap that follows has none.
#[doc(hidden)]
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
}
