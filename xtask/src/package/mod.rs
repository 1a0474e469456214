//! `cargo xtask deb` and `cargo xtask tarball`: what was built, as a Debian package or to be unpacked anywhere. The same
//! commit gives the same bytes. Nothing is compiled here.

mod deb;
mod files;
mod libraries;
mod tarball;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::command;

/// Where packages go, and what they are made from.
const OUTPUT: &str = "target/packages";

/// What is packed, and how.
#[derive(Clone, Copy)]
enum Form {
    Deb,
    Tarball,
}

/// What all packages of one call agree on.
struct Package {
    version: String,
    output: PathBuf,
    /// Every file is of this second.
    time: SystemTime,
}

/// `cargo xtask deb [--version VERSION] [--output DIRECTORY]`.
pub(crate) fn deb(arguments: &[&str]) -> Result<ExitCode> {
    make(arguments, Form::Deb)
}

/// `cargo xtask tarball [--version VERSION] [--output DIRECTORY]`.
pub(crate) fn tarball(arguments: &[&str]) -> Result<ExitCode> {
    make(arguments, Form::Tarball)
}

fn make(arguments: &[&str], form: Form) -> Result<ExitCode> {
    let package = Package::of(arguments)?;
    fs::create_dir_all(&package.output)
        .with_context(|| format!("cannot create {}", package.output.display()))?;
    let file = match form {
        Form::Deb => deb::build(&package)?,
        Form::Tarball => tarball::build(&package)?,
    };
    println!("{}", file.display());
    Ok(ExitCode::SUCCESS)
}

impl Package {
    fn of(arguments: &[&str]) -> Result<Self> {
        let mut package = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            output: command::root().join(OUTPUT),
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds_of_the_source()?),
        };
        for option in arguments.chunks(2) {
            match option {
                ["--version", version] => package.version = (*version).to_owned(),
                ["--output", folder] => package.output = std::path::absolute(folder)?,
                other => bail!("{}: --version VERSION and --output DIRECTORY are known", other.join(" ")),
            }
        }
        Ok(package)
    }

    /// Seconds since 1970 of every file.
    fn seconds(&self) -> Result<u64> {
        Ok(self.time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
    }

    /// An empty folder to put a package together in.
    fn new_stage(&self, name: &str) -> Result<PathBuf> {
        let stage = self.output.join("stage").join(name);
        if stage.exists() {
            fs::remove_dir_all(&stage).with_context(|| format!("cannot empty {}", stage.display()))?;
        }
        files::make_folder(&stage)?;
        Ok(stage)
    }

    /// Gives every file and folder below one the time of the source.
    fn set_times(&self, folder: &Path) -> Result<()> {
        for path in files::below(folder)? {
            if path.is_dir() {
                self.set_times(&path)?;
            } else {
                files::set_time(&path, self.time)?;
            }
        }
        files::set_time(folder, self.time)
    }
}

/// When what is packed was written: as the caller says, or the last commit, or else the last entry of the change log.
fn seconds_of_the_source() -> Result<u64> {
    if let Some(given) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let text = given.to_string_lossy();
        return text.parse().with_context(|| format!("SOURCE_DATE_EPOCH={text} is no number of seconds"));
    }
    // Git refuses a folder of somebody else's, and a source that was unpacked has none.
    let log = command::program("git").args(["log", "-1", "--format=%ct"]).output();
    if let Ok(seconds) =
        String::from_utf8_lossy(&log.map(|log| log.stdout).unwrap_or_default()).trim().parse()
    {
        return Ok(seconds);
    }
    let written = fs::metadata(command::root().join("CHANGELOG.md"))?.modified()?;
    Ok(written.duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
}
