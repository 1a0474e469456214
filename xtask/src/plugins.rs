//! `cargo xtask plugins`: each plugin that ships, as a WebAssembly component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use faultd_plugin_manifest as manifest;
use serde_json::Value;
use wit_component::ComponentEncoder;

use crate::command;
use crate::toolchain::{self, Purpose};

/// Folders of `plugins/` and where under `target/` their components go. The hostile ones only try the host's limits
/// in its tests: they stay away from those that ship.
const FOLDERS: [(&str, &str); 3] =
    [("schedules", "plugins"), ("drivers", "plugins"), ("hostile", "hostile-plugins")];

/// Builds `plugins/schedules/NAME` and `plugins/drivers/NAME` into `target/plugins/NAME.wasm`, and
/// `plugins/hostile/NAME` into `target/hostile-plugins/NAME.wasm`.
pub(crate) fn build() -> Result<ExitCode> {
    let root = command::root();
    for (sources, components) in FOLDERS {
        let output = root.join("target").join(components);
        fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
        for folder in crates_under(&root.join("plugins").join(sources))? {
            let name = folder.file_name().context("a plugin's folder has no name")?;
            let component = with_manifest(&encode(&core_module(&folder)?)?, &folder.join("plugin.toml"))?;
            let file = output.join(name).with_extension("wasm");
            fs::write(&file, component).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts a manifest into a component that another tool has made, for example of JavaScript.
pub(crate) fn embed_manifest(component: &str, manifest: &str, output: &str) -> Result<ExitCode> {
    let bytes = fs::read(component).with_context(|| format!("cannot read {component}"))?;
    let whole = with_manifest(&bytes, Path::new(manifest))?;
    fs::write(output, whole).with_context(|| format!("cannot write {output}"))?;
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

/// Compiles one plugin and returns where cargo put its core module.
fn core_module(folder: &Path) -> Result<PathBuf> {
    let mut cargo = toolchain::cargo_build(Purpose::Wasm, folder)?;
    cargo.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let messages = command::output_of(&mut cargo)?;
    let mut modules = messages.lines().filter_map(|line| wasm_file_of(line, folder));
    modules
        .next_back()
        .with_context(|| format!("{} is no cdylib: cargo built no .wasm file", folder.display()))
}

/// The `.wasm` file that a line of cargo's messages reports for the crate in `folder`.
fn wasm_file_of(line: &str, folder: &Path) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    let files = message.get("filenames")?.as_array()?;
    let file = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"))?;
    (manifest.parent() == Some(folder)).then(|| file.into())
}

/// Wraps a core module, which carries its own component type, into a component.
fn encode(module: &Path) -> Result<Vec<u8>> {
    let core = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let encode = || ComponentEncoder::default().validate(true).module(&core)?.encode();
    encode().with_context(|| format!("{} does not make a component", module.display()))
}

/// Puts a `plugin.toml` into a component.
fn with_manifest(component: &[u8], file: &Path) -> Result<Vec<u8>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    manifest::embed(component, &text).with_context(|| format!("{} is wrong", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_among_cargos_messages() {
        let message = r#"{"reason":"compiler-artifact","manifest_path":"/p/window/Cargo.toml","filenames":["/t/window.wasm"]}"#;
        assert_eq!(wasm_file_of(message, Path::new("/p/window")), Some("/t/window.wasm".into()));
        assert_eq!(wasm_file_of(message, Path::new("/p/other")), None);
        assert_eq!(
            wasm_file_of(r#"{"reason":"build-finished","success":true}"#, Path::new("/p/window")),
            None
        );
    }
}
