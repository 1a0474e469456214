//! The unit: what systemd says of it.

use std::fs;
use std::path::Path;

use super::{Scratch, have, output_of, program, shipped};

/// Tenths of systemd's exposure level, at most. Mounts of its own would make it much less, and labs impossible: see the
/// end of the unit.
const MOST_EXPOSED: u32 = 57;

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if !have("systemd_finds_nothing_wrong_with_the_unit", &["systemd-analyze"]) {
        return;
    }
    // What is not installed here is no fault of the unit: a program and manual pages of that name.
    let scratch = Scratch::new();
    let unit = fs::read_to_string(shipped("faultd.service")).expect("the unit");
    let here = unit.replace("/usr/sbin/faultd", "/bin/true");
    let here: Vec<&str> = here.lines().filter(|line| !line.starts_with("Documentation=")).collect();
    let file = scratch.0.join("faultd.service");
    fs::write(&file, here.join("\n")).expect("a unit");
    let said = output_of(program("systemd-analyze verify").arg(&file));
    // Units of this machine are looked at as well.
    let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("faultd")).collect();
    assert!(about_ours.is_empty(), "{said}");
}

#[test]
fn the_unit_is_as_little_exposed_as_its_work_allows() {
    if !have("the_unit_is_as_little_exposed_as_its_work_allows", &["systemd-analyze"]) {
        return;
    }
    let level = format!("systemd-analyze security --offline=yes --no-pager --threshold={MOST_EXPOSED}");
    output_of(program(&level).arg(shipped("faultd.service")));
}

/// Each of these gives a service mounts of its own, so that `ip netns` outside would not see the namespaces of labs.
#[test]
fn nothing_in_the_unit_hides_its_mounts_from_the_host() {
    let unit = fs::read_to_string(shipped("faultd.service")).expect("the unit");
    let set = unit.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let keys: Vec<&str> = set.map(|(key, _)| key).collect();
    for key in [
        "PrivateTmp",
        "PrivateDevices",
        "PrivateMounts",
        "PrivateIPC",
        "PrivateNetwork",
        "PrivateUsers",
        "ProtectSystem",
        "ProtectHome",
        "ProtectKernelTunables",
        "ProtectKernelModules",
        "ProtectKernelLogs",
        "ProtectControlGroups",
        "ProtectProc",
        "ProcSubset",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "InaccessiblePaths",
        "NoExecPaths",
        "BindPaths",
        "BindReadOnlyPaths",
        "TemporaryFileSystem",
        "RootDirectory",
        "RootImage",
        "MountFlags",
        "DynamicUser",
        "MemoryDenyWriteExecute",
    ] {
        assert!(!keys.contains(&key), "{key}");
    }
    assert!(unit.contains("\nKillMode=process\n"), "labs go on");
}

#[test]
fn the_group_is_one_that_systemd_makes() {
    if !have("the_group_is_one_that_systemd_makes", &["systemd-sysusers"]) {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.0.join("etc")).expect("a folder");
    let root = format!("systemd-sysusers --root={}", scratch.0.display());
    output_of(program(&root).arg(shipped("faultd.sysusers")));
    let groups = fs::read_to_string(scratch.0.join(Path::new("etc/group"))).expect("groups");
    assert!(groups.starts_with("faultd:"), "{groups}");
}
