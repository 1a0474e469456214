//! Finds the compiled eBPF programs, which become a part of the daemon.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=FAULTD_EBPF_OBJECT");
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let built = manifest.join("../../target/ebpf/faultd-ebpf");
    let object = env::var_os("FAULTD_EBPF_OBJECT").map_or(built, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    if !object.is_file() {
        println!(
            "cargo::error={} is missing: build the eBPF programs first, with `cargo xtask ebpf`",
            object.display()
        );
    }
    println!("cargo::rustc-env=FAULTD_EBPF_OBJECT={}", object.display());
}
