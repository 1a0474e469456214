//! The files of a package, where a Linux system wants them. Which file goes where is here and nowhere else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::files::{EXECUTABLE, PLAIN, below, compress, copy, copy_folder, make_folder};
use crate::command;

/// The programs, and where they go.
const PROGRAMS: [(&str, &str); 2] = [("faultd", "usr/sbin/faultd"), ("faultctl", "usr/bin/faultctl")];

/// Files of the repository.
const FILES: [(&str, &str); 8] = [
    ("dist/faultd.service", "usr/lib/systemd/system/faultd.service"),
    ("dist/faultd.sysusers", "usr/lib/sysusers.d/faultd.conf"),
    ("dist/org.faultd.Engine1.conf", "usr/share/dbus-1/system.d/org.faultd.Engine1.conf"),
    ("dist/org.faultd.Engine1.service", "usr/share/dbus-1/system-services/org.faultd.Engine1.service"),
    ("dist/org.faultd.Engine1.policy", "usr/share/polkit-1/actions/org.faultd.Engine1.policy"),
    ("dist/policy.toml", "etc/faultd/policy.toml"),
    ("README.md", "usr/share/doc/faultd/README.md"),
    ("CHANGELOG.md", "usr/share/doc/faultd/CHANGELOG.md"),
];

/// Folders of the repository.
const FOLDERS: [(&str, &str); 6] = [
    ("target/plugins", "usr/lib/faultd/plugins"),
    ("daemon/faultd-api/interfaces", "usr/share/dbus-1/interfaces"),
    ("grafana", "usr/share/faultd/grafana"),
    ("workloads", "usr/share/faultd/workloads"),
    ("docs", "usr/share/doc/faultd/docs"),
    ("dist/kubernetes", "usr/share/doc/faultd/examples/kubernetes"),
];

/// Files that `faultctl documents` writes beside manual pages, each for a shell.
const COMPLETIONS: [(&str, &str); 3] = [
    ("completions/faultctl.bash", "usr/share/bash-completion/completions/faultctl"),
    ("completions/_faultctl", "usr/share/zsh/vendor-completions/_faultctl"),
    ("completions/faultctl.fish", "usr/share/fish/vendor_completions.d/faultctl.fish"),
];

/// Puts everything into `tree`; `scratch` is for what is made on the way.
pub(super) fn fill(tree: &Path, scratch: &Path) -> Result<()> {
    let root = command::root();
    for (name, to) in PROGRAMS {
        let to = tree.join(to);
        copy(&built(name)?, &to, EXECUTABLE)?;
        strip(&to)?;
    }
    for (from, to) in FILES {
        copy(&root.join(from), &tree.join(to), PLAIN)?;
    }
    let plugins = root.join("target/plugins");
    ensure!(plugins.is_dir(), "{} is missing: `make build` makes it", plugins.display());
    for (from, to) in FOLDERS {
        copy_folder(&root.join(from), &tree.join(to))?;
    }
    documents(tree, scratch)
}

/// The programs that a tree holds.
pub(super) fn programs(tree: &Path) -> Vec<PathBuf> {
    PROGRAMS.iter().map(|(_, to)| tree.join(to)).collect()
}

/// A program that cargo has built.
fn built(name: &str) -> Result<PathBuf> {
    let path = command::root().join("target/release").join(name);
    ensure!(path.is_file(), "{} is missing: `make build` makes it", path.display());
    Ok(path)
}

/// Lines of the source make up most of a program; who wants them builds it.
fn strip(program: &Path) -> Result<()> {
    command::run(command::program("strip").args(["--strip-debug", "--remove-section=.comment"]).arg(program))
}

/// What the programs say about themselves: manual pages, and completions for shells.
fn documents(tree: &Path, scratch: &Path) -> Result<()> {
    make_folder(scratch)?;
    let manuals = scratch.join("man");
    command::run(command::program(built("faultd")?).arg("--write-manual").arg(&manuals))?;
    command::output_of(command::program(built("faultctl")?).args(["documents", "--write"]).arg(scratch))
        .context("this faultctl does not write its manual pages: build it anew")?;
    for page in below(&manuals)? {
        let section =
            page.extension().context("a manual page without a section")?.to_string_lossy().into_owned();
        let name = page.file_name().unwrap_or_default();
        let to = tree.join(format!("usr/share/man/man{section}")).join(name);
        copy(&page, &to, PLAIN)?;
        compress(&to)?;
    }
    for (from, to) in COMPLETIONS {
        copy(&scratch.join(from), &tree.join(to), PLAIN)?;
    }
    Ok(())
}
