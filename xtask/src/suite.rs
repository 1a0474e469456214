//! `cargo xtask test`: every test there is, and one line at the end that sums them up.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::tally::Tally;
use crate::{command, uml};

/// Runs all suites, lists what was skipped, and ends with "N passed, N failed, N skipped".
pub(crate) fn run() -> Result<ExitCode> {
    let mut tally = Tally::default();
    let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
    workspace(&mut tally)?;
    plugins(&mut tally)?;
    second_kernel(&mut tally)?;
    for skip in tally.skipped() {
        println!("skipped: {skip}");
    }
    if tally.failed() == 0 && !tally.is_good(strict) {
        println!("essential tests were skipped, which CI=true does not allow");
    }
    println!("{tally}");
    Ok(if tally.is_good(strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn workspace(tally: &mut Tally) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--release", "--workspace", "--no-fail-fast"]);
    as_root(&mut cargo)?;
    with_skips(tally, |tally, skips| count(tally, cargo.env("FAULTD_TEST_SKIPS", skips)))
}

/// The plugins' own tests run natively: what they decide needs no WebAssembly.
fn plugins(tally: &mut Tally) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--release", "--workspace", "--no-fail-fast"]);
    cargo.current_dir(command::root().join("plugins"));
    cargo.env("CARGO_TARGET_DIR", command::root().join("target/build/plugins-native"));
    count(tally, &mut cargo)
}

/// The kernel tests once more, on a kernel that has fq, netem and no TCX.
fn second_kernel(tally: &mut Tally) -> Result<()> {
    if !uml::is_installed() {
        tally.skip("tests in User Mode Linux: there is no linux.uml (Debian package user-mode-linux)");
        return Ok(());
    }
    with_skips(tally, |tally, skips| {
        let mut failed = 0;
        let test = uml::kernel_test_commands(&[])?;
        let status = uml::boot(&test, Some(skips), &mut |line| {
            failed += u64::from(line.starts_with("test result: FAILED"));
            tally.read(line);
        })?;
        if status != 0 && failed == 0 {
            println!("User Mode Linux ended with status {status}: counted as one failure");
            tally.fail();
        }
        Ok(())
    })
}

/// Gives a suite an empty file for the tests that skip themselves, and counts them afterwards.
fn with_skips(tally: &mut Tally, suite: impl FnOnce(&mut Tally, &Path) -> Result<()>) -> Result<()> {
    let file = skips_file()?;
    suite(tally, &file)?;
    let lines = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    lines.lines().for_each(|line| tally.read_skip_of_passed_test(line));
    Ok(())
}

fn skips_file() -> Result<PathBuf> {
    let file = command::root().join("target/test-skips");
    fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
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
