//! The binary as a person or a script meets it: output, exit codes, Ctrl-C; against a fake daemon.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod fake_daemon;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use fake_daemon::{FOLDER, FakeDaemon, canned::REASON};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "the binary under test is another process")]
fn faultctl(directory: &Path, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faultctl"));
    command.args(words.split_whitespace()).current_dir(directory);
    command.env("FAULTD_BUS", format!("unix:path={}", directory.join("bus").display()));
    command.stdin(Stdio::null());
    command
}

fn call(daemon: &FakeDaemon, words: &str) -> Output {
    faultctl(&daemon.directory, words).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Exit code and the one line on stderr, with nothing on stdout.
fn failure(output: &Output) -> (i32, String) {
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    let complaints: Vec<&str> = said.lines().filter(|line| line.starts_with("faultctl: ")).collect();
    assert_eq!(complaints.len(), 1, "{said}");
    (output.status.code().unwrap(), complaints.concat())
}

/// Starts it and sends it SIGINT as soon as its stderr says the first of `cues`, then the next.
fn interrupt_at(daemon: &FakeDaemon, words: &str, cues: &[&str]) -> (i32, String, String) {
    let mut command = faultctl(&daemon.directory, words);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut cues = cues.iter().peekable();
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        if cues.next_if(|cue| line.contains(**cue)).is_some() {
            send_interrupt(&child);
        }
        said.push(line);
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), said.join("\n"))
}

fn send_interrupt(child: &Child) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_prints_tables_for_people_and_one_document_for_programs() {
    let daemon = FakeDaemon::start("doctor");
    let text = stdout(&call(&daemon, "doctor"));
    assert!(text.starts_with("faultd 0.1.0 on Linux 6.1.0-test\n\nCHECK  STATE  DETAIL\n"), "{text}");
    assert!(text.contains("\ndelay  relay    no fq, no netem\n"), "{text}");
    let document = json(&call(&daemon, "-o json doctor"));
    assert_eq!(document["schema"], "faultd/v1/doctor");
    assert_eq!(document["checks"][0]["name"], "tcx");
    assert!(
        text.ends_with("problems:\nwarning: there is no fq\n  fix: call 'sudo modprobe sch_fq'\n"),
        "{text}"
    );
    assert_eq!(stdout(&call(&daemon, "-o jsonl doctor")).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_as_a_table_one_document_or_lines() {
    let daemon = FakeDaemon::start("lists");
    let table = stdout(&call(&daemon, "fault ls"));
    assert!(table.starts_with("ID"), "{table}");
    assert!(table.contains("f1  web     loss 5%  egress"), "{table}");
    assert_eq!(json(&call(&daemon, "-o json fault ls"))["faults"][0]["packets"]["dropped"], 4);
    let line = json(&call(&daemon, "fault ls -o jsonl"));
    assert_eq!((&line["schema"], &line["id"]), (&"faultd/v1/fault".into(), &"f1".into()));
    assert!(stdout(&call(&daemon, "target ls")).contains("etcd/etcd0  lab   -"));
    assert_eq!(json(&call(&daemon, "-o json lab status"))["labs"][0]["members"][0]["role"], "leader");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_has_its_exit_code_and_one_line() {
    let daemon = FakeDaemon::start("errors");
    let cases = [
        ("fault add impossible --delay 1ms --for 1s", 2, "the target is on the host's network"),
        (
            "fault add web --for 1s",
            2,
            "no fault is described: give --delay, --loss, --rate or another (--help shows all)",
        ),
        ("fault add web --delay -1ms", 2, "--delay: '-1ms' is too short: it must be more than zero"),
        ("fault add nobody --delay 1ms --for 1s", 3, "no target 'nobody'; see 'faultctl target ls'"),
        ("fault rm f7", 3, "no fault 'f7'"),
        ("runs stop r7", 3, "no run has the id 'r7'; see 'faultctl runs ls'"),
        (
            "run --cluster other --dry-run",
            3,
            "no cluster is named 'other'; bring one up with 'faultctl lab up workloads/etcd', or see 'faultctl lab status'",
        ),
        (
            "run --cluster etcd --target etcd9 --delay 1ms --dry-run",
            3,
            "the cluster has no etcd9: its members are etcd0 (leader)",
        ),
        ("fault add forbidden --delay 1ms --dry-run", 5, "only root may add faults"),
        ("schema nothing", 3, "no schema is called 'nothing'; see 'faultctl schema'"),
        ("lab down other", 3, "no lab 'other' is up; up: etcd"),
        ("run --cluster other", 3, "no cluster 'other'; see 'faultctl lab status'"),
        ("fault add forbidden --delay 1ms --for 1s", 5, "only root may add faults"),
        ("fault add taken --delay 1ms --for 1s", 1, "web has fault f9 already"),
    ];
    for (words, code, line) in cases {
        assert_eq!(failure(&call(&daemon, words)), (code, format!("faultctl: {line}")), "{words}");
    }
    assert!(!daemon.directory.join("outputs").exists(), "a run that never began leaves no directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_the_socket_and_what_to_do_are_named() {
    let daemon = FakeDaemon::start("none");
    let (code, line) = failure(&call(&daemon, "--bus unix:path=/nowhere/bus fault ls"));
    assert_eq!(code, 4);
    let expected = "faultctl: cannot reach faultd at /nowhere/bus: No such file or directory (os error 2); \
        start it with 'sudo faultd' or name its socket with --bus";
    assert_eq!(line, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_the_doctor_says_what_it_can_find_itself() {
    let daemon = FakeDaemon::start("alone");
    let output = call(&daemon, "--bus unix:path=/nowhere/bus -o json doctor");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let document = json(&output);
    let problem = &document["problems"][0];
    assert_eq!(
        (&document["schema"], &problem["severity"]),
        (&"faultd/v1/doctor-alone".into(), &"error".into())
    );
    assert_eq!(problem["what"], "no faultd runs: there is no socket /nowhere/bus");
    assert!(problem["fix"].as_str().unwrap().contains("sudo systemctl start faultd"), "{problem}");
    let text = String::from_utf8(call(&daemon, "--bus unix:path=/nowhere/bus doctor").stdout).unwrap();
    assert!(text.starts_with("problems:\nerror: no faultd runs"), "{text}");
}

/// Root may open every socket, so the binary is called as somebody else where the test is root.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_closed_to_the_caller_is_denied() {
    use std::os::unix::process::CommandExt;

    let daemon = FakeDaemon::start("closed");
    let socket = daemon.directory.join("bus");
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o000)).unwrap();
    // The binary is below a directory that others may not be able to enter.
    let binary = daemon.directory.join("faultctl");
    std::fs::copy(env!("CARGO_BIN_EXE_faultctl"), &binary).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the binary under test is another process")]
    let mut command = Command::new(&binary);
    command
        .args(["fault", "ls"])
        .current_dir("/")
        .env("FAULTD_BUS", format!("unix:path={}", socket.display()));
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let (code, line) = failure(&command.output().unwrap());
    assert_eq!(code, 5);
    assert!(line.ends_with("permission denied; call faultctl with sudo"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_with_an_end_returns_at_once_and_outlives_the_caller() {
    let daemon = FakeDaemon::start("add");
    let document = json(&call(&daemon, "-o json fault add web --delay 50ms --loss 5% --for 30s"));
    assert_eq!(document["schema"], "faultd/v1/fault");
    assert_eq!(document["remaining_ns"], 30_000_000_000_u64);
    assert_eq!(daemon.asked(), ["add web detach true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_targets_get_a_fault_each_or_none() {
    let daemon = FakeDaemon::start("several");
    let document = json(&call(&daemon, "-o json fault add label:tier --loss 5% --for 1s"));
    assert_eq!(
        (&document["faults"][0]["target"], &document["faults"][1]["target"]),
        (&"web".into(), &"api".into())
    );
    assert_eq!(daemon.asked()[0], "select label:tier random None");

    let refused = call(&daemon, "fault add web taken --loss 5% --for 1s");
    assert_eq!(failure(&refused), (1, "faultctl: web has fault f9 already".to_owned()));
    assert_eq!(daemon.asked().last().map(String::as_str), Some("remove f1"));

    let chosen = call(&daemon, "fault add web api --random 2 --network back --loss 5% --for 1s");
    let said = String::from_utf8(chosen.stderr.clone()).unwrap();
    assert_eq!(said, "chose 2 of 2 with --seed 42: web, api\n");
    assert!(daemon.asked().contains(&"select web api random Some(2)".to_owned()), "{:?}", daemon.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_without_an_end_is_held_and_removed_on_ctrl_c() {
    let daemon = FakeDaemon::start("hold");
    let (code, stdout, said) = interrupt_at(&daemon, "fault add web --loss 5%", &["holds until Ctrl-C"]);
    assert_eq!(code, 130, "{said}");
    assert!(stdout.contains("loss 5%"), "{stdout}");
    assert!(said.ends_with("fault f1 is removed"), "{said}");
    assert_eq!(daemon.asked(), ["add web detach false", "remove f1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_fault_that_is_removed_from_elsewhere_ends_the_command() {
    let daemon = FakeDaemon::start("fleeting");
    let output = call(&daemon, "fault add fleeting --loss 5%");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("fault f2 was removed from elsewhere\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_confirmed() {
    let daemon = FakeDaemon::start("done");
    assert_eq!(json(&call(&daemon, "-o json fault clear web"))["count"], 3);
    assert!(call(&daemon, "fault clear web").stdout.is_empty());
    assert!(call(&daemon, "lab down").status.success());
    assert_eq!(daemon.asked(), ["clear 'web'", "clear 'web'", "down etcd"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cleared_is_shown_and_nobody_is_asked() {
    let daemon = FakeDaemon::start("clear");
    let cleared = call(&daemon, "fault clear --all");
    assert!(stdout(&cleared).contains("f1  web     loss 5%"), "{cleared:?}");
    assert!(String::from_utf8_lossy(&cleared.stderr).ends_with("1 fault is removed\n"), "{cleared:?}");
    let document = json(&call(&daemon, "-o json fault clear"));
    assert_eq!((&document["count"], &document["faults"][0]["id"]), (&1.into(), &"f1".into()));
    assert_eq!(daemon.asked(), ["clear all", "clear all"]);
    assert_eq!(failure(&call(&daemon, "fault clear web --all")).0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_not_waited_for_is_begun_and_looked_after_by_its_id() {
    let daemon = FakeDaemon::start("begun");
    let begun = json(&call(&daemon, "-o json run --cluster etcd --no-wait"));
    assert_eq!((&begun["schema"], &begun["id"]), (&"faultd/v1/run-begun".into(), &"r1".into()));
    assert_eq!(begun["folder"], format!("./outputs/{FOLDER}"));
    assert!(stdout(&call(&daemon, "runs ls")).contains("r1  etcd     baseline  running  injection  2/4"));
    assert!(stdout(&call(&daemon, "runs show r2")).starts_with("run r2: done\n"));
    assert!(stdout(&call(&daemon, "runs wait r2")).starts_with("run r2: done\n"));
    let failed = call(&daemon, "runs wait r3");
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(said, "faultctl: the run failed: a member ended; see its log\n");
    assert!(call(&daemon, "runs stop r1").status.success());
    assert_eq!(daemon.asked(), ["run baseline detach true", "stop r1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_whom_it_would_touch_and_begins_nothing() {
    let daemon = FakeDaemon::start("dry");
    let words = "run --cluster etcd --target leader --delay 50ms --dry-run";
    let text = stdout(&call(&daemon, words));
    assert!(text.starts_with("run leader_delay50ms on etcd (etcd/etcd0)\n"), "{text}");
    assert!(text.contains("etcd/etcd0  delay 50ms  egress     veth0"), "{text}");
    let baseline = json(&call(&daemon, "-o json run --cluster etcd --dry-run"));
    assert_eq!((&baseline["target"], &baseline["faults"]), (&Value::Null, &Value::Array(Vec::new())));
    assert_eq!(daemon.asked(), ["plan etcd/etcd0"]);
    assert!(!daemon.directory.join("outputs").exists());
}

/// There is none to be turned off: neither a terminal nor a variable brings any.
#[tokio::test(flavor = "multi_thread")]
async fn no_colour_is_printed_whatever_the_surroundings_say() {
    let daemon = FakeDaemon::start("colour");
    for words in
        ["--help", "fault add --help", "fault ls", "doctor", "fault ad", "fault rm f7", "run --cluster etcd"]
    {
        for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1"), ("TERM", "xterm-256color")] {
            let output = faultctl(&daemon.directory, words).env(name, value).output().unwrap();
            let printed = [output.stdout, output.stderr].concat();
            assert!(!printed.contains(&0x1b), "{words}: {}", String::from_utf8_lossy(&printed));
            let _ = std::fs::remove_dir_all(daemon.directory.join("outputs"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lab_is_described_by_a_directory_a_file_or_a_name() {
    let daemon = FakeDaemon::start("lab");
    let workload = daemon.directory.join("workloads/etcd");
    std::fs::create_dir_all(&workload).unwrap();
    std::fs::write(workload.join("cluster.toml"), "name = \"etcd\"\n").unwrap();
    for words in ["lab up workloads/etcd", "lab up workloads/etcd/cluster.toml", "lab up etcd"] {
        let text = stdout(&call(&daemon, words));
        assert!(text.starts_with("lab etcd: serving (driver etcd-kv"), "{text}");
    }
    assert!(stdout(&call(&daemon, "lab status workloads/etcd")).starts_with("lab etcd: serving"));
    let (code, line) = failure(&call(&daemon, "lab up workloads/other"));
    assert_eq!(code, 3);
    assert!(line.starts_with("faultctl: no cluster is described at workloads/other"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_shows_its_phases_and_prints_the_summary() {
    let daemon = FakeDaemon::start("run");
    let output = call(&daemon, "run --cluster etcd --duration 4s");
    let text = stdout(&output);
    assert!(text.starts_with("baseline: done\n"), "{text}");
    assert!(text.contains(&format!("./outputs/{FOLDER}")), "{text}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("baseline ") && said.contains("injection "), "{said}");
    assert!(said.contains("1000 ops/s  p50    7.5 ms  errors 0"), "{said}");
    assert!(!said.contains('\r') && !said.contains('\x1b'), "{said}");

    let table = stdout(&call(&daemon, "results ls"));
    assert!(table.contains(FOLDER) && table.contains("1000.0"), "{table}");
    assert_eq!(stdout(&call(&daemon, &format!("results show {FOLDER}"))), text);
    assert_eq!(json(&call(&daemon, "-o json results ls"))["results"][0]["label"], "baseline");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_one_line_is_rewritten_without_escape_codes() {
    let daemon = FakeDaemon::start("terminal");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = faultctl(&daemon.directory, "run --cluster etcd");
    let status = command.stdout(Stdio::null()).stderr(terminal).status().unwrap();
    // With the command goes its copy of the terminal: reading ends with an error once all is read.
    drop(command);
    let mut shown = Vec::new();
    let _ = File::from(master).read_to_end(&mut shown);
    let shown = String::from_utf8(shown).unwrap();
    assert!(status.success());
    assert!(shown.contains("\rbaseline      1/4 s    1000 ops/s  p50    7.5 ms  errors 0"), "{shown:?}");
    assert!(shown.contains("\rinjection     2/4 s"), "{shown:?}");
    assert!(shown.ends_with(" \r") && !shown.contains('\x1b'), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_as_json_is_one_document_and_as_lines_its_seconds_too() {
    let daemon = FakeDaemon::start("json");
    let document = json(&call(&daemon, "-o json run --cluster etcd"));
    assert_eq!(document["schema"], "faultd/v1/run");
    assert_eq!(document["status"], "done");
    assert_eq!(document["folder"], format!("./outputs/{FOLDER}"));
    assert_eq!(document["summary"]["totals"]["operations"], 2000);
    assert_eq!(document["metadata"]["cluster"], "etcd");

    std::fs::remove_dir_all(daemon.directory.join("outputs")).unwrap();
    let lines = stdout(&call(&daemon, "-o jsonl run --cluster etcd"));
    let schemas: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["schema"].clone()).collect();
    assert_eq!(schemas.first(), Some(&"faultd/v1/progress".into()));
    assert_eq!(schemas.last(), Some(&"faultd/v1/run".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_run_and_keeps_what_was_measured() {
    let daemon = FakeDaemon::start("interrupt");
    let (code, stdout, said) = interrupt_at(&daemon, "run --cluster etcd --label endless", &["injection"]);
    assert_eq!(code, 130, "{said}");
    assert!(stdout.starts_with("endless: interrupted\n"), "{stdout}");
    assert!(
        said.contains(&format!("interrupted; what was measured until then is in ./outputs/{FOLDER}")),
        "{said}"
    );
    assert_eq!(daemon.asked(), ["run endless detach false", "stop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_does_not_wait_for_the_daemon() {
    let daemon = FakeDaemon::start("stuck");
    let cues = ["injection", "ending the run"];
    let (code, stdout, said) = interrupt_at(&daemon, "run --cluster etcd --label stuck", &cues);
    assert_eq!((code, stdout.as_str()), (130, ""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_goes_away_in_a_run_is_told_from_a_run_that_failed() {
    let daemon = FakeDaemon::start("dies");
    let (code, line) = failure(&call(&daemon, "run --cluster etcd --label dies"));
    assert_eq!(code, 4, "{line}");
    assert!(line.starts_with("faultctl: the connection to faultd broke"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_belong_to_the_owner_of_the_directory_that_they_are_made_in() {
    use std::os::unix::fs::{MetadataExt, chown};

    let daemon = FakeDaemon::start("owner");
    if rustix::process::geteuid().is_root() {
        chown(&daemon.directory, Some(65534), Some(65534)).unwrap();
    }
    assert!(call(&daemon, "run --cluster etcd").status.success());
    let owner = |path: &Path| std::fs::metadata(path).map(|file| (file.uid(), file.gid())).unwrap();
    assert_eq!(owner(&daemon.directory.join("outputs")), owner(&daemon.directory));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_says_why() {
    let daemon = FakeDaemon::start("fails");
    let (code, line) = failure(&call(&daemon, "run --cluster etcd --label fails"));
    assert_eq!(
        (code, line.as_str()),
        (1, "faultctl: the run failed: etcd0 ended with status 1; see its log")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_stopped_says_why_and_where_its_results_are() {
    let daemon = FakeDaemon::start("stopped");
    let output = call(&daemon, "run --cluster etcd --target leader --delay 1ms --stop-if errors>5");
    let said = String::from_utf8(output.stderr).unwrap();
    let line = format!(
        "faultctl: the run was stopped by errors>5: {REASON}; what was measured is in ./outputs/{FOLDER}\n"
    );
    assert_eq!((output.status.code(), said.ends_with(&line)), (Some(6), true), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with(&format!("leader_delay1ms: stopped\n  stopped      by errors>5: {REASON}\n")),
        "{text}"
    );

    std::fs::remove_dir_all(daemon.directory.join("outputs")).unwrap();
    let words = "-o json run --cluster etcd --target leader --delay 1ms --stop-if errors>5";
    let document = json(&call(&daemon, words));
    assert_eq!(
        (&document["status"], &document["summary"]["stopped"]["reason"]),
        (&"stopped".into(), &REASON.into())
    );
    let (code, line) = failure(&call(&daemon, "run --cluster etcd --stop-if errors"));
    assert_eq!((code, line.contains("--stop-if: 'errors': after errors write")), (2, true), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let daemon = FakeDaemon::start("pipe");
    let mut command = faultctl(&daemon.directory, "doctor");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), [].as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_results_directory_that_was_named_must_be_there() {
    let daemon = FakeDaemon::start("results");
    let (code, line) = failure(&call(&daemon, "results ls ./elsewhere"));
    assert_eq!(code, 3);
    assert!(line.contains("./elsewhere"), "{line}");
    let none_yet = call(&daemon, "-o json results ls");
    assert!(none_yet.status.success(), "{none_yet:?}");
    assert!(String::from_utf8_lossy(&none_yet.stdout).contains("\"results\": []"), "{none_yet:?}");
}

#[test]
fn what_another_load_generator_has_printed_is_read_second_by_second() {
    let directory = std::env::temp_dir().join(format!("faultctl-{}-read", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../faultd-load-output/tests/samples");
    std::fs::copy(samples.join("cassandra-stress-4.0.txt"), directory.join("full_cassandra-stress.log"))
        .unwrap();
    std::fs::write(directory.join("wrk.log"), "nothing of the kind\n").unwrap();
    let read = |words: &str| faultctl(&directory, &format!("results read {words}")).output().unwrap();
    let document = json(&read("full_cassandra-stress.log -o json"));
    let table = stdout(&read("full_cassandra-stress.log"));
    let unknown = failure(&read("wrk.log"));
    let unnamed = failure(&read("none.log"));
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(
        (&document["schema"], &document["tool"]),
        (&Value::from("faultd/v1/tool-output"), &Value::from("cassandra-stress"))
    );
    assert!(!document["seconds"].as_array().unwrap().is_empty(), "{document}");
    assert!(table.starts_with("T S") && table.contains("ops/s"), "{table}");
    assert_eq!((unknown.0, unknown.1.contains("has nothing that wrk prints")), (6, true), "{unknown:?}");
    assert_eq!((unnamed.0, unnamed.1.contains("give --tool")), (2, true), "{unnamed:?}");
}
