//! The packages: what is in them, that they install, upgrade and go without a trace, and that what is in them is what the
//! programs that read it accept. Packages are made from the programs that are built, in a folder of the test's own.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, clippy::disallowed_methods, clippy::panic, reason = "tests")]

mod deb;
mod kubernetes;
mod life;
mod policies;
mod service;
mod tarball;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use faultd_testkit::skip;

static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

/// A folder that is gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("faultd-packaging-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is a folder for temporary things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

fn shipped(file: &str) -> PathBuf {
    repository().join("dist").join(file)
}

/// What a program wrote to stdout and stderr; it must succeed.
fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

fn program(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).env("LC_ALL", "C");
    command
}

/// Whether a test can have its programs; a counted skip where one is missing.
fn have(test: &str, programs: &[&str]) -> bool {
    let is_there = |name: &&&str| {
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|folder| folder.join(name).exists())
    };
    let missing = programs.iter().find(|name| !is_there(name));
    if let Some(missing) = missing {
        skip(test, &format!("there is no program {missing}"));
    }
    missing.is_none()
}

/// Makes a package with xtask; it is compressed little, which takes little time.
fn package(form: &str, version: &str, folder: &Path) -> PathBuf {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args([form, "--version", version, "--output"]).arg(folder);
    command.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    let output = command.output().expect("xtask");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(said.lines().last().expect("the package's file"))
}

/// The package of the version that the tests share.
fn deb() -> &'static Path {
    static DEB: OnceLock<PathBuf> = OnceLock::new();
    DEB.get_or_init(|| package("deb", "0.1.0", &repository().join("target/test-packages")))
}

/// All files below a folder, and folders, relative to it, in order of name.
fn everything_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a folder").flatten() {
            let path = entry.path();
            found.push(path.strip_prefix(folder).expect("below").display().to_string());
            if entry.file_type().expect("a type").is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}
