//! `cargo xtask test`: every test there is, and one line at the end that sums them up.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use crate::tally::Tally;
use crate::test_program::{self, TestProgram};
use crate::{check, command, uml};

/// Names the file that tests which skip themselves write a line to.
pub(crate) const SKIPS: &str = "FAULTD_TEST_SKIPS";
/// So many failed tests of a program are run once more. A machine that stood still spoils the measurement of one
/// or two; when more fail, it is not the machine.
const MOST_RUN_AGAIN: usize = 3;

/// Runs all suites, lists what was skipped, and ends with "N passed, N failed, N skipped".
///
/// Where `with_checks`, what every change must pass besides the tests is checked too, and counted as one failure if
/// it does not.
pub(crate) fn run(with_checks: bool) -> Result<ExitCode> {
    let start = Instant::now();
    let mut tally = Tally::default();
    let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
    // The sum at the end is owed whatever happens.
    counting_errors(&mut tally, |tally| all_suites(tally, with_checks));
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

fn counting_errors(tally: &mut Tally, suite: impl FnOnce(&mut Tally) -> Result<()>) {
    if let Err(error) = suite(tally) {
        println!("{error:#}: counted as one failure");
        tally.fail();
    }
}

/// What measures has the machine to itself. The second kernel, which has one processor, then runs beside what
/// compiles and computes.
fn all_suites(tally: &mut Tally, with_checks: bool) -> Result<()> {
    let (on_two_kernels, on_one): (Vec<_>, Vec<_>) =
        test_program::build()?.into_iter().partition(|program| program.on_two_kernels);
    let skips = here(tally, &on_one)?;
    tally.read_skips(&skips);
    let skips = here(tally, &on_two_kernels)?;
    thread::scope(|scope| {
        let second = scope.spawn(|| second_kernel(&on_two_kernels));
        counting_errors(tally, examples_in_comments);
        counting_errors(tally, plugins);
        if with_checks {
            counting_errors(tally, |_tally| checks());
        }
        counting_errors(tally, |tally| {
            let second =
                second.join().map_err(|_panic| anyhow!("the second kernel's thread has panicked"))??;
            second.count(tally, &skips);
            Ok(())
        });
    });
    Ok(())
}

/// Runs test programs on this machine's kernel and returns what they skipped.
fn here(tally: &mut Tally, programs: &[TestProgram]) -> Result<String> {
    skips_of("target/test-skips", |file| {
        for program in programs {
            println!("\n{}", program.name);
            let start = Instant::now();
            count(tally, &program.name, as_root(&program.call(&[]))?.env(SKIPS, file))?;
            println!("{} took {} s", program.name, start.elapsed().as_secs());
            run_again(tally, |tally, tests| {
                let mut command = as_root(&program.call(tests))?;
                pass_on(&program.name, command.env(SKIPS, file), &mut |line| tally.read_again(line)).map(drop)
            })?;
        }
        Ok(())
    })
}

/// Runs the tests that failed once more, if they are few, and counts those that pass now as passed; the remarks at
/// the end name them.
fn run_again(tally: &mut Tally, run: impl FnOnce(&mut Tally, &[&str]) -> Result<()>) -> Result<()> {
    let failed = tally.take_failed_tests();
    if failed.is_empty() || failed.len() > MOST_RUN_AGAIN {
        return Ok(());
    }
    println!("once more, as it may have been the machine: {}", failed.join(", "));
    let tests: Vec<&str> = std::iter::once("--exact").chain(failed.iter().map(String::as_str)).collect();
    run(tally, &tests)
}

fn examples_in_comments(tally: &mut Tally) -> Result<()> {
    println!("\nexamples in comments");
    count(tally, "cargo", cargo_test().arg("--doc"))
}

/// The plugins' own tests run natively: what they decide needs no WebAssembly.
fn plugins(tally: &mut Tally) -> Result<()> {
    println!("\nplugins");
    let mut cargo = cargo_test();
    cargo.current_dir(command::root().join("plugins"));
    cargo.env("CARGO_TARGET_DIR", command::root().join("target/build/plugins-native"));
    count(tally, "cargo", &mut cargo)
}

fn checks() -> Result<()> {
    println!("\nchecks");
    let failed = check::failed();
    ensure!(failed.is_empty(), "checks that failed: {}", failed.join(", "));
    Ok(())
}

/// What came of the tests for two kernels on the second one.
enum SecondKernel {
    Missing,
    Ran { tally: Tally, skips: String },
}

impl SecondKernel {
    /// Counts it, and what was skipped `here` on the first one.
    fn count(self, tally: &mut Tally, here: &str) {
        match self {
            Self::Missing => {
                tally
                    .skip("tests in User Mode Linux: there is no linux.uml (Debian package user-mode-linux)");
                tally.read_skips(here);
            }
            Self::Ran { tally: second, skips } => {
                tally.add(second);
                tally.read_skips_of_two_kernels(here, &skips);
            }
        }
    }
}

/// Runs tests on a kernel that has fq and netem but no TCX.
fn second_kernel(programs: &[TestProgram]) -> Result<SecondKernel> {
    if !uml::is_installed() {
        return Ok(SecondKernel::Missing);
    }
    let mut tally = Tally::default();
    let skips = skips_of("target/test-skips-uml", |file| in_second_kernel(&mut tally, programs, file))?;
    Ok(SecondKernel::Ran { tally, skips })
}

fn in_second_kernel(tally: &mut Tally, programs: &[TestProgram], skips: &Path) -> Result<()> {
    println!("\nin User Mode Linux");
    let start = Instant::now();
    let calls = |tests: &[&str]| programs.iter().map(|program| program.call(tests)).collect::<Vec<_>>();
    let status = uml::boot(&calls(&[]), Some(skips), &mut |line| tally.read(line))?;
    println!("User Mode Linux took {} s", start.elapsed().as_secs());
    if status != 0 && tally.failed() == 0 {
        println!("User Mode Linux ended with status {status}: counted as one failure");
        tally.fail();
    }
    run_again(tally, |tally, tests| {
        uml::boot(&calls(tests), Some(skips), &mut |line| tally.read_again(line)).map(drop)
    })
}

/// Gives a suite an empty file for the tests that skip themselves, and returns what they wrote.
pub(crate) fn skips_of(name: &str, suite: impl FnOnce(&Path) -> Result<()>) -> Result<String> {
    let file = command::root().join(name);
    fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
    suite(&file)?;
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// A cargo that runs tests as who runs xtask: these need no privileges.
fn cargo_test() -> Command {
    let mut cargo = command::cargo_that_makes_way();
    // A quiet cargo makes the test programs quiet too, and then nobody learns which test was ignored.
    cargo.args(["test", "--release", "--workspace", "--no-fail-fast"]).env("CARGO_TERM_QUIET", "false");
    cargo
}

/// A call as root, whoever runs xtask.
pub(crate) fn as_root(words: &[String]) -> Result<Command> {
    let (program, arguments) = words.split_first().context("there is nothing to call")?;
    let is_root = command::user()? == 0;
    let mut command = command::program(if is_root { program } else { "sudo" });
    if !is_root {
        command.args(["--preserve-env", program]);
    }
    command.args(arguments);
    Ok(command)
}

/// Runs a test program, or a cargo that runs some, passes the output on, and counts.
pub(crate) fn count(tally: &mut Tally, name: &str, command: &mut Command) -> Result<()> {
    let failed_before = tally.failed();
    let status = pass_on(name, command, &mut |line| tally.read(line))?;
    if !status.success() && tally.failed() == failed_before {
        println!("{name} ended with {status} though no test failed: counted as one failure");
        tally.fail();
    }
    Ok(())
}

/// Runs a program to its end; every line that it writes is printed and given to `on_line`.
fn pass_on(name: &str, command: &mut Command, on_line: &mut dyn FnMut(&str)) -> Result<ExitStatus> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot start {name}"))?;
    let stdout = child.stdout.take().with_context(|| format!("{name} has no stdout"))?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("cannot read what {name} writes"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        on_line(&line);
    }
    child.wait().with_context(|| format!("cannot wait for {name}"))
}
