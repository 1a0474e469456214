//! Podman, through the socket that is compatible with Docker's.
//!
//! Its own networks would change the firewall of this machine, and leave that so. Its container gets a namespace of
//! ours instead, with a veth to the host as an engine would have made it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use faultd_testkit::{
    command::{Answer, Running, run, wait_until},
    daemon_under_test::DaemonUnderTest,
    skip,
};
use rustix::process::Signal;

use crate::{
    engine::{CLEARLY_FASTER, FAULTD, PATIENCE, Ping, fault, faults_are_gone, is_installed},
    networks::VethToHost,
};

const NAME: &str = "faults_on_containers_of_podman_follow_them_too";
/// Podman asks for more than a machine may allow.
const LIMITS: &str = "--ulimit nofile=1000:1000 --ulimit nproc=1000:1000";

/// An engine with everything in a folder of its own, gone when it is dropped.
struct Podman {
    folder: PathBuf,
    service: Option<Running>,
}

impl Podman {
    /// Starts its service; nothing, and a counted skip, where podman does not run.
    fn start() -> Option<Self> {
        if let Some(missing) =
            ["podman", "busybox", "runc"].into_iter().find(|program| !is_installed(program))
        {
            skip(NAME, &format!("optional: there is no program {missing}"));
            return None;
        }
        let folder = std::env::temp_dir().join(format!("faultd-test-{}-podman", std::process::id()));
        make_image(&folder.join("image"));
        let mut podman = Self { folder, service: None };
        let imported = podman.podman("import --change CMD=/bin/sleep image.tar faultd-test:podman");
        imported.succeeded();
        let socket = podman.host();
        podman.service = Some(Running::start(podman.command(&format!("system service --time 0 {socket}"))));
        Some(podman)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new("podman");
        command.current_dir(&self.folder);
        for (flag, folder) in [("--root", "root"), ("--runroot", "runroot"), ("--tmpdir", "tmp")] {
            command.arg(flag).arg(self.folder.join(folder));
        }
        command.args(["--runtime", "runc", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command.args(words.split_whitespace());
        command
    }

    fn podman(&self, words: &str) -> Answer {
        run(self.command(words), PATIENCE)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let removed = self.podman("rm --all --force --time 0");
        if let Some(mut service) = self.service.take() {
            service.signal(Signal::TERM);
            service.wait(PATIENCE);
        }
        remove_groups();
        let gone = fs::remove_dir_all(&self.folder);
        if !std::thread::panicking() {
            removed.succeeded();
            assert!(gone.is_ok(), "podman left {} behind: {gone:?}", self.folder.display());
        }
    }
}

/// The control groups above those of the containers stay.
fn remove_groups() {
    let mut find = Command::new("find");
    find.args(["/sys/fs/cgroup", "-depth", "-type", "d", "-path", &format!("*/{}*", parent())]);
    find.args(["-exec", "rmdir", "{}", "+"]);
    run(find, PATIENCE);
}

/// The control group of its containers.
fn parent() -> String {
    format!("faultd-test-{}-podman", std::process::id())
}

fn make_image(files: &Path) {
    fs::create_dir_all(files.join("bin")).expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let busybox =
        std::env::split_paths(&path).map(|folder| folder.join("busybox")).find(|file| file.exists());
    fs::copy(busybox.expect("busybox"), files.join("bin/sleep")).expect("a copy of busybox");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--file", "image.tar", "--directory", "image", "."]);
    tar.current_dir(files.parent().expect("a folder"));
    run(tar, PATIENCE).succeeded();
}

#[test]
fn faults_on_containers_of_podman_follow_them_too() {
    let Some(podman) = Podman::start() else { return };
    let wire = VethToHost::create();
    let network = format!("ns:/run/netns/{}", wire.target.named.name);
    let started = podman.podman(&format!(
        "run --detach --name slow {LIMITS} --network {network} faultd-test:podman sleep 600"
    ));
    if started.code != Some(0) {
        skip(NAME, &format!("optional: podman starts no container here: {}", started.stderr.trim()));
        return;
    }
    let daemon = DaemonUnderTest::start_with(FAULTD, &[("DOCKER_HOST", &podman.host())], &[]);
    let listed = daemon.faultctl("-o json target ls").json()["targets"].take();
    let target = listed.as_array().expect("targets").iter().find(|target| target["name"] == "slow");
    let target = target.unwrap_or_else(|| panic!("no container in {listed}"));
    assert_eq!((&target["kind"], &target["problem"]), (&"podman".into(), &serde_json::Value::Null));

    let address = wire.target.host.address.to_string();
    let median = || Ping::of(&address, 5).median();
    assert!(median() < CLEARLY_FASTER);
    daemon.faultctl("fault add slow --delay 100ms --detach").succeeded();
    assert!(median() >= 100.0);
    assert_eq!(fault(&daemon)["interface"], wire.host.outside.name.as_str());

    // While it is stopped the namespace, which is ours, is nobody's under a fault.
    podman.podman("stop --time 0 slow").succeeded();
    assert!(wait_until(PATIENCE, || fault(&daemon)["state"] == "away"), "{}", fault(&daemon));
    assert!(median() < CLEARLY_FASTER);
    podman.podman("start slow").succeeded();
    assert!(wait_until(PATIENCE, || fault(&daemon)["follows"] == 1), "{}", fault(&daemon));
    assert!(median() >= 100.0);
    daemon.faultctl("fault clear").succeeded();
    assert!(faults_are_gone(&daemon) && median() < CLEARLY_FASTER);
}
