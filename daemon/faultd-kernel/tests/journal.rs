//! What is written down is found by the next life wherever it is, and what cannot be written down is not done.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::{
    fs::{self, File},
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use faultd_kernel::{
    datapath::{Datapath, DatapathError, Hook, NamespaceRecord},
    journal::{Journal, Patience},
    link,
    namespace::Namespace,
    recovery, residue,
};
use faultd_testkit::{
    capabilities, ebpf_object, exclusive,
    hosts::VethPairHosts,
    rules::{lossy, rule},
};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

/// A folder of a test, with whatever is mounted in it.
struct Place {
    path: PathBuf,
    mounted: Option<PathBuf>,
}

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("faultd-journal-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self { path, mounted: None }
    }

    fn journal(&self) -> Journal {
        Journal::in_directory(&self.path.join("state/journal"))
    }

    /// Makes it a disk with room for one small file.
    fn on_a_small_disk(mut self) -> Self {
        mount("tmpfs", &self.path, "tmpfs", MountFlags::empty(), Some(c"size=4096")).expect("a tmpfs");
        self.mounted = Some(self.path.clone());
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mounted) = &self.mounted {
            unmount(mounted, UnmountFlags::DETACH).expect("what was mounted");
        }
        fs::remove_dir_all(&self.path).expect("the folder of the test");
    }
}

/// A namespace without a name and with a device in it, as a daemon that was killed leaves it.
fn left_behind(journal: &Journal) -> Namespace {
    let namespace = Namespace::create_anonymous().expect("a namespace");
    let _held_until_killed = journal.begin(&NamespaceRecord::of(&namespace)).expect("a record");
    link::create_veth(&namespace, "fltd-9999a", &namespace, "fltd-9999b").expect("a device");
    namespace
}

fn assert_found_and_removed(place: &Place, namespace: &Namespace) {
    let next = place.journal();
    let outcome = recovery::undo_recorded(&next, next.read().records, true, Patience::from_now());
    assert!(outcome.failures == 0 && !outcome.lines.is_empty(), "{outcome:?}");
    assert!(outcome.lines.iter().all(|line| line.contains("fltd-9999")), "{outcome:?}");
    assert!(residue::find_in(namespace).expect("its links").is_empty());
    assert!(next.records().is_empty(), "what is undone is struck");
}

#[test]
fn a_device_is_found_in_a_namespace_that_only_an_open_file_keeps() {
    let _exclusive = exclusive();
    if capabilities("journal: open file").is_none() {
        return;
    }
    let place = Place::new("file");
    let namespace = left_behind(&place.journal());
    assert_found_and_removed(&place, &namespace);
}

#[test]
fn a_device_is_found_in_a_namespace_that_is_only_mounted_somewhere() {
    let _exclusive = exclusive();
    if capabilities("journal: mount").is_none() {
        return;
    }
    let mut place = Place::new("mount");
    let namespace = left_behind(&place.journal());
    let point = place.path.join("a place");
    File::create(&point).expect("a file");
    let file = format!("/proc/self/fd/{}", namespace.as_fd().as_raw_fd());
    mount_bind(file.as_str(), &point).expect("a mount");
    place.mounted = Some(point.clone());
    let identity = namespace.identity();
    drop(namespace);
    let found = faultd_kernel::namespace::find(identity, Path::new("/proc/1/ns/net"));
    let found = found.expect("the namespace");
    assert!(found.path().ends_with("a place"), "{}", found.path().display());
    assert_found_and_removed(&place, &found);
}

#[test]
fn a_namespace_that_has_ended_leaves_nothing_to_be_undone() {
    let _exclusive = exclusive();
    if capabilities("journal: ended").is_none() {
        return;
    }
    let place = Place::new("ended");
    drop(left_behind(&place.journal()));
    let next = place.journal();
    let outcome = recovery::undo_recorded(&next, next.read().records, true, Patience::from_now());
    assert_eq!((outcome.lines.len(), outcome.failures), (0, 0), "{outcome:?}");
    assert!(next.records().is_empty());
}

#[test]
fn where_another_faultd_lives_a_device_stays_and_is_written_down() {
    let _exclusive = exclusive();
    if capabilities("journal: another").is_none() {
        return;
    }
    let place = Place::new("another");
    let namespace = left_behind(&place.journal());
    let next = place.journal();
    let outcome = recovery::undo_recorded(&next, next.read().records, false, Patience::from_now());
    assert_eq!((outcome.lines.len(), outcome.failures), (1, 1), "{outcome:?}");
    assert_eq!((residue::find_in(&namespace).expect("its links").len(), next.unfinished().len()), (2, 1));
    assert_found_and_removed(&place, &namespace);
}

#[test]
fn a_namespace_is_written_down_for_as_long_as_anything_is_in_it() {
    let name = "journal: datapath";
    let _exclusive = exclusive();
    let Some(capabilities) = capabilities(name) else { return };
    let place = Place::new("datapath");
    let hosts = VethPairHosts::create();
    let datapath = Datapath::start(&ebpf_object(), &capabilities, place.journal()).expect("a datapath");
    let written = || place.journal().records().len();
    assert_eq!(written(), 0);
    let plan = rule(&hosts.left, Hook::Ingress, lossy(0.5), None);
    let rule = datapath.add_rule(plan.clone()).expect("a rule").id;
    assert_eq!(written(), 1);
    datapath.remove_rule(rule).expect("removed");
    datapath.prepare(&hosts.switch).expect("prepared");
    datapath.add_rule(plan).expect("a rule");
    assert_eq!(written(), 1);
    datapath.shutdown().expect("a clean end");
    assert_eq!(written(), 0);
}

#[test]
fn on_a_full_or_read_only_disk_a_fault_is_refused_before_anything_is_changed() {
    let name = "journal: full";
    let _exclusive = exclusive();
    let Some(capabilities) = capabilities(name) else { return };
    let place = Place::new("full").on_a_small_disk();
    let hosts = VethPairHosts::create();
    let journal = place.journal();
    let first = journal.begin(&NamespaceRecord::of(&hosts.switch)).expect("room for one");
    let datapath = Datapath::start(&ebpf_object(), &capabilities, journal.clone()).expect("a datapath");
    let plan = || rule(&hosts.left, Hook::Ingress, lossy(0.5), None);
    let assert_refused = || {
        let refused = datapath.add_rule(plan()).expect_err("nothing can be written there");
        assert!(matches!(refused, DatapathError::Journal(_)), "{refused}");
        assert!(!refused.to_string().contains('\n'), "{refused}");
        assert!(residue::find_in(&hosts.switch).expect("its links").is_empty());
        assert_eq!(journal.records().len(), 1, "what is there stays");
    };
    assert_refused();
    mount_remount(&place.path, MountFlags::RDONLY, c"").expect("read-only");
    assert_refused();
    mount_remount(&place.path, MountFlags::empty(), c"").expect("writable");
    journal.end(first).expect("room again");
    datapath.add_rule(plan()).expect("a rule");
    datapath.shutdown().expect("a clean end");
    assert!(journal.records().is_empty());
}
