//! `cargo xtask bench`: measures the datapath on this machine's kernel, and on the second one where there
//! is one.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{command, uml};

const BUILD: [&str; 6] =
    ["build", "--release", "--package=faultd-kernel", "--bench=datapath", "--message-format", "json"];

/// Runs the benchmark on both kernels; its figures are told and written by itself.
pub(crate) fn run() -> Result<ExitCode> {
    let messages = command::output_of(command::cargo().args(BUILD))?;
    let program = messages.lines().find_map(program).context("cargo built no benchmark")?;
    let user = command::user()?;
    let mut here = if user == 0 { command::program(&program) } else { command::program("sudo") };
    if user != 0 {
        here.arg(&program);
    }
    let status = here.status().context("cannot start the benchmark")?;
    ensure!(status.success(), "the benchmark ended with {status}");
    if uml::is_installed() { uml::run(&[&program]) } else { Ok(ExitCode::SUCCESS) }
}

fn program(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some(message.get("executable")?.as_str()?.to_owned())
}
