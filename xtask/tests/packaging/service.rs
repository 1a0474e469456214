//! The service under a real systemd: one that is started in namespaces of its own, on this machine's files with the
//! package over them. What is asked of it is in check.sh.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use faultd_testkit::{
    command::{Running, wait_until},
    skip,
};

use super::{Scratch, deb, have, output_of, program, repository};

const NAME: &str = "the_service_does_all_its_work_under_systemd";
const PROGRAMS: [&str; 9] =
    ["unshare", "journalctl", "systemctl", "dbus-daemon", "busctl", "etcd", "jq", "ip", "setpriv"];
const BOOTS_WITHIN: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(240);

/// The watchdog of the unit, shortened to what a test can wait for.
const DROP_IN: &str = "[Service]\nWatchdogSec=5s\n";
const TARGET: &str =
    "[Unit]\nWants=dbus.service faultd.service systemd-journald.service faultd-check.service\n";
/// Runs when the service has started, or could not.
const CHECK: &str = "[Unit]\nAfter=dbus.service faultd.service\n[Service]\nType=oneshot\n\
     ExecStart=/bin/sh -c '/srv/check.sh >/srv/check.log 2>&1; echo $? >/srv/result'\n";

/// A control group for everything that this systemd makes, removed with all groups in it.
struct Group(PathBuf);

impl Group {
    fn make() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let point = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let point = words.next()?;
            (words.next()? == "cgroup2").then(|| point.to_owned())
        })?;
        let path = Path::new(&point).join(format!("faultd-packaging-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    fn remove(path: &Path) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                Self::remove(&entry.path());
            }
        }
        // Processes that were killed leave it a moment later.
        wait_until(Duration::from_secs(5), || fs::remove_dir(path).is_ok() || !path.exists());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        Self::remove(&self.0);
    }
}

fn prepare(folder: &Path) {
    output_of(program("dpkg-deb --extract").arg(deb()).arg(folder.join("package")));
    let sources = repository().join("xtask/tests/packaging");
    for script in ["boot.sh", "check.sh"] {
        fs::copy(sources.join(script), folder.join(script)).expect("a script");
    }
    let units = folder.join("units");
    fs::create_dir_all(units.join("faultd.service.d")).expect("a folder");
    fs::write(units.join("faultd.service.d/test.conf"), DROP_IN).expect("a unit");
    fs::write(units.join("faultd-test.target"), TARGET).expect("a unit");
    fs::write(units.join("faultd-check.service"), CHECK).expect("a unit");
}

/// Starts it in its control group, so that it does not find itself in another one's.
fn boot(folder: &Path, group: &Group) -> Running {
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(&group.0).arg("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--cgroup",
        "--uts",
        "--ipc",
        "--net",
        "--",
        "bash",
    ]);
    command.arg(folder.join("boot.sh")).arg(folder);
    Running::start(command)
}

#[test]
fn the_service_does_all_its_work_under_systemd() {
    if !have(NAME, &PROGRAMS) {
        return;
    }
    if !Path::new("/lib/systemd/systemd").exists() {
        return skip(NAME, "there is no /lib/systemd/systemd");
    }
    let Some(group) = Group::make() else { return skip(&format!("optional: {NAME}"), "there is no cgroup2") };
    let scratch = Scratch::new();
    prepare(&scratch.0);
    let read = |file: &str| fs::read_to_string(scratch.0.join(file)).unwrap_or_default();
    let is_there = |file: &str| scratch.0.join(file).exists();
    let mut systemd = boot(&scratch.0, &group);
    let boots = wait_until(BOOTS_WITHIN, || is_there("check.log") || systemd.has_ended());
    if !boots || systemd.has_ended() {
        let why =
            format!("systemd does not run in a namespace here: {} {}", systemd.stderr(), read("systemd.log"));
        return skip(&format!("optional: {NAME}"), &why.replace('\n', " "));
    }
    let ended = wait_until(PATIENCE, || is_there("result") && !read("result").is_empty());
    // The whole namespace ends with its first process, and that with its parent.
    drop(systemd);
    assert!(ended && read("result").trim() == "0", "{}\nsystemd: {}", read("check.log"), read("systemd.log"));
}
