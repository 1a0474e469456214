//! `cargo xtask bench [PART …]`: measures the datapath on this machine's kernel, and on the second one where
//! there is one; `target/bench/datapath.json` gets what both wrote. The part `plugins` is a program of its own, and
//! writes `target/bench/plugins.json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{command, uml};

// Of the workspace rather than of one package: what the tests were built with is there already.
const DATAPATH: [&str; 2] = ["--workspace", "--bench=datapath"];
const PLUGINS: [&str; 2] = ["--workspace", "--bench=plugins"];
/// The part that is not of the datapath.
const PLUGINS_PART: &str = "plugins";
/// Each kernel's figures are in a file of their own, whose name starts like this.
const OF_ONE_KERNEL: &str = "datapath-";
const OF_ALL: &str = "datapath.json";

/// Runs the benchmark, or the named parts of it, on both kernels; its figures are told by itself.
pub(crate) fn run(parts: &[&str]) -> Result<ExitCode> {
    let of_datapath: Vec<&str> = parts.iter().copied().filter(|part| *part != PLUGINS_PART).collect();
    if parts.is_empty() || !of_datapath.is_empty() {
        datapath(&of_datapath)?;
    }
    if parts.is_empty() || parts.contains(&PLUGINS_PART) {
        let status = command::program(&built(&PLUGINS)?).status().context("cannot start the benchmark")?;
        ensure!(status.success(), "the benchmark of plugins ended with {status}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds a benchmark and answers where it is.
fn built(which: &[&str]) -> Result<String> {
    let build = ["build", "--release", "--message-format", "json"];
    let messages = command::output_of(command::cargo().args(build).args(which))?;
    messages.lines().find_map(program).context("cargo built no benchmark")
}

fn datapath(parts: &[&str]) -> Result<()> {
    let program = built(&DATAPATH)?;
    let folder = command::root().join("target/bench");
    for old in reports(&folder)? {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    let user = command::user()?;
    let mut here = if user == 0 { command::program(&program) } else { command::program("sudo") };
    if user != 0 {
        here.arg(&program);
    }
    let status = here.args(parts).status().context("cannot start the benchmark")?;
    ensure!(status.success(), "the benchmark ended with {status}");
    if uml::is_installed() {
        uml::run(&[&[program.as_str()], parts].concat())?;
    }
    join(&folder)
}

fn program(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some(message.get("executable")?.as_str()?.to_owned())
}

/// The files with the figures of one kernel.
fn reports(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(OF_ONE_KERNEL)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn join(folder: &Path) -> Result<()> {
    let read = |path: &PathBuf| -> Result<Value> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
    };
    let kernels: Vec<Value> = reports(folder)?.iter().map(read).collect::<Result<_>>()?;
    let all = folder.join(OF_ALL);
    let text = serde_json::json!({ "kernels": kernels }).to_string();
    fs::write(&all, text).with_context(|| format!("cannot write {}", all.display()))?;
    println!("all of it is in {}", all.display());
    Ok(())
}
