//! Disks that are full or read-only: one clear line, no fault left, and what was measured is kept.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use faultd_results::{
    folder::{self},
    timeseries,
};
use faultd_testkit::{
    command::{Answer, wait_until},
    daemon_under_test::DaemonUnderTest,
    small_disk::SmallDisk,
    traces::Traces,
};
use serde_json::Value;

use crate::{
    FAULTD,
    arena::{Arena, PATIENCE},
    networks::VethToHost,
    turn,
};

fn assert_one_line(answer: &Answer, text: &str) {
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:#?}");
    let complaints = answer.complaints();
    assert!(complaints.len() == 1 && complaints[0].contains(text), "no '{text}': {answer:#?}");
    assert!(!answer.stderr.contains("panicked"), "{answer:#?}");
}

impl Arena {
    fn run_words(&self, seconds: u32) -> String {
        format!(
            "run --cluster {} --target etcd0 --delay 200ms --duration {seconds}s --inject-at 1s --warm-up 0s \
             --keys 50 --clients 2",
            self.lab
        )
    }

    fn outputs(&self) -> PathBuf {
        self.daemon.directory().join("outputs")
    }
}

/// Takes a disk away, and what could not be removed while it was there.
fn remove(disk: SmallDisk, directory: &Path) {
    drop(disk);
    // It may have been empty.
    let _ = fs::remove_dir_all(directory);
}

/// The namespaces and programs that a daemon holds.
fn kernel_files(pid: u32) -> Vec<String> {
    let files = Traces::of_process(pid).0.into_iter();
    files.filter(|file| file.starts_with("net ") || file.contains("bpf")).collect()
}

/// The only folder of a run.
fn only_run(outputs: &Path) -> PathBuf {
    let folders = fs::read_dir(outputs).expect("outputs").map(|entry| entry.expect("a folder").path());
    folders.filter(|path| path.is_dir()).max().expect("the folder of a run")
}

#[test]
fn outputs_that_are_read_only_or_have_no_room_are_said_in_one_line_and_nothing_is_left() {
    let _turn = turn();
    let arena = Arena::start();
    {
        let disk = SmallDisk::mount(&arena.outputs(), "size=64k");
        disk.make_read_only();
        assert_one_line(&arena.daemon.faultctl(&arena.run_words(3)), "folder cannot be written");
    }
    arena.assert_as_before("read-only outputs");
    for inodes in 2..6 {
        // Room for so many files and folders.
        let _disk = SmallDisk::mount(&arena.outputs(), &format!("size=64k,nr_inodes={inodes}"));
        assert_one_line(&arena.daemon.faultctl(&arena.run_words(3)), "folder cannot be written");
        arena.assert_as_before("outputs without room");
    }
    // What was ready for the run is not any more: a namespace that is held would outlive its lab.
    arena.daemon.faultctl(&format!("lab down {}", arena.lab)).succeeded();
    let idle = DaemonUnderTest::start(FAULTD);
    let held = || kernel_files(arena.daemon.pid());
    let settled = wait_until(PATIENCE / 3, || kernel_files(idle.pid()) == held());
    assert!(
        settled,
        "{:?} is held, and by a daemon that has done nothing {:?}",
        held(),
        kernel_files(idle.pid())
    );
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_run_costs_no_row_that_was_whole() {
    let _turn = turn();
    let arena = Arena::start();
    for has_room_again in [true, false] {
        let disk = SmallDisk::mount(&arena.outputs(), "size=512k");
        let running = arena.started(&format!("-o json {}", arena.run_words(5)));
        assert!(wait_until(PATIENCE, || !arena.faults().is_empty()), "{running:?}");
        disk.fill();
        sleep(Duration::from_millis(1500));
        if has_room_again {
            disk.make_room();
        }
        let answer = running.wait(PATIENCE);
        arena.assert_as_before("a full disk");
        let run = only_run(&arena.outputs());
        let text = fs::read_to_string(run.join(folder::TIMESERIES_CSV)).expect("rows");
        let rows = timeseries::parse_csv(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        if has_room_again {
            assert_eq!((answer.code, rows.len()), (Some(0), 5), "{answer:#?}\n{text}");
            assert!(run.join(folder::SUMMARY_JSON).exists());
        } else {
            assert_one_line(&answer, "make room");
            assert!(!rows.is_empty(), "{text}");
        }
        println!("a full disk, room again: {has_room_again}: {} rows", rows.len());
    }
    arena.assert_serves("after full disks");
}

#[test]
fn a_state_directory_that_is_full_refuses_what_must_be_written_down_and_goes_on_with_room() {
    let _turn = turn();
    let daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    let disk = SmallDisk::mount(&daemon.state_directory(), "size=2m");
    let mut arena = Arena::of(daemon);
    let has_groups = arena.start_spinner();
    disk.fill();
    if has_groups {
        let pause = format!("fault add {} --pause 5m --detach", arena.target());
        assert_one_line(&arena.daemon.faultctl(&pause), "journal");
        arena.assert_runs("a full state directory");
    }
    let other = arena.daemon.lab_name();
    let description = faultd_testkit::daemon_under_test::etcd_description();
    let up = format!("lab up {} --name {other}", description.display());
    assert_one_line(&arena.daemon.faultctl(&up), "No space left");
    let of_other = || Traces::of_labs(std::slice::from_ref(&other));
    assert_eq!(Traces::default().left_over_after(PATIENCE / 3, of_other), Vec::<String>::new());
    // What is in force ends whatever the disk says.
    disk.make_room();
    if has_groups {
        arena.add("--pause 5m --detach");
    }
    arena.add("--loss 100% --detach");
    disk.fill();
    arena.daemon.faultctl("fault clear").succeeded();
    assert!(wait_until(PATIENCE, || arena.is_fast()));
    arena.assert_runs("cleared on a full disk");
    assert_eq!(arena.faults(), Vec::<Value>::new());
    disk.make_room();
    arena.assert_serves("with room again");
    arena.spinner = None;
    arena.daemon.faultctl(&format!("lab down {}", arena.lab)).succeeded();
    assert_eq!(arena.daemon.left_over(), Vec::<String>::new());
    let directory = arena.daemon.directory().to_owned();
    drop(arena);
    remove(disk, &directory);
}

#[test]
fn a_state_directory_that_is_read_only_leaves_no_fault_behind() {
    let _turn = turn();
    let network = VethToHost::create();
    let mut daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    let disk = SmallDisk::mount(&daemon.state_directory(), "size=64k");
    disk.make_read_only();
    daemon.restart();
    let add = format!("fault add {} --loss 50% --detach", network.target.target_name());
    // It may be refused because it cannot be written down; if not, it is a fault like any other.
    let answer = daemon.faultctl(&add);
    if answer.code != Some(0) {
        assert_one_line(&answer, "");
    }
    daemon.faultctl("fault clear").succeeded();
    let left = daemon.faultctl("-o json fault ls").json()["faults"].clone();
    assert_eq!(left, Value::Array(Vec::new()));
    let name = daemon.lab_name();
    let description = faultd_testkit::daemon_under_test::etcd_description();
    let up = daemon.faultctl(&format!("lab up {} --name {name}", description.display()));
    assert_one_line(&up, "ead-only");
    assert_eq!(daemon.left_over(), Vec::<String>::new());
    let directory = daemon.directory().to_owned();
    drop(daemon);
    remove(disk, &directory);
}
