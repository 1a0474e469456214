//! Finding a namespace again that has no name, or has lost it: among those of processes and their threads, where one
//! is mounted in any mount namespace, and among open files.
//!
//! One that only a socket keeps alive cannot be found: nothing of it can be opened from outside.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{NAMED_DIRECTORY, Namespace, NamespaceIdentity, OWN_NAMESPACE};
use crate::control_group::finding::unescaped;

/// The namespace of this identity, looked for at `hint` first; nothing where there is none any more. The kernel gives
/// numbers of namespaces that have ended to later ones: whoever looks for something in it must recognise that.
#[must_use]
pub fn find(identity: NamespaceIdentity, hint: &Path) -> Option<Namespace> {
    let near =
        [hint.to_owned(), PathBuf::from(OWN_NAMESPACE)].into_iter().chain(files_in(NAMED_DIRECTORY.as_ref()));
    let everywhere = near.chain(of_threads()).chain(mounted(identity)).chain(held_open(identity));
    everywhere.filter(|path| is_it(path, identity)).find_map(|path| {
        // It may have become another one since it was looked at.
        Namespace::open(&path).ok().filter(|namespace| namespace.identity == identity)
    })
}

fn is_it(path: &Path, identity: NamespaceIdentity) -> bool {
    fs::metadata(path).is_ok_and(|status| status.dev() == identity.device && status.ino() == identity.inode)
}

fn files_in(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let is_process = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    files_in("/proc".as_ref()).filter(is_process)
}

fn of_threads() -> impl Iterator<Item = PathBuf> {
    processes().flat_map(|process| files_in(&process.join("task"))).map(|thread| thread.join("ns/net"))
}

/// Where it is mounted, in each mount namespace as one of its processes sees it.
fn mounted(identity: NamespaceIdentity) -> impl Iterator<Item = PathBuf> {
    let mut known = HashSet::new();
    let first_in_each = processes().filter(move |process| {
        let mounts = fs::metadata(process.join("ns/mnt")).map(|status| status.ino());
        mounts.is_ok_and(|mounts| known.insert(mounts))
    });
    first_in_each.flat_map(move |process| {
        let mounts = fs::read(process.join("mountinfo")).unwrap_or_default();
        let points = mount_points(&String::from_utf8_lossy(&mounts), identity.inode);
        points.into_iter().map(move |point| process.join("root").join(point.trim_start_matches('/')))
    })
}

/// See `proc_pid_mountinfo(5)`: the fourth field is what is mounted, the fifth where.
fn mount_points(mounts: &str, inode: u64) -> Vec<String> {
    let wanted = link_text(inode);
    let point = |line: &str| {
        let mut fields = line.split(' ').skip(3);
        (fields.next()? == wanted).then(|| fields.next().map(unescaped))?
    };
    mounts.lines().filter(|line| line.contains(" - nsfs ")).filter_map(point).collect()
}

fn held_open(identity: NamespaceIdentity) -> impl Iterator<Item = PathBuf> {
    let wanted = PathBuf::from(link_text(identity.inode));
    let files = processes().flat_map(|process| files_in(&process.join("fd")));
    files.filter(move |file| fs::read_link(file).is_ok_and(|what| what == wanted))
}

fn link_text(inode: u64) -> String {
    format!("net:[{inode}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_namespace_is_mounted_is_read_and_nothing_else() {
        let mounts = "501 24 0:4 net:[4026532281] /run/netns/a shared:290 - nsfs nsfs rw\n\
                      502 24 0:4 net:[4026532281] /srv/a\\040b rw - nsfs nsfs rw\n\
                      503 24 0:4 mnt:[4026532281] /srv/c rw - nsfs nsfs rw\n\
                      504 24 0:4 net:[40265322811] /srv/d rw - nsfs nsfs rw\n\
                      505 24 0:5 net:[4026532281] /srv/e rw - ext4 /dev/sda rw\n\
                      506 24 0:4 net:[4026532281]\n";
        assert_eq!(mount_points(mounts, 4_026_532_281), ["/run/netns/a", "/srv/a b"]);
    }
}
