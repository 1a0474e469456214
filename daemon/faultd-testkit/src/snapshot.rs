//! What the host looks like: to be compared before and after.

use std::{
    collections::BTreeSet,
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use faultd_kernel::{link, namespace, namespace::Namespace};

const KERNEL_FILES: [&str; 5] =
    ["anon_inode:bpf", "anon_inode:[bpf", "anon_inode:[eventfd]", "/dev/net/tun", "net:["];

/// Links, namespaces, and the bpf and TAP files of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSnapshot {
    things: BTreeSet<String>,
}

impl HostSnapshot {
    /// Looks at the namespace of the calling thread and at this process.
    pub fn take() -> Self {
        let here = Namespace::current().expect("own namespace");
        let links = link::list(&here).expect("links of the own namespace");
        let links = links.into_iter().map(|link| format!("link {}", link.name));
        let namespaces = namespace::list_named().into_iter().map(|name| format!("namespace {name}"));
        Self { things: links.chain(namespaces).chain(open_kernel_files()).collect() }
    }

    /// Only what belongs to this process: its open files of the kernel, its threads, and the named
    /// namespaces of tests. Whatever else happens on the machine makes no difference.
    pub fn take_of_this_process() -> Self {
        let tests = namespace::list_named().into_iter().filter(|name| name.starts_with("faultd-test-"));
        let namespaces = tests.map(|name| format!("namespace {name}"));
        Self { things: namespaces.chain(open_kernel_files()).chain(own_threads()).collect() }
    }

    /// As [`HostSnapshot::take`], with all running processes of these names.
    pub fn take_with_processes(names: &[&str]) -> Self {
        let mut snapshot = Self::take();
        snapshot.things.extend(processes(names));
        snapshot
    }

    /// What is there now and was not then, once nothing more disappears or the patience is over.
    pub fn left_over_after(&self, patience: Duration) -> Vec<String> {
        self.wait_for_none(patience, Self::take)
    }

    /// As [`HostSnapshot::left_over_after`], for what belongs to this process.
    pub fn left_over_of_this_process_after(&self, patience: Duration) -> Vec<String> {
        self.wait_for_none(patience, Self::take_of_this_process)
    }

    /// As [`HostSnapshot::left_over_after`], with all running processes of these names.
    pub fn left_over_with_processes_after(&self, names: &[&str], patience: Duration) -> Vec<String> {
        self.wait_for_none(patience, || Self::take_with_processes(names))
    }

    fn wait_for_none(&self, patience: Duration, look: impl Fn() -> Self) -> Vec<String> {
        let end = Instant::now() + patience;
        loop {
            let left: Vec<String> = look().things.difference(&self.things).cloned().collect();
            if left.is_empty() || Instant::now() >= end {
                return left;
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// Programs, maps, links, TAP devices and namespaces that this process holds open, numbered.
fn open_kernel_files() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("own file descriptors");
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut kinds: Vec<String> = targets
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| KERNEL_FILES.iter().any(|kind| target.starts_with(kind)))
        .collect();
    kinds.sort();
    kinds.into_iter().enumerate().map(|(number, kind)| format!("open file {number} {kind}")).collect()
}

/// Threads that faultd-kernel starts, numbered.
fn own_threads() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/task").expect("own threads");
    let names = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("comm")).ok());
    let ours = names.filter(|name| name.starts_with("faultd-"));
    ours.enumerate().map(|(number, name)| format!("thread {number} {}", name.trim_end())).collect()
}

fn processes(names: &[&str]) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|pid| Some((fs::read_to_string(format!("/proc/{pid}/comm")).ok()?, pid)))
        .filter(|(name, _pid)| names.contains(&name.trim_end()))
        .map(|(name, pid)| format!("process {} {pid}", name.trim_end()))
        .collect()
}
