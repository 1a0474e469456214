//! Which Rust compiles for WebAssembly: the same order of preference as `xtask/toolchain.sh`.

use std::{
    path::Path,
    process::{Command, Stdio},
};

const TARGET: &str = "wasm32-unknown-unknown";
/// Where Debian's packages put the sources of the standard library.
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/Cargo.toml";
const DEBIAN_LINKER: &str = "lld-22";

/// There is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "no Rust here compiles for {TARGET}: run 'rustup target add {TARGET}', or on Debian \
     'apt-get install rustc-web cargo-web rust-web-src lld-22'"
)]
pub struct NoToolchain;

/// A Rust that compiles for WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The one on PATH has the target.
    OnPath,
    /// A nightly builds the standard library itself.
    Nightly,
    /// Debian's stable compiler builds the standard library itself; it only has to be allowed to.
    Debian,
}

impl Toolchain {
    /// Looks for one.
    ///
    /// # Errors
    /// There is none.
    pub fn find() -> Result<Self, NoToolchain> {
        let has_sources =
            |root: &str| Path::new(root).join("lib/rustlib/src/rust/library/Cargo.toml").exists();
        if libraries_of("rustc").is_some_and(|folder| Path::new(&folder).exists()) {
            return Ok(Self::OnPath);
        }
        let nightly = answer("rustup", &["run", "nightly", "rustc", "--print", "sysroot"]);
        if nightly.is_some_and(|root| has_sources(&root)) {
            return Ok(Self::Nightly);
        }
        let has_linker = answer(DEBIAN_LINKER, &["-flavor", "wasm", "--version"]).is_some();
        if Path::new("/usr/bin/rustc").exists() && Path::new(DEBIAN_SOURCES).exists() && has_linker {
            return Ok(Self::Debian);
        }
        Err(NoToolchain)
    }

    /// A `cargo build --release` for WebAssembly.
    #[must_use]
    pub fn cargo_build(self) -> Command {
        let mut cargo = match self {
            Self::OnPath => program("cargo"),
            Self::Nightly => {
                let mut rustup = program("rustup");
                rustup.args(["run", "nightly", "cargo"]).env_remove("RUSTC");
                rustup
            }
            Self::Debian => {
                let mut debian = program("/usr/bin/cargo");
                debian.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
                // It has no linker of its own for WebAssembly either.
                debian.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
                debian
            }
        };
        cargo.args(["build", "--release", "--target", TARGET]);
        if self != Self::OnPath {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        // Flags and toolchain are meant for the caller's own build, not for another target's.
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(variable);
        }
        cargo
    }
}

fn libraries_of(rustc: &str) -> Option<String> {
    answer(rustc, &["--print", "target-libdir", "--target", TARGET])
}

/// What a program prints; nothing if it is not there or fails.
fn answer(name: &str, arguments: &[&str]) -> Option<String> {
    // Asking rustup for a toolchain that is not there must not start a download.
    let output = program(name).args(arguments).env("RUSTUP_AUTO_INSTALL", "0").stderr(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[expect(clippy::disallowed_methods, reason = "to compile a plugin is cargo's work, and nobody else's")]
fn program(name: &str) -> Command {
    Command::new(name)
}
