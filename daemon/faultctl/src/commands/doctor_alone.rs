//! `faultctl doctor` where no daemon answers: what can be found without one, and how to start one.

use std::{
    fs, io,
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::Path,
};

use faultd_api::doctor::Problem;
use schemars::JsonSchema;
use serde::Serialize;

use super::doctor::problems_text;
use crate::{command_error::CommandError, connection::BusAddress, output::Format};

/// How a daemon is started.
const START: &str =
    "start it: 'sudo systemctl start faultd' where the package is installed, else 'sudo faultd'";
/// The bit of a mode that lets a group connect to a socket.
const GROUP_MAY: u32 = 0o020;

/// What is found without a daemon.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LonelyReport {
    /// Where a daemon was looked for.
    address: String,
    /// What is wrong, with what to do.
    problems: Vec<Problem>,
}

/// What was found, before anything is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Socket {
    /// It is the system bus that was asked.
    SystemBus,
    Missing,
    /// Nobody listens there any more.
    Dead,
    /// This user may not connect; the group that may, by name, where there is one.
    Closed {
        group: Option<String>,
    },
    /// Somebody listens, who is no faultd.
    Strange,
}

pub(super) fn report(bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let (address, socket) = match bus {
        BusAddress::System => ("system".to_owned(), Socket::SystemBus),
        BusAddress::Socket(path) => (path.display().to_string(), look_at(path)),
        // There is nothing to be found from here.
        BusAddress::Remote(_) => return Ok(()),
    };
    let mut problems = vec![of_socket(&address, &socket)];
    problems.extend(of_host(Path::new("/")));
    let report = LonelyReport { address, problems };
    output.one("doctor-alone", &report, |report| problems_text(&report.problems))
}

fn look_at(path: &Path) -> Socket {
    match UnixStream::connect(path) {
        Ok(_) => Socket::Strange,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Socket::Missing,
            io::ErrorKind::PermissionDenied => Socket::Closed { group: group_that_may(path) },
            _ => Socket::Dead,
        },
    }
}

fn group_that_may(path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    (found.mode() & GROUP_MAY != 0 && found.gid() != 0).then(|| group_name(&groups, found.gid()))
}

/// The name of a group in the text of /etc/group, else its number.
fn group_name(groups: &str, number: u32) -> String {
    let mut lines = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let number = number.to_string();
    let found = lines.find(|fields| fields.get(2) == Some(&number.as_str()));
    found.and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or(number)
}

fn of_socket(address: &str, socket: &Socket) -> Problem {
    let named = "or name the socket of one that runs with --bus unix:path=SOCKET";
    match socket {
        Socket::SystemBus => Problem::error(
            "no faultd is on the system bus",
            format!("{START}; or use its private socket: leave --bus out"),
        ),
        Socket::Missing => Problem::error(
            format!("no faultd runs: there is no socket {address}"),
            format!("{START}; {named}"),
        ),
        Socket::Dead => Problem::error(
            format!("no faultd runs: nobody listens at {address} any more"),
            format!("{START}; 'journalctl -u faultd' says how the last one ended"),
        ),
        Socket::Closed { group: Some(group) } => Problem::error(
            format!("you may not connect to {address}: its group {group} may"),
            format!("call faultctl with sudo, or 'sudo usermod -aG {group} $USER' and log in anew"),
        ),
        Socket::Closed { group: None } => Problem::error(
            format!("you may not connect to {address}: root alone may"),
            "call faultctl with sudo, or name your user or group in [access] of /etc/faultd/policy.toml and restart faultd",
        ),
        Socket::Strange => Problem::error(
            format!("who listens at {address} is no faultd, or hangs"),
            "see who it is: 'ss -xlp'; restart it if it is faultd: 'sudo systemctl restart faultd'",
        ),
    }
}

/// What a daemon would miss, below a root directory.
fn of_host(root: &Path) -> Vec<Problem> {
    let wanted = [
        (
            "sys/fs/cgroup/cgroup.controllers",
            "control groups of version 2 are not mounted, and processes cannot be paused",
            "boot with systemd.unified_cgroup_hierarchy=1, or 'sudo mount -t cgroup2 none /sys/fs/cgroup'",
        ),
        (
            "dev/net/tun",
            "there are no TAP devices, and no relay to delay packets",
            "call 'sudo modprobe tun'",
        ),
        (
            "sys/kernel/btf/vmlinux",
            "the kernel does not describe its types",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y; nothing is lost without",
        ),
    ];
    let is_missing = |path: &str| !root.join(path).exists();
    wanted
        .into_iter()
        .filter(|(path, ..)| is_missing(path))
        .map(|(path, what, fix)| Problem::warning(format!("{what} (no /{path})"), fix))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn each_state_of_the_socket_has_a_fix_of_its_own() {
        let cases = [
            (Socket::SystemBus, "leave --bus out"),
            (Socket::Missing, "--bus unix:path=SOCKET"),
            (Socket::Dead, "journalctl -u faultd"),
            (Socket::Closed { group: Some("faultd".into()) }, "usermod -aG faultd"),
            (Socket::Closed { group: None }, "[access]"),
            (Socket::Strange, "ss -xlp"),
        ];
        for (socket, fix) in cases {
            let problem = of_socket("/run/faultd/bus", &socket);
            assert!(problem.fix.contains(fix) && !problem.fix.contains('\n'), "{problem:?}");
        }
    }

    #[test]
    fn a_socket_is_missing_dead_or_somebody_else_s() {
        let path = std::env::temp_dir().join(format!("faultctl-doctor-{}", std::process::id()));
        assert_eq!(look_at(&path), Socket::Missing);
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(look_at(&path), Socket::Strange);
        drop(listener);
        assert_eq!(look_at(&path), Socket::Dead);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_group_is_named_where_it_has_a_name() {
        let groups = "root:x:0:\nfaultd:x:123:me\n";
        assert_eq!((group_name(groups, 123), group_name(groups, 7)), ("faultd".into(), "7".into()));
    }

    #[test]
    fn a_host_without_anything_misses_all_of_it() {
        let found = of_host(Path::new("/nowhere"));
        let fixes: Vec<&str> = found.iter().map(|problem| problem.fix.as_str()).collect();
        assert_eq!(found.len(), 3);
        assert!(
            fixes[0].contains("cgroup2") && fixes[1].contains("modprobe tun") && fixes[2].contains("BTF")
        );
    }
}
