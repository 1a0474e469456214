//! From a crate, a core module or a component to a plugin: one component with its manifest inside. No other tool
//! than cargo is needed.
//!
//! ```text
//! crate ── cargo ─▶ core module ── encoded ─▶ component ─┐
//!                             JavaScript, Python ... ────┴─ + plugin.toml ─▶ plugin
//! ```
#![forbid(unsafe_code)]

mod toolchain;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use faultd_plugin_manifest::{self as manifest, Manifest, ManifestError};
use wit_component::ComponentEncoder;

pub use toolchain::{NoToolchain, Toolchain};

/// The file beside a plugin's source that says what it is.
pub const MANIFEST_FILE: &str = "plugin.toml";

/// Why there is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No Rust compiles for WebAssembly.
    #[error(transparent)]
    Toolchain(#[from] NoToolchain),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Cargo cannot be started.
    #[error("cannot start cargo: {0}")]
    Cargo(io::Error),
    /// The crate does not compile; cargo has said why.
    #[error("{} does not compile: see above", .0.display())]
    DoesNotCompile(PathBuf),
    /// The crate is not of the right type.
    #[error("{} makes no WebAssembly: its Cargo.toml needs [lib] crate-type = [\"cdylib\"]", .0.display())]
    NoModule(PathBuf),
    /// The module says nothing of the contract, or something wrong.
    #[error("the core module does not make a component: {0}")]
    NoComponent(String),
    /// The manifest is wrong, or there is one already.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
}

/// A plugin, ready for the daemon's directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// What it is.
    pub manifest: Manifest,
    /// The component with the manifest inside.
    pub component: Vec<u8>,
}

/// Compiles the crate in `folder`, with cargo's results in `target_folder` or where cargo puts them, and makes a
/// plugin of it. What cargo says goes to stderr.
///
/// # Errors
/// In one line; what is wrong with the source was said by cargo.
pub fn build(folder: &Path, target_folder: Option<&Path>) -> Result<Plugin, BuildError> {
    let text = read_text(&folder.join(MANIFEST_FILE))?;
    let folder = folder.canonicalize().map_err(|source| unreadable(folder, source))?;
    let module = core_module(&Toolchain::find()?, &folder, target_folder)?;
    let bytes = fs::read(&module).map_err(|source| unreadable(&module, source))?;
    assemble(&bytes, &text)
}

/// Makes a plugin of a core module or a component, and the text of its manifest.
///
/// # Errors
/// In one line.
pub fn assemble(bytes: &[u8], manifest_text: &str) -> Result<Plugin, BuildError> {
    let manifest = Manifest::parse(manifest_text)?;
    let is_core_module = bytes.starts_with(b"\0asm\x01\0\0\0");
    let encoded = if is_core_module { Some(encode(bytes)?) } else { None };
    let component = manifest::embed(encoded.as_deref().unwrap_or(bytes), manifest_text)?;
    Ok(Plugin { manifest, component })
}

/// Wraps a core module, which carries its own component type, into a component.
fn encode(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let encoder = ComponentEncoder::default().validate(true).module(module);
    let encoded = encoder.and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| BuildError::NoComponent(format!("{error:#}").replace('\n', " ")))
}

/// Compiles one crate and answers where cargo put its core module.
fn core_module(
    toolchain: &Toolchain,
    folder: &Path,
    target_folder: Option<&Path>,
) -> Result<PathBuf, BuildError> {
    let mut cargo = toolchain.cargo_build();
    cargo.current_dir(folder).arg("--message-format=json-render-diagnostics");
    if let Some(target_folder) = target_folder {
        cargo.env("CARGO_TARGET_DIR", target_folder);
    }
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(BuildError::Cargo)?;
    if !output.status.success() {
        return Err(BuildError::DoesNotCompile(folder.to_owned()));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let module = messages.lines().filter_map(|line| wasm_file_of(line, folder)).next_back();
    module.ok_or_else(|| BuildError::NoModule(folder.to_owned()))
}

/// The `.wasm` file that a line of cargo's messages reports for the crate in `folder`.
fn wasm_file_of(line: &str, folder: &Path) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    let files = message.get("filenames")?.as_array()?;
    let mut files = files.iter().filter_map(serde_json::Value::as_str);
    let file = files.find(|file| file.ends_with(".wasm"))?;
    (manifest.parent() == Some(folder)).then(|| file.into())
}

fn read_text(path: &Path) -> Result<String, BuildError> {
    fs::read_to_string(path).map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: io::Error) -> BuildError {
    BuildError::Unreadable { path: path.to_owned(), source }
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

    #[test]
    fn what_is_no_plugin_is_told_in_one_line() {
        let text = "id = \"x\"\nversion = \"1\"\nworld = \"driver\"\nsummary = \"s\"\n";
        let error = |bytes: &[u8], text: &str| assemble(bytes, text).unwrap_err().to_string();
        // The head of a core module and nothing else: it exports nothing of the contract.
        let encoded = assemble(b"\0asm\x01\0\0\0", text);
        assert!(encoded.is_ok() || !encoded.unwrap_err().to_string().contains('\n'));
        assert!(error(b"\0asm\x01\0\0\0\xff\xff", text).contains("does not make a component"));
        assert!(error(b"#!/bin/sh", text).contains("no component"));
        assert!(error(b"", "id = 1").starts_with("plugin.toml: line 1"));
        assert!(build(Path::new("/nonexistent"), None).unwrap_err().to_string().contains("plugin.toml"));
    }
}
