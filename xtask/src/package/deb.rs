//! The Debian package: the tree, and what dpkg has to know about it. Made by dpkg-deb alone, which every Debian has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{
    Package,
    files::{EXECUTABLE, PLAIN, all_below, compress, copy, write},
    libraries, tree,
};
use crate::command;

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
const MAINTAINER: &str = "The faultd authors <faultd@localhost>";
/// What no library says: who makes the group, and who knows whether the service is wanted.
const ALSO_NEEDED: [&str; 2] = ["init-system-helpers (>= 1.54~)", "systemd | systemd-standalone-sysusers"];
const DESCRIPTION: &str = "\
Description: makes containers and other hosts slow or lossy, on purpose
 faultd delays, drops, duplicates, reorders or limits packets of containers,
 network namespaces and interfaces, and pauses or throttles their processes:
 exactly as asked, no longer than asked, and while a workload runs whose
 throughput and latency it measures. faultctl is its command line.
";

/// Builds `faultd_VERSION_ARCHITECTURE.deb`.
pub(super) fn build(package: &Package) -> Result<PathBuf> {
    let architecture = architecture()?;
    let stage = package.new_stage("deb")?;
    tree::fill(&stage, &package.new_stage("documents")?)?;
    documentation(package, &stage.join("usr/share/doc/faultd"))?;
    control(package, &stage, architecture)?;
    package.set_times(&stage)?;
    let file = package.output.join(format!("faultd_{}_{architecture}.deb", package.version));
    let mut build = dpkg_deb(package)?;
    command::run(build.args(["--root-owner-group", "--build"]).arg(&stage).arg(&file))?;
    Ok(file)
}

fn dpkg_deb(package: &Package) -> Result<Command> {
    let mut command = command::program("dpkg-deb");
    command.env("SOURCE_DATE_EPOCH", package.seconds()?.to_string());
    // It says on stdout what it builds; that is where we say it.
    command.stdout(std::process::Stdio::null());
    Ok(command)
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("which Debian architecture is {other}?"),
    }
}

fn documentation(package: &Package, folder: &Path) -> Result<()> {
    copy(&command::root().join("dist/debian/copyright"), &folder.join("copyright"), PLAIN)?;
    let seconds = format!("--date=@{}", package.seconds()?);
    let date =
        command::output_of(command::program("date").env("LC_ALL", "C").args(["--utc", "-R", &seconds]))?;
    let version = &package.version;
    let entry = format!(
        "faultd ({version}) unstable; urgency=medium\n\n  * What has changed is in CHANGELOG.md.\n\n -- {MAINTAINER}  {}\n",
        date.trim()
    );
    let changelog = folder.join("changelog");
    write(&changelog, &entry, PLAIN)?;
    compress(&changelog)
}

fn control(package: &Package, stage: &Path, architecture: &str) -> Result<()> {
    let mut depends = libraries::packages(&tree::programs(stage))?;
    depends.extend(ALSO_NEEDED.map(str::to_owned));
    let sizes = sums(stage)?;
    let control = format!(
        "Package: faultd\nVersion: {}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\nInstalled-Size: {}\n\
         Depends: {}\nRecommends: dbus, polkitd | policykit-1\nSuggests: docker.io | podman, etcd-server, prometheus\n\
         Section: admin\nPriority: optional\n{DESCRIPTION}",
        package.version,
        sizes.kilobytes,
        depends.join(", "),
    );
    let folder = stage.join("DEBIAN");
    for script in SCRIPTS {
        copy(&command::root().join("dist/debian").join(script), &folder.join(script), EXECUTABLE)?;
    }
    write(&folder.join("control"), &control, PLAIN)?;
    write(&folder.join("md5sums"), &sizes.md5, PLAIN)?;
    let configuration: String = sizes.configuration.iter().map(|file| format!("/{file}\n")).collect();
    write(&folder.join("conffiles"), &configuration, PLAIN)
}

/// What is told of files: how large, which bytes, and which of them belong to the administrator.
struct Sums {
    kilobytes: u64,
    md5: String,
    configuration: Vec<String>,
}

fn sums(stage: &Path) -> Result<Sums> {
    let mut names = Vec::new();
    let mut kilobytes = 0;
    for file in all_below(stage)? {
        kilobytes += fs::metadata(&file)?.len().div_ceil(1024);
        names.push(file.strip_prefix(stage)?.to_str().context("a name that is no UTF-8")?.to_owned());
    }
    let is_configuration = |name: &String| name.starts_with("etc/");
    let (configuration, others): (Vec<_>, Vec<_>) = names.into_iter().partition(is_configuration);
    let md5 = command::output_of(command::program("md5sum").current_dir(stage).arg("--").args(&others))?;
    Ok(Sums { kilobytes, md5, configuration })
}
