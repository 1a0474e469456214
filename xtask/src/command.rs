//! Starting programs, and where the repository is.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The user id that xtask runs as.
pub(crate) fn user() -> Result<u32> {
    Ok(std::fs::metadata("/proc/self").context("cannot read /proc/self")?.uid())
}

/// A program that will run in the repository's root.
#[expect(clippy::disallowed_methods, reason = "xtask exists to start programs")]
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

/// The cargo that runs this xtask.
pub(crate) fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The same, which makes way for tests that measure.
pub(crate) fn cargo_that_makes_way() -> Command {
    let mut nice = program("nice");
    nice.arg(cargo().get_program());
    nice
}

/// Runs to the end, output passed through; an exit status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    ensure!(status.success(), "{} failed with {status}", line(command));
    Ok(())
}

/// Runs to the end and returns what the program wrote to stdout; stderr is passed through.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let Output { status, stdout, .. } = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} failed with {status}", line(command));
    }
    String::from_utf8(stdout).with_context(|| format!("{} wrote something that is no UTF-8", line(command)))
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
