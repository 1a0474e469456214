//! `cargo xtask fuzz`: builds the fuzz targets with LLVM's coverage counters and lets each run for a while. It
//! takes the stable compiler and no other tool: libFuzzer comes as a crate, whose build script wants a g++.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::command;

/// How long each target runs where nothing else is said, in seconds.
pub(crate) const SECONDS: u32 = 20;

/// What libFuzzer needs to see which ways inputs take: a counter for each edge, and what is compared with what.
const COVERAGE: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg",
    "fuzzing",
];

/// The longest input, and the longest time and most memory (in MB) that one may take.
const LIMITS: [&str; 3] = ["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024"];

/// Builds all targets, runs each, and names those that failed.
pub(crate) fn run(seconds: u32) -> Result<ExitCode> {
    let programs = build()?;
    let mut failed = Vec::new();
    for name in targets()? {
        println!("\n{name}: {seconds} s");
        if let Err(error) = run_one(&name, &programs.join(&name), seconds) {
            eprintln!("{error:#}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("\nnone of the fuzz targets found anything");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\nfailed: {}; what they were given is in {}", failed.join(", "), folder("crashes").display());
    Ok(ExitCode::FAILURE)
}

/// The targets are the files of that folder.
fn targets() -> Result<Vec<String>> {
    let folder = command::root().join("fuzz/targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.path().file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    names.sort();
    ensure!(!names.is_empty(), "there is no fuzz target");
    Ok(names)
}

/// Builds all targets; the folder of the programs.
fn build() -> Result<PathBuf> {
    let host = host_triple()?;
    let target = command::root().join("target/build/fuzz");
    let mut cargo = command::cargo();
    // With a target named, what runs at build time is not instrumented.
    cargo.args(["build", "--release", "--bins", "--target", &host]).current_dir(command::root().join("fuzz"));
    cargo.env("CARGO_TARGET_DIR", &target).env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"));
    command::run(&mut cargo)?;
    Ok(target.join(host).join("release"))
}

fn host_triple() -> Result<String> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = command::output_of(command::program(compiler).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say which machine it is for")?.to_owned())
}

/// Runs a target on what it found before and on its seeds.
fn run_one(name: &str, program: &Path, seconds: u32) -> Result<()> {
    let [corpus, seeds, crashes] = ["corpus", "seeds", "crashes"].map(|kind| folder(kind).join(name));
    for folder in [&corpus, &seeds, &crashes] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    unpack_seeds(&command::root().join("fuzz/seeds").join(name), &seeds)?;
    let mut fuzzer = command::program(program);
    fuzzer
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .args(["-verbosity=0", "-print_final_stats=1"]);
    fuzzer.arg(format!("-artifact_prefix={}/", crashes.display())).arg(&corpus).arg(&seeds);
    command::run(&mut fuzzer)
}

fn folder(kind: &str) -> PathBuf {
    command::root().join("target/fuzz").join(kind)
}

/// Copies seeds; those that are written in hexadecimal, because they are no text, as the bytes they stand for.
fn unpack_seeds(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let path = entry?.path();
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let is_hexadecimal = path.extension().is_some_and(|extension| extension == "hex");
        let bytes = if is_hexadecimal { from_hexadecimal(&bytes)? } else { bytes };
        let name = path.file_name().context("a seed without a name")?;
        fs::write(to.join(name), bytes).with_context(|| format!("cannot write into {}", to.display()))?;
    }
    Ok(())
}

fn from_hexadecimal(text: &[u8]) -> Result<Vec<u8>> {
    let digit = |letter: &u8| char::from(*letter).to_digit(16).context("a letter that is no digit");
    let letters = text.iter().filter(|letter| !letter.is_ascii_whitespace());
    let digits = letters.map(digit).collect::<Result<Vec<u32>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    ensure!(rest.is_empty(), "half a byte at the end");
    pairs.iter().map(|[high, low]| Ok(u8::try_from(high << 4 | low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_seeds_are_the_bytes_they_stand_for() {
        assert_eq!(from_hexadecimal(b"00 7f\nFF\n").unwrap(), [0, 0x7f, 0xff]);
        assert!(from_hexadecimal(b"0").is_err() && from_hexadecimal(b"0x").is_err());
    }

    #[test]
    fn every_target_has_seeds_a_door_and_a_line_in_the_readme() {
        let root = command::root();
        let readme = fs::read_to_string(root.join("fuzz/README.md")).unwrap();
        let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        for name in targets().unwrap() {
            assert!(fs::read_dir(root.join("fuzz/seeds").join(&name)).unwrap().count() > 0, "{name}");
            assert!(readme.contains(&format!("| `{name}` |")), "{name} is not in fuzz/README.md");
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
        }
    }
}
