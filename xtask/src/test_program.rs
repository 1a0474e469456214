//! The test programs of the workspace: built by one call of cargo, so that no crate is compiled twice with
//! other features, and then started one by one. Which of them run on two kernels is decided here.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::command;

/// The crate all of whose tests run on two kernels.
const KERNEL_CRATE: &str = "faultd-kernel";
/// The integration test of the daemon that does so too, and its crate.
const DAEMON_TEST: (&str, &str) = ("faultd", "netem");

/// A program and its arguments.
pub(crate) type Words = Vec<String>;

/// A test program as cargo built it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestProgram {
    /// Its crate and its source file in there.
    pub(crate) name: String,
    /// Whether it runs on this machine's kernel and on the second one.
    pub(crate) on_two_kernels: bool,
    executable: String,
    /// The folder of its crate.
    folder: String,
}

impl TestProgram {
    /// The call of its tests whose names contain one of the filters, or of all if there is none.
    ///
    /// It runs where cargo would run it. `env` sees to that, as neither sudo nor the second kernel would.
    pub(crate) fn call(&self, filters: &[&str]) -> Words {
        let folder = &self.folder;
        let mut words = vec!["env".to_owned(), format!("--chdir={folder}")];
        words.push(format!("CARGO_MANIFEST_DIR={folder}"));
        words.push(self.executable.clone());
        words.extend(filters.iter().map(|filter| (*filter).to_owned()));
        words
    }
}

/// Builds all test programs of the workspace.
pub(crate) fn build() -> Result<Vec<TestProgram>> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--release", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let mut programs: Vec<_> = command::output_of(&mut cargo)?.lines().filter_map(reported).collect();
    // Cargo reports them as it happens to finish them.
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    // Names that no longer fit, or messages that are no longer understood, must not pass for success.
    ensure!(programs.iter().any(|program| program.on_two_kernels), "cargo built no tests for two kernels");
    Ok(programs)
}

/// The test program that a line of cargo's messages reports.
fn reported(line: &str) -> Option<TestProgram> {
    let message: Value = serde_json::from_str(line).ok()?;
    if !message.get("profile")?.get("test")?.as_bool()? {
        return None;
    }
    let folder = Path::new(message.get("manifest_path")?.as_str()?).parent()?;
    // A crate's folder has the crate's name.
    let package = folder.file_name()?.to_str()?;
    let target = message.get("target")?;
    let source = Path::new(target.get("src_path")?.as_str()?);
    let in_package = source.strip_prefix(folder).unwrap_or(source);
    Some(TestProgram {
        name: format!("{package} {}", in_package.display()),
        on_two_kernels: package == KERNEL_CRATE || (package, target.get("name")?.as_str()?) == DAEMON_TEST,
        executable: message.get("executable")?.as_str()?.to_owned(),
        folder: folder.to_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read when cargo has built `source` of a crate.
    fn program(package: &str, name: &str, source: &str, test: bool) -> Option<TestProgram> {
        let folder = format!("/w/daemon/{package}");
        let message = serde_json::json!({
            "reason": "compiler-artifact",
            "manifest_path": format!("{folder}/Cargo.toml"),
            "target": { "name": name, "src_path": format!("{folder}/{source}") },
            "profile": { "test": test },
            "executable": format!("/t/{name}-1"),
        });
        reported(&message.to_string())
    }

    #[test]
    fn test_programs_are_found_among_cargos_messages() {
        let found = program("faultd-results", "faultd_results", "src/lib.rs", true).unwrap();
        assert_eq!(found.name, "faultd-results src/lib.rs");
        assert_eq!(found.executable, "/t/faultd_results-1");
    }

    #[test]
    fn what_else_cargo_says_is_no_test_program() {
        assert_eq!(program("faultd", "faultd", "src/main.rs", false), None);
        assert_eq!(reported(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(reported("   Compiling faultd v0.1.0"), None);
    }

    #[test]
    fn the_kernel_crate_and_one_test_of_the_daemon_run_on_two_kernels() {
        let on_two = |package, name, source| program(package, name, source, true).unwrap().on_two_kernels;
        assert!(on_two("faultd-kernel", "faultd_kernel", "src/lib.rs"));
        assert!(on_two("faultd-kernel", "delay", "tests/delay.rs"));
        assert!(on_two("faultd", "netem", "tests/netem.rs"));
        assert!(!on_two("faultd", "lab", "tests/lab.rs"));
        assert!(!on_two("faultctl", "netem", "tests/netem.rs"));
    }

    #[test]
    fn a_test_program_runs_in_the_folder_of_its_crate() {
        let program = program("faultd", "netem", "tests/netem.rs", true).unwrap();
        let here = ["env", "--chdir=/w/daemon/faultd", "CARGO_MANIFEST_DIR=/w/daemon/faultd", "/t/netem-1"];
        assert_eq!(program.call(&[]), here);
        assert_eq!(program.call(&["loss"]), [&here[..], &["loss"]].concat());
    }
}
