//! Rules of this repository that no compiler knows: how files begin and end, which crate may use which.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command;

const SOURCES: [&str; 5] = ["daemon", "ebpf", "fuzz", "plugins", "xtask"];
const LONGEST_FILE: usize = 600;

/// Which crates of the workspace each may use; tests may use any. What is not listed may use none.
const EDGES: [(&str, &[&str]); 7] = [
    (
        "faultctl",
        &[
            "faultd-api",
            "faultd-danger-zone-search",
            "faultd-load-output",
            "faultd-plugin-build",
            "faultd-results",
        ],
    ),
    (
        "faultd",
        &[
            "faultd-abi",
            "faultd-api",
            "faultd-kernel",
            "faultd-load-output",
            "faultd-plugin-host",
            "faultd-results",
        ],
    ),
    ("faultd-kernel", &["faultd-abi"]),
    ("faultd-plugin-build", &["faultd-plugin-manifest"]),
    ("faultd-plugin-host", &["faultd-plugin-manifest"]),
    ("xtask", &["faultd-plugin-build"]),
    ("faultd-testkit", &["faultd-abi", "faultd-api", "faultd-kernel"]),
];
/// What the command line must not carry: it runs without privileges and starts in milliseconds.
const NOT_IN_FAULTCTL: [&str; 2] = ["aya", "wasmtime"];

/// Checks all rules and prints each complaint; any is an error.
pub(crate) fn check() -> Result<()> {
    let root = command::root();
    let mut complaints = Vec::new();
    for folder in SOURCES {
        for file in rust_files(&root.join(folder))? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            complaints.extend(about_file(file.strip_prefix(&root).unwrap_or(&file), &text));
        }
    }
    complaints.extend(about_edges(&cargo_json(&["metadata", "--no-deps", "--format-version=1"])?));
    complaints.extend(about_faultctl(&command::output_of(command::cargo().args([
        "tree",
        "--package=faultctl",
        "--edges=normal",
        "--prefix=none",
    ]))?));
    for complaint in &complaints {
        println!("tidy: {complaint}");
    }
    ensure!(complaints.is_empty(), "tidy has {} complaints", complaints.len());
    Ok(())
}

fn cargo_json(arguments: &[&str]) -> Result<Value> {
    let text = command::output_of(command::cargo().args(arguments))?;
    serde_json::from_str(&text).context("cargo metadata wrote no JSON")
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            // A module may be called target too; what cargo makes carries this tag.
            if !path.join("CACHEDIR.TAG").exists() {
                files.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn about_file(path: &Path, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |what: &str| complaints.push(format!("{}: {what}", path.display()));
    if !text.starts_with("//!") {
        complain("does not open with a //! line that says what it is");
    }
    if text.lines().count() > LONGEST_FILE {
        complain("has more than 600 lines: split it");
    }
    if is_crate_root(path) && must_forbid_unsafe(path) && !text.contains("#![forbid(unsafe_code)]") {
        complain("lacks #![forbid(unsafe_code)]");
    }
    if path.starts_with("plugins") && text.lines().any(uses_unsafe) {
        complain("uses unsafe code");
    }
    complaints
}

fn is_crate_root(path: &Path) -> bool {
    path.ends_with("src/lib.rs") || path.ends_with("src/main.rs")
}

/// The compiler checks these crates. Plugins cannot forbid it: their generated bindings use it.
fn must_forbid_unsafe(path: &Path) -> bool {
    !path.starts_with("daemon/faultd-kernel") && !path.starts_with("ebpf") && !path.starts_with("plugins")
}

fn uses_unsafe(line: &str) -> bool {
    let line = line.trim_start();
    !line.starts_with("//")
        && ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|use_| line.contains(use_))
}

/// Complains about a crate of ours that uses another one which it may not.
fn about_edges(metadata: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in array(metadata, "packages") {
        let name = text(package, "name");
        let permitted = EDGES.iter().find(|(user, _)| *user == name).map_or(&[][..], |(_, used)| used);
        for dependency in array(package, "dependencies") {
            let used = text(dependency, "name");
            let for_tests = text(dependency, "kind") == "dev";
            if used.starts_with("fault") && !for_tests && !permitted.contains(&used) {
                complaints.push(format!("{name} may not use {used}: see the picture in ARCHITECTURE.md"));
            }
        }
    }
    complaints
}

fn about_faultctl(tree: &str) -> Vec<String> {
    let crates = tree.lines().filter_map(|line| line.split(' ').next());
    let unwanted = crates.filter(|name| NOT_IN_FAULTCTL.contains(name));
    unwanted.map(|name| format!("faultctl links {name}")).collect()
}

fn array<'json>(value: &'json Value, key: &str) -> &'json [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'json>(value: &'json Value, key: &str) -> &'json str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        about_file(Path::new(path), text).len()
    }

    #[test]
    fn a_file_must_open_with_what_it_is() {
        assert_eq!(complaints("daemon/faultd/src/bus.rs", "//! The bus.\n"), 0);
        assert_eq!(complaints("daemon/faultd/src/bus.rs", "use std::fs;\n"), 1);
    }

    #[test]
    fn a_file_may_have_600_lines_and_no_more() {
        assert_eq!(complaints("xtask/src/a.rs", &"//! A\n".repeat(600)), 0);
        assert_eq!(complaints("xtask/src/a.rs", &"//! A\n".repeat(601)), 1);
    }

    #[test]
    fn only_the_kernel_crate_may_leave_unsafe_open() {
        assert_eq!(complaints("daemon/faultd-kernel/src/lib.rs", "//! K\n"), 0);
        assert_eq!(complaints("daemon/faultd-api/src/lib.rs", "//! A\n"), 1);
        assert_eq!(complaints("plugins/drivers/etcd-kv/src/lib.rs", "//! P\nlet a = unsafe { b };\n"), 1);
    }

    #[test]
    fn an_edge_that_is_not_in_the_picture_is_refused_except_in_tests() {
        let metadata = |kind: &str| {
            let dependency = format!(r#"{{"name":"faultd-kernel","kind":{kind}}}"#);
            serde_json::from_str(&format!(
                r#"{{"packages":[{{"name":"faultctl","dependencies":[{dependency}]}}]}}"#
            ))
            .unwrap()
        };
        assert_eq!(about_edges(&metadata("null")).len(), 1);
        assert_eq!(about_edges(&metadata("\"dev\"")).len(), 0);
    }

    #[test]
    fn faultctl_must_not_link_the_kernel_side() {
        assert_eq!(about_faultctl("faultctl v0.1.0\nclap v4.0.0\n").len(), 0);
        assert_eq!(about_faultctl("faultctl v0.1.0\naya v0.14.0\n"), ["faultctl links aya"]);
    }
}
