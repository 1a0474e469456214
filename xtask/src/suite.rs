//! `cargo xtask test`: every test there is, and one line at the end that sums them up.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::tally::Tally;
use crate::{command, uml};

/// Names the file that tests which skip themselves write a line to.
const SKIPS: &str = "FAULTD_TEST_SKIPS";
/// The crate all of whose tests run on two kernels.
const KERNEL_CRATE: &str = "faultd-kernel";

/// Runs all suites, lists what was skipped, and ends with "N passed, N failed, N skipped".
pub(crate) fn run() -> Result<ExitCode> {
    let start = Instant::now();
    let mut tally = Tally::default();
    let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
    workspace(&mut tally)?;
    plugins(&mut tally)?;
    kernel(&mut tally)?;
    for remark in tally.remarks() {
        println!("{remark}");
    }
    if tally.failed() == 0 && !tally.is_good(strict) {
        println!("essential tests were skipped, which CI=true does not allow");
    }
    println!("the tests took {} s", start.elapsed().as_secs());
    println!("{tally}");
    Ok(if tally.is_good(strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn workspace(tally: &mut Tally) -> Result<()> {
    let mut cargo = cargo_test(&["--workspace", "--exclude", KERNEL_CRATE])?;
    let skips = skips_of(|file| count(tally, cargo.env(SKIPS, file)))?;
    tally.read_skips(&skips);
    Ok(())
}

/// The plugins' own tests run natively: what they decide needs no WebAssembly.
fn plugins(tally: &mut Tally) -> Result<()> {
    let mut cargo = cargo_test(&["--workspace"])?;
    cargo.current_dir(command::root().join("plugins"));
    cargo.env("CARGO_TARGET_DIR", command::root().join("target/build/plugins-native"));
    count(tally, &mut cargo)
}

/// The tests for two kernels on this machine's kernel, and on one that has fq and netem but no TCX.
fn kernel(tally: &mut Tally) -> Result<()> {
    let here = skips_of(|file| {
        for selection in uml::ON_TWO_KERNELS {
            count(tally, cargo_test(selection)?.env(SKIPS, file))?;
        }
        Ok(())
    })?;
    if uml::is_installed() {
        let there = skips_of(|file| second_kernel(tally, file))?;
        tally.read_skips_of_two_kernels(&here, &there);
    } else {
        tally.skip("tests in User Mode Linux: there is no linux.uml (Debian package user-mode-linux)");
        tally.read_skips(&here);
    }
    Ok(())
}

fn second_kernel(tally: &mut Tally, skips: &Path) -> Result<()> {
    let failed_before = tally.failed();
    let tests = uml::kernel_test_commands(&[])?;
    let status = uml::boot(&tests, Some(skips), &mut |line| tally.read(line))?;
    if status != 0 && tally.failed() == failed_before {
        println!("User Mode Linux ended with status {status}: counted as one failure");
        tally.fail();
    }
    Ok(())
}

/// Gives a suite an empty file for the tests that skip themselves, and returns what they wrote.
fn skips_of(suite: impl FnOnce(&Path) -> Result<()>) -> Result<String> {
    let file = command::root().join("target/test-skips");
    fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
    suite(&file)?;
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

fn cargo_test(what: &[&str]) -> Result<Command> {
    let mut cargo = command::cargo();
    // A quiet cargo makes the test programs quiet too, and then nobody learns which test was ignored.
    cargo.args(["test", "--release", "--no-fail-fast"]).args(what).env("CARGO_TERM_QUIET", "false");
    as_root(&mut cargo)?;
    Ok(cargo)
}

/// Runs a cargo test, passing its output on, and counts.
fn count(tally: &mut Tally, cargo: &mut Command) -> Result<()> {
    let failed_before = tally.failed();
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read what cargo writes")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() && tally.failed() == failed_before {
        println!("cargo ended with {status} though no test failed: counted as one failure");
        tally.fail();
    }
    Ok(())
}

/// Lets the test programs run as root, while cargo itself stays who it is and owns what it builds.
fn as_root(cargo: &mut Command) -> Result<()> {
    if command::user()? != 0 {
        let target = format!("{}_UNKNOWN_LINUX_GNU", std::env::consts::ARCH.to_uppercase());
        cargo.env(format!("CARGO_TARGET_{target}_RUNNER"), "sudo --preserve-env");
    }
    Ok(())
}
