//! What programs read: every document of `-o json` and `-o jsonl` is as its schema says, and shells can complete.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod fake_daemon;
mod schema_check;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use fake_daemon::{FOLDER, FakeDaemon};
use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "the binary under test is another process")]
fn faultctl(directory: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faultctl"));
    command.args(words).current_dir(directory).stdin(Stdio::null());
    command.env("FAULTD_BUS", format!("unix:path={}", directory.join("bus").display()));
    command
        .env("FAULTD_SSH", directory.join("login"))
        .env("FAULTD_REMOTE_FAULTCTL", env!("CARGO_BIN_EXE_faultctl"));
    command.output().unwrap()
}

/// Checks a document against its schema, and answers its name.
fn checked(text: &str) -> String {
    let document: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let name = document["schema"].as_str().unwrap().strip_prefix("faultd/v1/").unwrap().to_owned();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/schema/{name}.json"));
    let schema = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let schema: Value = serde_json::from_str(&schema).unwrap();
    if let Err(what) = schema_check::check(&schema, &schema, &document) {
        panic!("{name}: {what} in {document:#}");
    }
    name
}

/// Commands, in an order in which each finds what it needs.
const COMMANDS: [&str; 41] = [
    "doctor",
    "--bus unix:path=/nowhere doctor",
    "target ls",
    "fault add web --delay 50ms --for 1s",
    "fault add web api --delay 50ms --for 1s",
    "fault add web --delay 50ms --dry-run",
    "fault ls",
    "fault show f1",
    "fault set f1 --delay 9ms",
    "fault rm f1",
    "fault clear web",
    "fault clear --all",
    "-H a,b doctor",
    "-H a,b target ls",
    "-H a,b fault ls",
    "-H a,b fault add web --delay 50ms --for 1s",
    "-H a,b fault add web --delay 50ms --dry-run",
    "-H a,b fault clear",
    "lab up here",
    "lab status",
    "lab status etcd",
    "lab down",
    "run --cluster etcd --no-wait",
    "runs ls",
    "runs show r1",
    "runs show r2",
    "runs wait r3",
    "runs stop r1",
    "run --cluster etcd --dry-run",
    "run --cluster etcd --target leader --delay 5ms --dry-run",
    "run --cluster etcd --target leader --delay 5ms --also-on a=web --dry-run",
    "run --cluster etcd",
    "results ls",
    "results show OUTPUT",
    "results read full_cassandra-stress.log",
    "plugin ls",
    "plugin inspect flap",
    "plugin check flap",
    "plugin replay outputs/OUTPUT",
    "plugin new schedule mine",
    "schema",
];

/// Documents that need more than a fake daemon: a compiler, a search over runs.
const NOT_HERE: [&str; 2] = ["plugin-built", "search"];

fn prepare(directory: &Path) {
    let login = directory.join("login");
    let script = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexec \"$@\"\n";
    fs::write(&login, script).unwrap();
    fs::set_permissions(&login, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(directory.join("here")).unwrap();
    fs::write(directory.join("here/cluster.toml"), "name = \"etcd\"\n").unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../faultd-load-output/tests/samples");
    let log = directory.join("full_cassandra-stress.log");
    fs::copy(samples.join("cassandra-stress-4.0.txt"), log).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_is_as_its_schema_says() {
    let daemon = FakeDaemon::start("schemas");
    prepare(&daemon.directory);
    let mut seen = BTreeSet::new();
    for format in ["json", "jsonl"] {
        for words in COMMANDS {
            let words = words.replace("OUTPUT", FOLDER);
            let words: Vec<&str> = ["-o", format].into_iter().chain(words.split(' ')).collect();
            let output = faultctl(&daemon.directory, &words);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(!text.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
            match format {
                "json" => drop(seen.insert(checked(&text))),
                _ => seen.extend(text.lines().map(checked)),
            }
            if words.contains(&"etcd") && output.status.success() && words.last() == Some(&"etcd") {
                let _ = fs::write(daemon.directory.join("outputs").join(FOLDER).join("schedule.jsonl"), "");
            }
        }
        fs::remove_dir_all(daemon.directory.join("outputs")).unwrap();
        fs::remove_dir_all(daemon.directory.join("mine")).unwrap();
    }
    seen.extend(NOT_HERE.map(str::to_owned));
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema")).unwrap();
    let known = files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    assert_eq!(seen, known.collect::<BTreeSet<_>>());
    assert!(daemon.asked().contains(&"clear all".to_owned()));
}

/// A directory of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("faultctl-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn pages_and_completions_are_written_as_files_and_printed_the_same() {
    let folder = Folder::new("documents");
    let output = faultctl(&folder.0, &["documents", "--write", "made"]);
    assert!(output.status.success(), "{output:?}");
    let written = String::from_utf8(output.stdout).unwrap();
    for file in written.lines() {
        assert!(fs::metadata(folder.0.join(file)).unwrap().len() > 100, "{file}");
    }
    let page = fs::read_to_string(folder.0.join("made/man/faultctl-fault-add.1")).unwrap();
    for part in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", ".SH EXAMPLES", "faultctl fault add etcd0 "] {
        assert!(page.contains(part), "no {part}: {page}");
    }
    for (shell, file) in [("bash", "faultctl.bash"), ("zsh", "_faultctl"), ("fish", "faultctl.fish")] {
        let printed = faultctl(&folder.0, &["completions", shell]);
        let kept = fs::read_to_string(folder.0.join("made/completions").join(file)).unwrap();
        assert_eq!(String::from_utf8(printed.stdout).unwrap().trim(), kept.trim());
        assert!(kept.contains("no-wait") && !kept.contains("\u{1b}"), "{shell}");
    }
}

#[test]
fn bash_completes_verbs_and_flags() {
    let folder = Folder::new("bash");
    let script = folder.0.join("faultctl.bash");
    fs::write(&script, faultctl(&folder.0, &["completions", "bash"]).stdout).unwrap();
    #[expect(clippy::disallowed_methods, reason = "what is made for bash is read by bash")]
    let bash = |words: &str| {
        Command::new("bash").args(["--norc", "-c", words]).current_dir(&folder.0).output().unwrap()
    };
    let checked = bash("bash -n faultctl.bash");
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    let complete = |words: &str| {
        let count = words.split(' ').count() - 1;
        let last = words.split(' ').next_back().unwrap();
        let before = words.split(' ').rev().nth(1).unwrap();
        let line = format!(
            "source ./faultctl.bash; COMP_WORDS=({words} ); [ -n '{last}' ] || COMP_WORDS+=(''); COMP_CWORD={count}; \
             _faultctl faultctl '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\""
        );
        let output = bash(&line);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let verbs = complete("faultctl fault ");
    for verb in ["add", "ls", "show", "set", "rm", "clear"] {
        assert!(verbs.split_whitespace().any(|word| word == verb), "no {verb}: {verbs}");
    }
    assert_eq!(complete("faultctl fault cl").trim(), "clear");
    assert_eq!(complete("faultctl run --no-w").trim(), "--no-wait");
    assert!(!complete("faultctl ").contains("documents"), "hidden words are not completed");
}
