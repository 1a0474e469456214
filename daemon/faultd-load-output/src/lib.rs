//! Reads what load generators print, while they run, into one time series. It starts no program, reads no file
//! and knows no clock: bytes and their time of arrival go in, samples come out.
//!
//! ```text
//! bytes ─▶ lines ─▶ formats/*, or a pattern ─▶ samples ─▶ series: whole seconds
//!                     │       (numbers)           (timeline: what a row covers)
//!                     └─▶ totals: what the tool's own summary says
//! ```
#![forbid(unsafe_code)]

mod formats;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod lines;
pub mod numbers;
pub mod parser;
pub mod pattern;
pub mod sample;
pub mod series;
mod timeline;
pub mod tool;
pub mod totals;

pub use parser::{End, Finished, Parser, Stream};
pub use pattern::{Pattern, PatternError, PatternSpec};
pub use sample::{Clock, Latency, Sample};
pub use series::{Second, Series};
pub use tool::{Tool, UnknownTool};
pub use totals::{Check, Summary, Totals, Verdict};
