//! What a run leaves behind: the files of its folder, the statistics on them, the pictures and the
//! text for people. The daemon writes with it, `faultctl` reads and redraws with it.
//!
//! ```text
//! operations ─▶ recorder ─▶ timeseries ─┐
//!                              events ──┼─▶ summary ─▶ text
//!                            metadata ──┘       └────▶ plot      folder: where all of it lies
//! ```
#![forbid(unsafe_code)]

pub mod event;
pub mod folder;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod metadata;
pub mod phase;
pub mod plot;
pub mod recorder;
pub mod severity_plot;
pub mod summary;
pub mod text;
pub mod timeseries;
