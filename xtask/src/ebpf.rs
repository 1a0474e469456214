//! `cargo xtask ebpf`: the eBPF object that the daemon embeds.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::command;
use crate::toolchain;

const NAME: &str = "faultd-ebpf";

/// Builds `ebpf/faultd-ebpf` into `target/ebpf/faultd-ebpf`.
pub(crate) fn build() -> Result<ExitCode> {
    let root = command::root();
    command::run(&mut toolchain::cargo_build(&root.join("ebpf").join(NAME))?)?;
    replace(&toolchain::release_folder().join(NAME), &root.join("target/ebpf").join(NAME))?;
    Ok(ExitCode::SUCCESS)
}

/// Copies a file unless it is the same: an untouched file spares the daemon a rebuild.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}
