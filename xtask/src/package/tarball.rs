//! The tarball: the tree with two scripts that install and remove it.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{
    Package,
    files::{EXECUTABLE, PLAIN, copy},
    tree,
};
use crate::command;

const SCRIPTS: [&str; 2] = ["install.sh", "uninstall.sh"];
const DOCUMENTS: [&str; 3] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Builds `faultd-VERSION-ARCHITECTURE.tar.gz`.
pub(super) fn build(package: &Package) -> Result<PathBuf> {
    let root = command::root();
    let name = format!("faultd-{}-{}", package.version, std::env::consts::ARCH);
    let folder = package.new_stage(&name)?;
    tree::fill(&folder, &package.new_stage("documents")?)?;
    for script in SCRIPTS {
        copy(&root.join("dist/tarball").join(script), &folder.join(script), EXECUTABLE)?;
    }
    for document in DOCUMENTS {
        copy(&root.join(document), &folder.join(document), PLAIN)?;
    }
    package.set_times(&folder)?;
    let file = package.output.join(format!("{name}.tar.gz"));
    let mut tar = command::program("tar");
    tar.args(["--create", "--sort=name", "--format=gnu", "--owner=root:0", "--group=root:0"]);
    tar.args(["--use-compress-program=gzip --no-name", "--file"]).arg(&file);
    tar.arg("--directory").arg(folder.parent().context("a stage has a folder around it")?).arg(name);
    command::run(&mut tar)?;
    Ok(file)
}
