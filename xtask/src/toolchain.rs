//! Cargo with the Rust that compiles the eBPF programs; `toolchain.sh` chooses it, for setup.sh as well.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

const TARGET: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// A `cargo build --release` of eBPF programs in `folder`, with results under `target/build/ebpf`.
pub(crate) fn cargo_build(folder: &Path) -> Result<Command> {
    let toolchain = chosen()?;
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
            debian
        }
        _ => command::cargo(),
    };
    cargo.args(["build", "--release", "--target", TARGET]);
    if toolchain == "nightly" {
        cargo.arg("-Zbuild-std=core");
    }
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", build_folder()).env("PATH", path_with_tools());
    // Flags and toolchain are meant for the caller's own build, not for another target's.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(variable);
    }
    Ok(cargo)
}

/// Where [`cargo_build`] leaves its results.
pub(crate) fn release_folder() -> std::path::PathBuf {
    build_folder().join(TARGET).join("release")
}

fn build_folder() -> std::path::PathBuf {
    command::root().join("target/build/ebpf")
}

fn chosen() -> Result<String> {
    let script = command::root().join("xtask/toolchain.sh");
    let output = command::program(script).arg("ebpf").output()?;
    let word = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || word.is_empty() {
        bail!("no Rust here compiles for {TARGET}: run xtask/setup.sh demo");
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
