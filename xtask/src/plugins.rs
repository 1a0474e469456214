//! `cargo xtask plugins`: each plugin that ships, as a WebAssembly component with its manifest inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use faultd_plugin_build::Toolchain;

use crate::command;

/// Folders of `plugins/` and where under `target/` their components go. The hostile ones only try the host's limits
/// in its tests: they stay away from those that ship.
const FOLDERS: [(&str, &str); 3] =
    [("schedules", "plugins"), ("drivers", "plugins"), ("hostile", "hostile-plugins")];

/// Builds `plugins/schedules/NAME` and `plugins/drivers/NAME` into `target/plugins/NAME.wasm`, and
/// `plugins/hostile/NAME` into `target/hostile-plugins/NAME.wasm`.
pub(crate) fn build() -> Result<ExitCode> {
    let root = command::root();
    let cargos = root.join("target/build/wasm");
    compile_together(&root.join("plugins"), &cargos)?;
    for (sources, components) in FOLDERS {
        let output = root.join("target").join(components);
        fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
        for folder in crates_under(&root.join("plugins").join(sources))? {
            let plugin = faultd_plugin_build::build(&folder, Some(&cargos))
                .with_context(|| folder.display().to_string())?;
            let name = plugin.manifest.id;
            ensure!(folder.ends_with(&name), "{} holds a plugin of another name, {name}", folder.display());
            let file = output.join(name).with_extension("wasm");
            fs::write(&file, plugin.component).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Compiles all of them by one call of cargo, on all processors: what follows takes them one by one and finds most of
/// it done.
fn compile_together(workspace: &Path, cargos: &Path) -> Result<()> {
    let mut cargo = Toolchain::find()?.cargo_build();
    command::run(cargo.current_dir(workspace).arg("--workspace").env("CARGO_TARGET_DIR", cargos))
}

/// `cargo xtask embed-manifest COMPONENT PLUGIN_TOML OUT`: for components that other tools have made, where there is
/// no faultctl yet.
pub(crate) fn embed_manifest(component: &str, manifest: &str, output: &str) -> Result<ExitCode> {
    let bytes = fs::read(component).with_context(|| format!("cannot read {component}"))?;
    let text = fs::read_to_string(manifest).with_context(|| format!("cannot read {manifest}"))?;
    let plugin = faultd_plugin_build::assemble(&bytes, &text).with_context(|| component.to_owned())?;
    fs::write(output, plugin.component).with_context(|| format!("cannot write {output}"))?;
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
