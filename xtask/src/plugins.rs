//! `cargo xtask plugins`: each plugin that ships, as a WebAssembly component with its manifest inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::command;

/// Builds `plugins/schedules/NAME` and `plugins/drivers/NAME` into `target/plugins/NAME.wasm`.
pub(crate) fn build() -> Result<ExitCode> {
    let root = command::root();
    let (output, cargos) = (root.join("target/plugins"), root.join("target/build/wasm"));
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    for folder in crates_under(&root.join("plugins/schedules"))?
        .into_iter()
        .chain(crates_under(&root.join("plugins/drivers"))?)
    {
        let plugin = faultd_plugin_build::build(&folder, Some(&cargos))
            .with_context(|| folder.display().to_string())?;
        let name = plugin.manifest.id;
        ensure!(folder.ends_with(&name), "{} holds a plugin of another name, {name}", folder.display());
        let file = output.join(name).with_extension("wasm");
        fs::write(&file, plugin.component).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The crates directly under a folder, in order of name.
fn crates_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut crates = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    crates.retain(|path| path.join("Cargo.toml").exists());
    crates.sort();
    Ok(crates)
}
