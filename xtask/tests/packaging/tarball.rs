//! The tarball: unpacked, installed below a folder, with and without another prefix, and removed again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Scratch, everything_below, output_of, package, program};

/// Unpacks the tarball; answers the folder that is in it.
fn unpacked(scratch: &Path) -> PathBuf {
    let file = package("tarball", "0.1.0", scratch);
    output_of(program("tar --extract --gzip --file").arg(&file).current_dir(scratch));
    let folder = scratch.join(format!("faultd-0.1.0-{}", std::env::consts::ARCH));
    assert!(folder.is_dir(), "{:?}", everything_below(scratch));
    folder
}

fn script(folder: &Path, name: &str, prefix: &str, root: &Path) -> Command {
    let mut command = Command::new(folder.join(name));
    command.env("PREFIX", prefix).env("DESTDIR", root);
    command
}

#[test]
fn the_tarball_installs_below_any_prefix_and_goes_without_a_trace() {
    let scratch = Scratch::new();
    let folder = unpacked(&scratch.0);
    for prefix in ["/usr", "/usr/local", "/opt/faultd"] {
        let root = Scratch::new();
        fs::create_dir_all(root.0.join("etc")).expect("a folder");
        let before = everything_below(&root.0);
        // A mode that the umask would forbid.
        let install = script(&folder, "install.sh", prefix, &root.0);
        let mut with_umask = Command::new("sh");
        with_umask.args(["-c", "umask 077; exec \"$0\""]).arg(install.get_program());
        with_umask.envs(install.get_envs().filter_map(|(name, value)| Some((name, value?))));
        output_of(&mut with_umask);

        let at = |file: &str| root.0.join(prefix.trim_start_matches('/')).join(file);
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!((mode(&at("sbin/faultd")), mode(&at("bin/faultctl"))), (0o755, 0o755));
        assert_eq!(mode(&at("lib/faultd/plugins/etcd-kv.wasm")), 0o644);
        assert_eq!(mode(&at("lib/faultd/plugins")), 0o755, "a folder that others can enter");
        let unit = fs::read_to_string(at("lib/systemd/system/faultd.service")).expect("a unit");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
        match prefix {
            "/usr" => assert_eq!(start, "/usr/sbin/faultd"),
            other => assert_eq!(start, format!("{other}/sbin/faultd --plugins {other}/lib/faultd/plugins")),
        }
        assert!(unit.contains(&format!("ExecStopPost=-{prefix}/sbin/faultd --cleanup=faults")), "{unit}");
        let bus = if prefix == "/usr" { "usr/share/dbus-1/system.d" } else { "etc/dbus-1/system.d" };
        assert!(root.0.join(bus).join("org.faultd.Engine1.conf").exists());
        assert!(root.0.join("usr/share/polkit-1/actions/org.faultd.Engine1.policy").exists());

        // What the administrator has changed stays, also when it is installed again.
        let policy = root.0.join("etc/faultd/policy.toml");
        fs::write(&policy, "[faults]\n").expect("a policy");
        output_of(&mut script(&folder, "install.sh", prefix, &root.0));
        assert_eq!(fs::read_to_string(&policy).expect("a policy"), "[faults]\n");

        let uninstall = at("share/faultd/uninstall.sh");
        output_of(&mut script(uninstall.parent().expect("a folder"), "uninstall.sh", prefix, &root.0));
        assert!(policy.exists(), "without --purge it stays");
        output_of(&mut script(&folder, "install.sh", prefix, &root.0));
        output_of(script(&folder, "uninstall.sh", prefix, &root.0).arg("--purge"));
        let mut left = everything_below(&root.0);
        left.retain(|file| !before.contains(file));
        assert_eq!(left, Vec::<String>::new(), "with {prefix}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is() {
    let scratch = Scratch::new();
    let folder = unpacked(&scratch.0);
    let root = Scratch::new();
    let refused = |name: &str, prefix: &str| {
        let output = script(&folder, name, prefix, &root.0).output().expect("a script");
        assert!(!output.status.success(), "{name}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused("install.sh", "relative").contains("PREFIX is a path from the root"));
    assert!(refused("uninstall.sh", "/usr").contains("nothing was installed"));
    assert_eq!(everything_below(&root.0), Vec::<String>::new());
}
