//! The Debian package in a system of its own: installed, upgraded, removed, purged. The system is a folder with dpkg's
//! database, in which the maintainer scripts act too (`DPKG_ROOT`).

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Scratch, deb, everything_below, have, output_of, package, program};

/// What the package depends on, as if it were installed.
const INSTALLED: [(&str, &str); 4] = [
    ("libc6", "2.36-9"),
    ("libgcc-s1", "12.2.0-14"),
    ("init-system-helpers", "1.65.2"),
    ("systemd", "252.38-1"),
];
const PROGRAMS: [&str; 3] = ["dpkg", "deb-systemd-helper", "systemd-sysusers"];

struct System(Scratch);

impl System {
    fn new() -> Self {
        let scratch = Scratch::new();
        for folder in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "etc", "usr", "var/lib", "var/cache"] {
            fs::create_dir_all(scratch.0.join(folder)).expect("a folder");
        }
        let architecture = output_of(&mut program("dpkg --print-architecture"));
        let status: String = INSTALLED
            .iter()
            .map(|(name, version)| {
                format!(
                    "Package: {name}\nStatus: install ok installed\nMaintainer: x <x@x>\nArchitecture: {}\n\
                     Multi-Arch: foreign\nVersion: {version}\nDescription: x\n\n",
                    architecture.trim()
                )
            })
            .collect();
        fs::write(scratch.0.join("var/lib/dpkg/status"), status).expect("dpkg's database");
        Self(scratch)
    }

    fn dpkg(&self, words: &str) -> Command {
        let root = self.0.0.display();
        let path = format!("/usr/sbin:/sbin:{}", std::env::var("PATH").unwrap_or_default());
        let mut command = program(&format!(
            "dpkg --root={root} --force-not-root --force-script-chrootless --log={root}/var/lib/dpkg/log {words}"
        ));
        // A question would be answered by nobody.
        command.env("PATH", path).env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
        command
    }

    fn install(&self, package: &Path) {
        output_of(self.dpkg("--install").arg(package));
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.0.0.join(file)
    }

    fn status(&self) -> String {
        let mut query = program(&format!("dpkg-query --admindir={}", self.path("var/lib/dpkg").display()));
        query.args(["--show", "--showformat=${db:Status-Abbrev}${Version}", "faultd"]);
        let output = query.output().expect("dpkg-query");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn is_enabled(&self) -> bool {
        let is_there = |file: &str| self.path("etc/systemd/system").join(file).symlink_metadata().is_ok();
        let is_masked = is_there("faultd.service");
        is_there("multi-user.target.wants/faultd.service") && !is_masked
    }

    /// What is there apart from dpkg's own, and from the group, which stays.
    fn contents(&self) -> Vec<String> {
        let is_of_dpkg = |file: &String| file.starts_with("var/lib/dpkg") || file.starts_with("etc/g");
        let mut contents = everything_below(&self.0.0);
        contents.retain(|file| !is_of_dpkg(file));
        contents
    }
}

#[test]
fn the_package_installs_upgrades_and_goes_without_a_trace() {
    if !have("the_package_installs_upgrades_and_goes_without_a_trace", &PROGRAMS) {
        return;
    }
    let system = System::new();
    let before = system.contents();
    system.install(deb());
    assert_eq!(system.status(), "ii 0.1.0");
    assert!(system.is_enabled(), "{:?}", system.contents());
    let groups = fs::read_to_string(system.path("etc/group")).expect("groups");
    assert!(groups.lines().any(|line| line.starts_with("faultd:")), "{groups}");

    // What the administrator has changed stays, and so does what faultd has written.
    let policy = system.path("etc/faultd/policy.toml");
    fs::write(&policy, "[faults]\nmost_targets = 1\n").expect("a policy");
    for folder in ["var/lib/faultd/labs", "var/cache/faultd"] {
        fs::create_dir_all(system.path(folder)).expect("a folder");
        fs::write(system.path(folder).join("kept"), "x").expect("a file");
    }
    output_of(
        Command::new("deb-systemd-helper")
            .args(["disable", "faultd.service"])
            .env("DPKG_ROOT", &system.0.0)
            .env("_DEB_SYSTEMD_HELPER_PURGE", "0")
            .env("DPKG_MAINTSCRIPT_PACKAGE", "faultd"),
    );
    let was_enabled = system.is_enabled();
    let newer = Scratch::new();
    system.install(&package("deb", "99.0", &newer.0));
    assert_eq!(system.status(), "ii 99.0");
    assert_eq!(system.is_enabled(), was_enabled, "an upgrade does not enable it again");
    assert_eq!(fs::read_to_string(&policy).expect("a policy"), "[faults]\nmost_targets = 1\n");

    output_of(&mut system.dpkg("--remove faultd"));
    assert!(!system.path("usr/sbin/faultd").exists());
    assert!(policy.exists() && system.path("var/lib/faultd/labs/kept").exists(), "a removal is no purge");
    fs::write(system.path("etc/faultd/mine.txt"), "of somebody else").expect("a file");

    output_of(&mut system.dpkg("--purge faultd"));
    assert!(system.path("etc/faultd/mine.txt").exists() && !policy.exists());
    fs::remove_dir_all(system.path("etc/faultd")).expect("what somebody else has put there");
    let left: Vec<String> = system.contents().into_iter().filter(|file| !before.contains(file)).collect();
    // The folders of the system and of its service manager are there on any other one.
    let of_the_system = ["etc/systemd", "var/lib/systemd", "etc/.pwd.lock"];
    let left: Vec<&String> = left
        .iter()
        .filter(|file| !of_the_system.iter().any(|known| file.starts_with(known)) || file.contains("faultd"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_installation_that_was_purged_can_be_installed_again_and_a_removal_can_be_taken_back() {
    if !have(
        "an_installation_that_was_purged_can_be_installed_again_and_a_removal_can_be_taken_back",
        &PROGRAMS,
    ) {
        return;
    }
    let system = System::new();
    for goodbye in ["--remove faultd", "--purge faultd", "--purge faultd"] {
        system.install(deb());
        assert_eq!((system.status().as_str(), system.is_enabled()), ("ii 0.1.0", true), "before {goodbye}");
        output_of(&mut system.dpkg(goodbye));
    }
}
