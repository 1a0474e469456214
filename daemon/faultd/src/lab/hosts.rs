//! Makes and removes what a lab has on this host. Synchronous: every call waits for the kernel.
//!
//! ```text
//! namespace faultd-LAB            namespace faultd-LAB-MEMBER
//! ┌──────────────────────┐        ┌────────────────────────────┐
//! │ bridge `lab` (.254)  │        │                            │
//! │   ├── MEMBER ════════╪══veth══╪═ eth0 (.1) ◀─ its process  │
//! │   └── …              │        └────────────────────────────┘
//! └──────────────────────┘
//! ```
//!
//! The switch has a namespace of its own because a container engine may have set the host's
//! firewall to drop what bridges forward. The clients' sockets are opened inside of it, so that the
//! host needs no route and no address: a lab is invisible to it and cannot clash with its networks.

use std::{fs, io, path::Path, thread, time::Duration};

use faultd_kernel::{
    control_group::own,
    kill_points, link,
    namespace::{self, Namespace},
    process::{ProcessError, ProcessIdentity, ProcessPlan, SpawnedProcess},
};

use super::{
    LabError,
    description::{Directories, LabDescription, MemberDescription},
    record::{LabRecord, MemberRecord},
};

/// The bridge's name; it has a namespace of its own, so that it needs no other.
const BRIDGE: &str = "lab";
/// The name of a member's only interface, as in a container.
const MEMBER_INTERFACE: &str = "eth0";
/// How long a member may take to end after SIGTERM.
const TERMINATION_GRACE: Duration = Duration::from_secs(3);
/// How long the one who waits for a member sleeps at most; it is woken when the member ends.
const WAIT_STEP: Duration = Duration::from_secs(3600);

/// Makes namespaces, switch, hosts and their addresses.
pub(super) fn build_network(description: &LabDescription, record: &LabRecord) -> Result<(), LabError> {
    let switch = Namespace::create_named(&record.switch_namespace)?;
    link::set_loopback_up(&switch)?;
    let bridge = link::create_bridge(&switch, BRIDGE)?;
    link::add_address(&switch, bridge.index, description.switch_address, description.prefix_length)?;
    for (member, of_record) in description.members.iter().zip(&record.members) {
        build_host(&switch, bridge.index, &of_record.namespace, member, description.prefix_length)?;
    }
    Ok(())
}

fn build_host(
    switch: &Namespace,
    bridge: u32,
    namespace_name: &str,
    member: &MemberDescription,
    prefix_length: u8,
) -> Result<(), LabError> {
    let host = Namespace::create_named(namespace_name)?;
    link::set_loopback_up(&host)?;
    let outside = link::create_veth(switch, &member.name, &host, MEMBER_INTERFACE)?;
    let inside = link::find(&host, MEMBER_INTERFACE)?
        .ok_or_else(|| LabError::Incomplete(format!("{MEMBER_INTERFACE} of {} is missing", member.name)))?;
    link::set_controller(switch, outside.index, bridge)?;
    link::add_address(&host, inside.index, member.address, prefix_length)?;
    link::set_up(switch, outside.index)?;
    link::set_up(&host, inside.index)?;
    Ok(())
}

/// Makes the groups in which a member is alone, so that it can be paused. Without them it runs as well.
pub(super) fn make_control_groups(of_record: &MemberRecord) {
    for directory in &of_record.control_groups {
        if let Err(error) = own::create(directory) {
            let (member, directory) = (of_record.name.as_str(), directory.display());
            tracing::warn!(member, %directory, %error, "no control group: the member cannot be paused or throttled");
        }
    }
}

/// Starts a member's process on its host, its output going to its log.
pub(super) fn start_member(
    member: &MemberDescription,
    of_record: &MemberRecord,
    directories: Directories<'_>,
    install: Option<&str>,
) -> Result<ProcessIdentity, LabError> {
    let data = directories.data;
    fs::create_dir_all(data).map_err(|source| LabError::Directory { path: data.to_owned(), source })?;
    let words = member.command_in(directories)?;
    let (program, arguments) =
        words.split_first().ok_or(LabError::Description(super::DescriptionError::Command))?;
    let host = Namespace::open_named(&of_record.namespace)?;
    let plan = ProcessPlan {
        program: program.clone(),
        arguments: arguments.to_vec(),
        environment: Vec::new(),
        working_directory: data.to_owned(),
        log: of_record.log.clone(),
        control_groups: of_record.control_groups.clone(),
    };
    let not_started = |error: ProcessError| LabError::Start {
        member: member.name.clone(),
        reason: with_cause(&error),
        hint: install.map(|how| format!(" (install it: {how})")).unwrap_or_default(),
    };
    let process = SpawnedProcess::spawn(&host, &plan).map_err(not_started)?;
    let identity = process.identity();
    wait_in_background(process)
        .map_err(|source| LabError::Directory { path: of_record.log.clone(), source })?;
    Ok(identity)
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// A child that has ended stays in the process table until its parent has waited for it.
fn wait_in_background(mut process: SpawnedProcess) -> io::Result<()> {
    let wait = move || {
        while !matches!(process.identity().wait_until_ended(WAIT_STEP), Ok(true) | Err(_)) {}
        // Only an error that leaves nothing to wait for can come back here.
        let _ = process.try_wait();
    };
    thread::Builder::new().name("lab-member".to_owned()).spawn(wait).map(drop)
}

/// Finds the switch's side of every member's veth.
pub(super) fn switch_interfaces(record: &LabRecord) -> Result<Vec<(Namespace, link::Link)>, LabError> {
    let switch = Namespace::open_named(&record.switch_namespace)?;
    let mut found = Vec::new();
    for member in &record.members {
        let link = link::find(&switch, &member.name)?
            .ok_or_else(|| LabError::Incomplete(format!("interface {} is missing", member.name)))?;
        found.push((switch.clone(), link));
    }
    Ok(found)
}

/// Takes everything of a lab away, going on after errors, which are answered one line each.
pub(super) fn tear_down(record: &LabRecord) -> Vec<String> {
    let mut failures = Vec::new();
    let mut processes: Vec<ProcessIdentity> =
        record.members.iter().filter_map(|member| member.process).map(ProcessIdentity::from).collect();
    if !record.served {
        // A daemon that was killed may have started a member and not written that down.
        processes.extend(record.members.iter().flat_map(|member| processes_in(&member.namespace)));
    }
    let groups = || record.members.iter().flat_map(|member| &member.control_groups);
    processes.extend(groups().flat_map(|directory| processes_in_group(directory)));
    processes.sort_by_key(|process| process.pid);
    processes.dedup();
    kill_points::here("lab.down.begin");
    end_processes(&processes, &mut failures);
    kill_points::here("lab.down.processes");
    failures.extend(groups().filter_map(|directory| {
        own::remove(directory).err().map(|error| format!("{}: {error}", directory.display()))
    }));
    // The veth pairs and the bridge go with their namespaces; the members' first, so that the
    // switch's namespace is not kept alive by a pair that is still being taken apart.
    let names = record.members.iter().map(|member| member.namespace.as_str());
    for name in names.chain([record.switch_namespace.as_str()]) {
        kill_points::here("lab.down.namespace");
        remove_namespace(name, &mut failures);
    }
    match fs::remove_dir_all(&record.data_directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            failures.push(format!("{}: {error}", record.data_directory.display()));
        }
        _ => {}
    }
    kill_points::here("lab.down.done");
    failures
}

/// The processes in a namespace that has a name; in one without, nobody could find them.
pub(crate) fn processes_in(namespace_name: &str) -> Vec<ProcessIdentity> {
    let Ok(wanted) = Namespace::open_named(namespace_name) else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let inside = pids.filter(|pid| Namespace::of_process(*pid).is_ok_and(|of_process| of_process == wanted));
    inside.filter_map(|pid| ProcessIdentity::of(pid).ok()).collect()
}

/// The processes in a control group of ours.
pub(crate) fn processes_in_group(directory: &Path) -> Vec<ProcessIdentity> {
    own::processes_in(directory).into_iter().filter_map(|pid| ProcessIdentity::of(pid).ok()).collect()
}

fn end_processes(processes: &[ProcessIdentity], failures: &mut Vec<String>) {
    // All at once: members that lose each other one by one would elect leaders to the last.
    thread::scope(|scope| {
        let ends: Vec<_> = processes
            .iter()
            .map(|process| (process, scope.spawn(|| process.stop(TERMINATION_GRACE))))
            .collect();
        for (process, end) in ends {
            if let Ok(Err(error)) = end.join() {
                failures.push(format!("process {}: {error}", process.pid));
            }
        }
    });
}

fn remove_namespace(name: &str, failures: &mut Vec<String>) {
    if namespace::list_named().iter().any(|known| known == name)
        && let Err(error) = namespace::remove_named(name)
    {
        failures.push(format!("namespace {name}: {error}"));
    }
}
