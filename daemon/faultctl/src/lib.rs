//! `faultctl`: the command line of faultd. It asks over D-Bus and prints; it decides nothing.
//!
//! ```text
//! cli (words) ─▶ commands/<noun> ─▶ connection ─▶ [D-Bus] ─▶ faultd
//!                      └──────────▶ output: data to stdout, talk to stderr
//! ```

#![forbid(unsafe_code)]

mod cli;
mod cluster_flags;
mod command_error;
mod commands;
mod connection;
mod dry_run_text;
#[cfg(test)]
mod examples_tests;
mod experiment_file;
mod fault_files;
mod fault_flags;
mod fault_report;
mod flag_values;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod interrupt;
mod load_command;
mod output;
mod outputs_directory;
mod plugin_project;
mod process_report;
mod progress;
mod remote;
mod run_flags;
mod search_flags;
mod setup_flags;
mod stop_flags;

use std::process::ExitCode;

/// Does what the words of this process ask for.
pub async fn run() -> ExitCode {
    let cli = match cli::read() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match commands::dispatch(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
