//! The commands of the documents are run as they stand there: blocks marked `sh`, line by line.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use faultd_testkit::daemon_under_test::DaemonUnderTest;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");

/// All documents bring up a lab of the same name.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// The lines of all blocks marked `sh`.
fn commands(document: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(document)).expect("a document");
    let mut in_block = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        match line.trim() {
            "```sh" => in_block = true,
            "```" => in_block = false,
            command if in_block && !command.is_empty() && !command.starts_with('#') => {
                commands.push(command.to_owned());
            }
            _ => {}
        }
    }
    commands
}

/// Runs the commands of a document in a directory that looks like the repository.
fn all_commands_succeed(document: &str) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let daemon = DaemonUnderTest::start(FAULTD);
    symlink(repository().join("workloads"), daemon.directory().join("workloads"))
        .expect("a link to the workloads");
    let commands = commands(document);
    assert!(commands.len() > 2, "{document} shows too few commands: {commands:?}");
    for command in commands {
        let words =
            command.strip_prefix("faultctl ").expect("a block marked sh holds calls of faultctl only");
        daemon.faultctl(words).succeeded();
    }
    assert_eq!(daemon.faultctl("-o json lab status").json()["labs"].as_array().map(Vec::len), Some(0));
}

#[test]
fn the_commands_of_the_readme_work_as_they_stand_there() {
    all_commands_succeed("README.md");
}

#[test]
fn the_commands_of_the_etcd_workload_work_as_they_stand_there() {
    all_commands_succeed("workloads/etcd/README.md");
}
