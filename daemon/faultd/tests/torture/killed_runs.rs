//! SIGKILL in the middle of a run: its fault ends with the daemon, and what was measured is there in whole lines.

use std::{
    fs,
    path::{Path, PathBuf},
};

use faultd_results::{event, folder, timeseries};

use crate::{
    arena::{Arena, PATIENCE},
    length::length,
    turn,
};

/// The steps of a run; those that are `true` are in the short form too. The rows are what must be there at least.
const STEPS: [(&str, usize, bool); 9] = [
    ("run.ready", 0, false),
    ("run.row", 0, false),
    ("engine.add.done", 0, false),
    ("run.row:3", 2, true),
    ("rule.remove.released", 2, false),
    ("engine.clear.done", 2, false),
    ("run.row:4", 3, false),
    ("run.measured", 4, false),
    ("run.plotted", 4, false),
];

/// The folder of the run with this label.
fn folder_of(outputs: &Path, label: &str) -> PathBuf {
    let folders = fs::read_dir(outputs).expect("outputs").map(|entry| entry.expect("a folder").path());
    let mut of_label = folders.filter(|path| path.to_string_lossy().ends_with(label));
    of_label.next().expect("the folder of the run")
}

/// Whole rows and events, as far as it came.
fn assert_lines_are_whole(run: &Path, rows_at_least: usize, place: &str) {
    if let Ok(text) = fs::read_to_string(run.join(folder::TIMESERIES_CSV)) {
        let rows = timeseries::parse_csv(&text).unwrap_or_else(|error| panic!("{place}: {error}: {text}"));
        assert!(rows.len() >= rows_at_least, "{place}: {text}");
    }
    if let Ok(text) = fs::read_to_string(run.join(folder::EVENTS_JSONL)) {
        event::parse_json_lines(&text).unwrap_or_else(|error| panic!("{place}: {error}: {text}"));
    }
    let parts = fs::read_dir(run).expect("the folder").map(|entry| entry.expect("a file").path());
    let parts: Vec<_> = parts.filter(|path| path.extension().is_some_and(|kind| kind == "part")).collect();
    assert_eq!(parts, Vec::<PathBuf>::new(), "{place}");
}

#[test]
fn killed_at_any_step_of_a_run_its_fault_ends_and_whole_rows_are_kept() {
    let _turn = turn();
    let mut arena = Arena::start();
    for (number, (place, rows, is_short)) in (0..).zip(STEPS) {
        if !(is_short || length().every_step) {
            continue;
        }
        let label = format!("killed-{number}");
        let words = format!(
            "-o json run --cluster {} --target etcd0 --delay 200ms --duration 4s --inject-at 1s --for 2s \
             --warm-up 0s --keys 100 --clients 2 --label {label}",
            arena.lab
        );
        arena.daemon.kill_at(place);
        let caller = arena.started(&words);
        assert!(arena.daemon.is_killed_within(PATIENCE), "{place}: never there: {}", arena.daemon.log());
        let back = arena.assert_normal_soon(place);
        println!("a run killed at {place}: normal after {back:?}");
        Arena::assert_heard_of_the_end(&caller.wait(PATIENCE), place);
        arena.assert_nothing_left_by_the_dead(place);
        let outputs = arena.daemon.directory().join("outputs");
        assert_lines_are_whole(&folder_of(&outputs, &label), rows, place);
        arena.daemon.restart();
        arena.assert_as_before(place);
        arena.assert_serves(place);
        // What is there of it can be listed with all others.
        arena.daemon.faultctl("results ls").succeeded();
    }
    let words = format!("run --cluster {} --duration 1s --warm-up 0s --keys 100 --label after", arena.lab);
    arena.daemon.faultctl(&words).succeeded();
}
