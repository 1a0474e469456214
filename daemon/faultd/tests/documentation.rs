//! The commands of the documents are run as they stand there: blocks marked `sh`, line by line. A block that is
//! marked with a path after its language is the content of that file.
#![expect(clippy::disallowed_methods, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use faultd_testkit::{command::run, daemon_under_test::DaemonUnderTest};

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");

/// Building a plugin is the longest of it.
const PATIENCE: Duration = Duration::from_secs(300);

/// All documents bring up a lab of the same name.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// What a document has its reader do.
enum Step {
    /// A line of a block marked `sh`.
    Command(String),
    /// A block that is the content of a file.
    File { path: String, content: String },
}

/// Everything that the reader of a document is to do, in its order.
fn steps(document: &str) -> Vec<Step> {
    let text = fs::read_to_string(repository().join(document)).expect("a document");
    let mut steps = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(marks) = line.trim().strip_prefix("```").filter(|marks| !marks.is_empty()) else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        match marks.split_once(' ') {
            Some((_, path)) => {
                let content = block.join("\n") + "\n";
                steps.push(Step::File { path: path.to_owned(), content });
            }
            None if marks == "sh" => {
                let commands = block.iter().map(|line| line.trim());
                let commands = commands.filter(|command| !command.is_empty() && !command.starts_with('#'));
                steps.extend(commands.map(|command| Step::Command(command.to_owned())));
            }
            None => {}
        }
    }
    steps
}

/// Does everything in a directory that looks like the repository.
fn all_steps_succeed(document: &str) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut daemon = DaemonUnderTest::start(FAULTD);
    symlink(repository().join("workloads"), daemon.directory().join("workloads"))
        .expect("a link to the workloads");
    let steps = steps(document);
    assert!(steps.len() > 2, "{document} shows too few commands");
    for step in steps {
        match step {
            Step::File { path, content } => {
                fs::write(daemon.directory().join(&path), content).expect("the file of a block");
                if path == "policy.toml" {
                    daemon.restart();
                }
            }
            Step::Command(command) => succeeds(&daemon, &command),
        }
    }
    assert_eq!(daemon.faultctl("-o json lab status").json()["labs"].as_array().map(Vec::len), Some(0));
}

fn succeeds(daemon: &DaemonUnderTest, command: &str) {
    if let Some(script) = command.strip_prefix("python3 ") {
        return script_succeeds(daemon, script);
    }
    let words = command.strip_prefix("faultctl ").expect("a block marked sh holds calls of faultctl only");
    let mut called = daemon.faultctl_command(words);
    if let Some(folder) = words.strip_prefix("plugin build ") {
        // What the shipped plugins were built with is there already: nothing is downloaded, little compiled.
        let lock = daemon.directory().join(folder).join("Cargo.lock");
        fs::copy(repository().join("plugins/Cargo.lock"), lock).expect("a copy of the plugins' lock file");
        called.env("CARGO_NET_OFFLINE", "true");
        called.env("CARGO_TARGET_DIR", repository().join("target/build/wasm"));
    }
    run(called, PATIENCE).succeeded();
}

/// A script in Python, for the interpreter of the host's packages, whose modules it uses.
fn script_succeeds(daemon: &DaemonUnderTest, script: &str) {
    let like = daemon.faultctl_command("fault ls");
    let mut called = Command::new("/usr/bin/python3");
    called.arg(script).current_dir(daemon.directory());
    called.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let answer = run(called, PATIENCE).succeeded();
    assert!(!answer.stdout.is_empty(), "{script} prints nothing");
}

#[test]
fn the_commands_of_the_readme_work_as_they_stand_there() {
    all_steps_succeed("README.md");
}

#[test]
fn the_policy_and_the_commands_of_the_guide_to_control_work_as_they_stand_there() {
    all_steps_succeed("docs/control.md");
}

#[test]
fn the_commands_of_the_etcd_workload_work_as_they_stand_there() {
    all_steps_succeed("workloads/etcd/README.md");
}

#[test]
fn the_plugin_of_the_guide_is_written_built_and_checked_as_it_stands_there() {
    all_steps_succeed("docs/plugins.md");
}
