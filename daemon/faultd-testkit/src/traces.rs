//! What labs and faults could leave on a host, restricted to the labs of one test: whatever else
//! happens on the machine meanwhile makes no difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use aya::programs::tc::{SchedClassifier, TcAttachType};
use faultd_kernel::{
    control_group::own,
    datapath::InterfaceReference,
    link, namespace,
    namespace::Namespace,
    residue::{self, Residue},
};
use rustix::process::{Pid, Signal, kill_process};

/// Where labs keep data in memory.
const MEMORY_DIRECTORY: &str = "/dev/shm";

/// Things that are there, each with a name that tells it from the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces(pub BTreeSet<String>);

impl Traces {
    /// Namespaces, processes, data and control groups of these labs.
    pub fn of_labs(labs: &[String]) -> Self {
        let is_ours = |name: &String| labs.iter().any(|lab| is_of_lab(lab, name));
        let namespaces = namespace::list_named().into_iter().filter(is_ours);
        let mut things: BTreeSet<String> = namespaces.map(|name| format!("namespace {name}")).collect();
        let data = names_in(MEMORY_DIRECTORY).into_iter().filter(is_ours);
        things.extend(data.map(|name| format!("data {name}")));
        things.extend(labs.iter().flat_map(|lab| processes_of_lab(lab)));
        let groups = own::all().into_iter().filter(|group| labs.iter().any(|lab| is_in_lab(group, lab)));
        things.extend(groups.map(|group| format!("control group {}", group.display())));
        Self(things)
    }

    /// Interfaces and routes of the host itself.
    pub fn of_host() -> Self {
        Self(interfaces().into_iter().chain(routes()).collect())
    }

    /// What a process holds: open files (programs, links, TAP devices, namespaces among them), threads
    /// and children, those included that have ended and were not waited for.
    pub fn of_process(pid: u32) -> Self {
        let files = names_in(&format!("/proc/{pid}/fd"));
        let targets = files.iter().filter_map(|file| fs::read_link(format!("/proc/{pid}/fd/{file}")).ok());
        let mut things: Vec<String> = targets.map(|target| kind_of(&target.to_string_lossy())).collect();
        things.extend(threads(pid));
        things.extend(children(pid));
        Self(numbered(things))
    }

    /// What is there now and was not at first, once that is nothing or the patience is over.
    pub fn left_over_after(&self, patience: Duration, look: impl Fn() -> Self) -> Vec<String> {
        let end = Instant::now() + patience;
        loop {
            let left: Vec<String> = look().0.difference(&self.0).cloned().collect();
            if left.is_empty() || Instant::now() >= end {
                return left;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Ends and removes what a failed test of these labs would leave on the machine.
pub fn remove_labs(labs: &[String]) {
    for lab in labs {
        for process in processes_of_lab(lab) {
            let pid = process.split(' ').nth(1).and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
            // It may have ended by itself meanwhile.
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
        for name in namespace::list_named().into_iter().filter(|name| is_of_lab(lab, name)) {
            let _ = namespace::remove_named(&name);
        }
        let _ = fs::remove_dir_all(format!("{MEMORY_DIRECTORY}/faultd-{lab}"));
        for group in own::all().into_iter().filter(|group| is_in_lab(group, lab)) {
            let _ = own::remove(&group);
        }
    }
}

fn is_in_lab(group: &Path, lab: &str) -> bool {
    group.ancestors().any(|part| part.ends_with(format!("faultd/{lab}")))
}

/// Namespaces and directories of a lab are named alike.
fn is_of_lab(lab: &str, name: &str) -> bool {
    let rest = name.strip_prefix("faultd-").and_then(|name| name.strip_prefix(lab));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The members of a lab that run, found by the directory of their data, with their ids.
pub fn processes_of_lab(lab: &str) -> Vec<String> {
    let pids = names_in("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let command = |pid: String| Some((fs::read(format!("/proc/{pid}/cmdline")).ok()?, pid));
    pids.filter_map(command)
        .map(|(words, pid)| (String::from_utf8_lossy(&words).replace('\0', " "), pid))
        .filter(|(command, _pid)| command.contains(&format!("/faultd-{lab}/")))
        .map(|(command, pid)| format!("process {pid} {command}"))
        .collect()
}

/// Container engines come and go with interfaces of their own, which no part of faultd names so.
fn interfaces() -> Vec<String> {
    let here = Namespace::current().expect("own namespace");
    let links = link::list(&here).expect("links of the own namespace");
    let engines = ["veth", "docker", "br-"];
    let names = links.into_iter().map(|link| link.name);
    names
        .filter(|name| !engines.iter().any(|engine| name.starts_with(engine)))
        .map(|name| format!("interface {name}"))
        .collect()
}

fn routes() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let route = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let engines = ["docker", "br-"];
    let ours = table.lines().skip(1).filter(|line| !engines.iter().any(|engine| line.starts_with(engine)));
    ours.map(|line| format!("route {}", route(line))).collect()
}

/// What carries out faults at an interface: programs attached to it, and the devices that faultd makes
/// in its namespace.
pub fn rule_parts(interface: &InterfaceReference) -> Vec<String> {
    let mut parts = tcx_programs(interface);
    let found = residue::find(std::slice::from_ref(&interface.namespace)).expect("links of a namespace");
    // Somebody's labs may be up meanwhile.
    parts.extend(
        found.iter().filter(|part| !matches!(part, Residue::Namespace { .. })).map(ToString::to_string),
    );
    parts
}

/// A kernel without TCX has no such programs; what it has instead counts as residue.
fn tcx_programs(interface: &InterfaceReference) -> Vec<String> {
    let attached =
        |side| SchedClassifier::query_tcx(&interface.name, side).map_or(0, |(_, programs)| programs.len());
    let count = || attached(TcAttachType::Ingress) + attached(TcAttachType::Egress);
    let count = interface.namespace.run(count).expect("inside the namespace");
    vec![format!("TCX program at {}", interface.name); count]
}

/// A socket is told by its number, which differs each time.
fn kind_of(target: &str) -> String {
    target.split_once(":[").map_or(target, |(kind, _number)| kind).to_owned()
}

/// Workers of a runtime come and go as there is work.
fn threads(pid: u32) -> Vec<String> {
    let tasks = names_in(&format!("/proc/{pid}/task"));
    let names =
        tasks.iter().filter_map(|task| fs::read_to_string(format!("/proc/{pid}/task/{task}/comm")).ok());
    let lasting = names.filter(|name| !name.starts_with("tokio-"));
    lasting.map(|name| format!("thread {}", name.trim_end())).collect()
}

fn children(parent: u32) -> Vec<String> {
    let pids = names_in("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let stats = pids.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    // "PID (NAME) STATE PARENT ...", see proc_pid_stat(5); a name may hold blanks and parentheses.
    let name_and_parent = |stat: String| {
        let (start, rest) = stat.rsplit_once(')')?;
        let is_child = rest.split_whitespace().nth(1) == Some(parent.to_string().as_str());
        is_child.then(|| format!("child {}", start.split_once('(').map_or("", |(_pid, name)| name)))
    };
    stats.filter_map(name_and_parent).collect()
}

/// Each thing with its number among those of its kind.
fn numbered(things: Vec<String>) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut number = |thing: String| {
        let count = counts.entry(thing.clone()).or_default();
        *count += 1;
        format!("{thing} {count}")
    };
    things.into_iter().map(&mut number).collect()
}

fn names_in(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
