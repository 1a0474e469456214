//! `cargo xtask torture`: the long form of the test that tortures the daemon, which is short in `cargo xtask test`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::suite::{self, SKIPS};
use crate::tally::Tally;
use crate::test_program;

/// How long fault follows fault where nothing else is said, in minutes. The rest takes about half an hour.
pub(crate) const MINUTES: u32 = 60;

/// Says how long that is, and that the long form is wanted; `daemon/faultd/tests/torture/length.rs` reads it.
const LENGTH: &str = "FAULTD_TORTURE";
/// The program, as it is named among all others.
const PROGRAM: &str = "faultd tests/torture/main.rs";

/// Runs it, everything that it says passed on; the last line is the sum. What fails is not run again: here it is not the
/// machine.
pub(crate) fn run(minutes: u32) -> Result<ExitCode> {
    let start = Instant::now();
    let programs = test_program::build()?;
    let program = programs.iter().find(|program| program.name == PROGRAM);
    let program = program.with_context(|| format!("cargo built no {PROGRAM}"))?;
    let mut tally = Tally::default();
    let skips = suite::skips_of("target/test-skips-torture", |file| {
        let mut command = suite::as_root(&program.call(&["--nocapture", "--test-threads=1"]))?;
        command.env(SKIPS, file).env(LENGTH, minutes.to_string());
        suite::count(&mut tally, PROGRAM, &mut command)
    })?;
    tally.read_skips(&skips);
    for remark in tally.remarks() {
        println!("{remark}");
    }
    println!("the torture took {} s", start.elapsed().as_secs());
    println!("{tally}");
    Ok(if tally.is_good(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
