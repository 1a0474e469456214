//! Cargo with the Rust that compiles for another target; `toolchain.sh` chooses it, for setup.sh as well.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

/// What a cargo is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The eBPF programs.
    Ebpf,
    /// The plugins.
    Wasm,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Wasm => "wasm",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::Ebpf if cfg!(target_endian = "big") => "bpfeb-unknown-none",
            Self::Ebpf => "bpfel-unknown-none",
            Self::Wasm => "wasm32-unknown-unknown",
        }
    }
}

/// A `cargo build --release` in `folder`, with results under `target/build/<purpose>`.
pub(crate) fn cargo_build(purpose: Purpose, folder: &Path) -> Result<Command> {
    let toolchain = chosen(purpose)?;
    let mut cargo = match toolchain.as_str() {
        "nightly" => {
            let mut rustup = command::program("rustup");
            rustup.args(["run", "nightly", "cargo"]).env_remove("RUSTC");
            rustup
        }
        "debian" => {
            // Debian's stable compiler has what the nightly is wanted for; only the switch is missing.
            let mut debian = command::program("/usr/bin/cargo");
            debian.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
            // It has no linker of its own for WebAssembly either.
            debian.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "lld-22");
            debian
        }
        _ => command::cargo(),
    };
    cargo
        .args(["build", "--release", "--target", purpose.target()])
        .args(standard_library(purpose, &toolchain));
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", build_folder(purpose)).env("PATH", path_with_tools());
    // Flags and toolchain are meant for the caller's own build, not for another target's.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(variable);
    }
    Ok(cargo)
}

/// Where [`cargo_build`] leaves its results.
pub(crate) fn release_folder(purpose: Purpose) -> std::path::PathBuf {
    build_folder(purpose).join(purpose.target()).join("release")
}

fn build_folder(purpose: Purpose) -> std::path::PathBuf {
    command::root().join("target/build").join(purpose.word())
}

/// Which parts of the standard library must be built, because the toolchain has them only as source.
fn standard_library(purpose: Purpose, toolchain: &str) -> Option<&'static str> {
    match (purpose, toolchain) {
        (Purpose::Ebpf, "nightly") => Some("-Zbuild-std=core"),
        (Purpose::Wasm, "nightly" | "debian") => Some("-Zbuild-std=std,panic_abort"),
        _ => None,
    }
}

fn chosen(purpose: Purpose) -> Result<String> {
    let script = command::root().join("xtask/toolchain.sh");
    let output = command::program(script).arg(purpose.word()).output()?;
    let word = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || word.is_empty() {
        bail!("no Rust here compiles for {}: run xtask/setup.sh demo", purpose.target());
    }
    Ok(word)
}

/// PATH with the tools that setup.sh built in front.
fn path_with_tools() -> std::ffi::OsString {
    let mut path = command::root().join("target/tools/bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}
