//! `cargo xtask check`: what every change must pass besides the tests.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{command, tidy};

/// Workspaces whose code is formatted and linted; eBPF programs do not compile for this machine.
const LINTED: [&str; 2] = [".", "plugins"];
const FORMATTED: [&str; 4] = [".", "plugins", "ebpf/faultd-ebpf", "fuzz"];

/// Runs all checks and names those that failed.
pub(crate) fn run() -> ExitCode {
    let failed = failed();
    if failed.is_empty() {
        println!("all checks passed");
        return ExitCode::SUCCESS;
    }
    eprintln!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Runs all checks, also after one has failed, and answers the names of those that did.
pub(crate) fn failed() -> Vec<String> {
    let mut failed = Vec::new();
    for folder in FORMATTED {
        let mut cargo = cargo_in(folder);
        cargo.args(["fmt", "--all", "--check"]);
        note(&mut failed, format!("cargo fmt in {folder}"), command::run(&mut cargo));
    }
    for folder in LINTED {
        let mut cargo = cargo_in(folder);
        cargo.args([
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--keep-going",
            "--",
            "-D",
            "warnings",
        ]);
        note(&mut failed, format!("cargo clippy in {folder}"), command::run(&mut cargo));
    }
    note(&mut failed, "cargo deny".to_owned(), licences());
    note(&mut failed, "tidy".to_owned(), tidy::check());
    failed
}

fn note(failed: &mut Vec<String>, name: String, outcome: Result<()>) {
    if let Err(error) = outcome {
        eprintln!("{error:#}");
        failed.push(name);
    }
}

fn cargo_in(folder: &str) -> Command {
    let root = command::root();
    let mut cargo = command::cargo_that_makes_way();
    cargo.current_dir(root.join(folder));
    if folder != "." {
        cargo.env("CARGO_TARGET_DIR", root.join("target/build").join(format!("{folder}-native")));
    }
    cargo
}

/// cargo-deny is not part of Rust; where it is not installed the check is left to those who have it.
fn licences() -> Result<()> {
    let installed =
        command::cargo().args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !installed {
        println!("cargo-deny is not installed: licences and sources were not checked");
        return Ok(());
    }
    command::run(command::cargo().args(["deny", "check"]))
}
