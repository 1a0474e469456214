//! Finds the control group of a process, on version 1, version 2 and hybrids of both: `/proc/PID/cgroup` says which
//! group it is in, for each hierarchy, and `/proc/self/mountinfo` where hierarchies are mounted.

use std::{fs, io, path::PathBuf};

use super::ControlGroupError;
use crate::process::ProcessIdentity;

/// What of a group is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Pauses.
    Freezer,
    /// A quota of the processors.
    Cpu,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Freezer, Self::Cpu];

    /// The kernel's name, of version 1.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Freezer => "freezer",
            Self::Cpu => "cpu",
        }
    }

    /// The file by which a group is controlled.
    pub(super) fn file(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Freezer, Version::One) => super::freezing::STATE_V1,
            (Self::Freezer, Version::Two) => super::freezing::FREEZE_V2,
            (Self::Cpu, Version::One) => super::quota::QUOTA_V1,
            (Self::Cpu, Version::Two) => super::quota::MAX_V2,
        }
    }
}

/// The version of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::One => "v1",
            Self::Two => "v2",
        }
    }
}

/// Whose a group must be, so that nobody else is controlled with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupOwner {
    /// A container: engines write its id into the name of its group, which may have others inside of it.
    Container {
        /// Its whole id.
        id: String,
    },
    /// A process for which we have made a group: `faultd/LAB/HOST`.
    Ours {
        /// The path of the group below the root of its hierarchy.
        path: String,
    },
}

impl GroupOwner {
    fn owns(&self, path: &str) -> bool {
        match self {
            Self::Container { id } => {
                !id.is_empty() && path.rsplit('/').next().is_some_and(|name| name.contains(id))
            }
            Self::Ours { path: ours } => {
                path.strip_suffix(ours.as_str()).is_some_and(|rest| rest.ends_with('/'))
            }
        }
    }

    /// The group of the owner among a group and those around it: the outermost that is its own.
    fn own_part<'a>(&self, path: &'a str) -> Option<&'a str> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        ends.filter_map(|end| path.get(..end)).find(|part| self.owns(part))
    }

    fn described(&self) -> &'static str {
        match self {
            Self::Container { .. } => "its engine has given it no control group of its own",
            Self::Ours { .. } => {
                "it has no control group of its own: none could be made when its lab came up"
            }
        }
    }
}

/// A group that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlGroup {
    pub(crate) version: Version,
    /// Its path in the hierarchy.
    pub(crate) path: String,
    /// Where its files are.
    pub(crate) directory: PathBuf,
}

impl ControlGroup {
    /// Finds the group of a process that is its owner's and nobody else's.
    pub(super) fn of_process(
        process: ProcessIdentity,
        controller: Controller,
        owner: &GroupOwner,
    ) -> Result<Self, ControlGroupError> {
        let groups = read(&format!("/proc/{}/cgroup", process.pid))?;
        let own_groups = read("/proc/self/cgroup")?;
        if !process.is_alive() {
            return Err(ControlGroupError::NoGroup("it does not run any more".to_owned()));
        }
        let surroundings = Surroundings {
            mounts: parse_mounts(&read("/proc/self/mountinfo")?),
            own_groups: parse_memberships(&own_groups),
        };
        surroundings.find(&parse_memberships(&groups), controller, owner).map_err(ControlGroupError::NoGroup)
    }
}

fn read(file: &str) -> Result<String, ControlGroupError> {
    // The names of groups and mounts are anybody's to choose.
    let bytes = fs::read(file).map_err(ControlGroupError::file(file))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What this kernel and host have of a controller, for people, or why there is nothing.
///
/// # Errors
/// With the reason, in one line.
pub fn availability(controller: Controller) -> Result<String, String> {
    let mounts = mounts().map_err(|error| format!("/proc/self/mountinfo cannot be read: {error}"))?;
    let found = mounts.iter().find(|mount| mount.has(controller, Version::One)).or_else(|| {
        mounts.iter().find(|mount| mount.version == Version::Two && mount.offers_by_itself(controller))
    });
    let found = found.ok_or_else(|| format!("no control groups with {} are mounted", controller.name()))?;
    Ok(format!("control groups {} at {}", found.version.text(), found.point.display()))
}

/// The hierarchies that are mounted here.
pub(super) fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse_mounts(&String::from_utf8_lossy(&fs::read("/proc/self/mountinfo")?)))
}

/// A line of `/proc/PID/cgroup`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    /// None for version 2.
    controllers: Vec<String>,
    pub(crate) path: String,
}

/// Reads `/proc/PID/cgroup`: `6:cpu,cpuacct:/docker/ID` of version 1, `0::/docker/ID` of version 2. What is
/// neither is left out.
pub(crate) fn parse_memberships(text: &str) -> Vec<Membership> {
    let membership = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let of_version_2 = number == "0" && controllers.is_empty();
        let is_sound = path.starts_with('/') && number.parse::<u32>().is_ok();
        // A hierarchy with a name and no controller (`name=systemd`) is nothing to us.
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let membership = Membership { controllers, path: path.to_owned() };
        (is_sound && (of_version_2 || !membership.controllers.is_empty())).then_some(membership)
    };
    text.lines().filter_map(membership).collect()
}

/// A hierarchy that is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(super) version: Version,
    /// Its controllers, of version 1.
    controllers: Vec<String>,
    /// The group that is mounted.
    pub(crate) root: String,
    /// Where to.
    pub(super) point: PathBuf,
}

impl Mount {
    pub(super) fn has(&self, controller: Controller, version: Version) -> bool {
        let is_its = version == Version::Two || self.controllers.iter().any(|name| name == controller.name());
        self.version == version && is_its
    }

    /// Whether the hierarchy, of version 2, has a controller at its root. Every group can be frozen.
    pub(super) fn offers_by_itself(&self, controller: Controller) -> bool {
        let offered = fs::read_to_string(self.point.join("cgroup.controllers")).unwrap_or_default();
        controller == Controller::Freezer || offered.split_whitespace().any(|name| name == controller.name())
    }

    /// The directory of a group, if it is below what is mounted.
    fn directory(&self, path: &str) -> Option<PathBuf> {
        let below = path.strip_prefix(self.root.trim_end_matches('/'))?;
        let is_below = below.is_empty() || below.starts_with('/');
        // Of a group outside of our own namespace of control groups the path begins with `/..`.
        let is_plain = !below.split('/').any(|part| part == "..") && !below.contains(char::is_control);
        (is_below && is_plain).then(|| self.point.join(below.trim_start_matches('/')))
    }
}

/// Reads the control groups among `/proc/self/mountinfo`; all else is left out. See proc_pid_mountinfo(5).
pub(crate) fn parse_mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (unescaped(mount.next()?), unescaped(mount.next()?));
        let mut file_system = file_system.split(' ');
        let (version, options) = match (file_system.next()?, file_system.nth(1)?) {
            ("cgroup", options) => (Version::One, options),
            ("cgroup2", _) => (Version::Two, ""),
            _ => return None,
        };
        let controllers = options.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let is_sound = root.starts_with('/') && point.starts_with('/') && !point.contains(char::is_control);
        is_sound.then(|| Mount { version, controllers, root, point: point.into() })
    };
    text.lines().filter_map(mount).collect()
}

/// Blanks and backslashes are written as three octal digits.
pub(crate) fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                plain.push(char::from(code));
                plain.push_str(rest);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// Where hierarchies are mounted, and where we are in them.
pub(crate) struct Surroundings {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) own_groups: Vec<Membership>,
}

impl Surroundings {
    /// The group that is the owner's: of version 1, where the controller is there, or else of version 2. The reason
    /// is that of the first that could have been it.
    pub(crate) fn find(
        &self,
        groups: &[Membership],
        controller: Controller,
        owner: &GroupOwner,
    ) -> Result<ControlGroup, String> {
        let mut why = None;
        for version in [Version::One, Version::Two] {
            let Some(group) = membership(groups, controller, version) else { continue };
            match self.find_in(group, controller, version, owner) {
                Ok(found) => return Ok(found),
                Err(reason) => why = why.or(Some(reason)),
            }
        }
        Err(why.unwrap_or_else(|| format!("this kernel has no control groups with {}", controller.name())))
    }

    fn find_in(
        &self,
        group: &Membership,
        controller: Controller,
        version: Version,
        owner: &GroupOwner,
    ) -> Result<ControlGroup, String> {
        if group.path == "/" {
            let of = format!("{} {}", controller.name(), version.text());
            return Err(format!("it is in the root control group ({of}), with all of the host"));
        }
        let path =
            owner.own_part(&group.path).ok_or_else(|| format!("{} ({})", owner.described(), group.path))?;
        let own = membership(&self.own_groups, controller, version);
        if own.is_some_and(|own| is_in(&own.path, path)) {
            return Err(format!("faultd itself is in its control group ({path})"));
        }
        let mut mounts = self.mounts.iter().filter(|mount| mount.has(controller, version));
        let directory = mounts.find_map(|mount| mount.directory(path));
        let directory = directory.ok_or_else(|| format!("its control group ({path}) is not mounted here"))?;
        if !directory.join(controller.file(version)).exists() {
            return Err(format!("{} has no {}", directory.display(), controller.file(version)));
        }
        Ok(ControlGroup { version, path: path.to_owned(), directory })
    }
}

fn membership(groups: &[Membership], controller: Controller, version: Version) -> Option<&Membership> {
    groups.iter().find(|group| match version {
        Version::One => group.controllers.iter().any(|name| name == controller.name()),
        Version::Two => group.controllers.is_empty(),
    })
}

/// Whether a group is another one, or inside of it.
fn is_in(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    use super::*;

    const HYBRID: &str = "6:freezer:/docker/a1\n3:cpu,cpuacct:/docker/a1\n9:name=systemd:/\n0::/docker/a1\n";
    const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
37 31 0:34 / /groups/free\\040zer rw,relatime shared:9 - cgroup cgroup rw,freezer
41 31 0:38 / /groups/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    fn container(id: &str) -> GroupOwner {
        GroupOwner::Container { id: id.to_owned() }
    }

    #[test]
    fn groups_and_mounts_are_read_as_the_kernel_writes_them() {
        let groups = parse_memberships(HYBRID);
        assert_eq!(groups.len(), 4);
        let of =
            |controller, version| membership(&groups, controller, version).map(|group| group.path.as_str());
        assert_eq!(of(Controller::Cpu, Version::One), Some("/docker/a1"));
        assert_eq!(of(Controller::Cpu, Version::Two), Some("/docker/a1"));
        let mounts = parse_mounts(MOUNTS);
        assert_eq!(mounts.len(), 2);
        assert!(
            mounts[0].has(Controller::Freezer, Version::One) && !mounts[0].has(Controller::Cpu, Version::One)
        );
        assert_eq!(mounts[0].directory("/docker/a1"), Some("/groups/free zer/docker/a1".into()));
        assert_eq!(unescaped("a\\134b\\x\\9"), "a\\b\\x\\9");
    }

    #[test]
    fn a_mount_of_a_part_of_a_hierarchy_shows_that_part_only() {
        let mount = Mount {
            version: Version::Two,
            controllers: Vec::new(),
            root: "/docker/a".into(),
            point: "/g".into(),
        };
        assert_eq!(mount.directory("/docker/a/b"), Some("/g/b".into()));
        assert_eq!(mount.directory("/docker/a"), Some("/g/".into()));
        for outside in ["/docker/ab", "/docker", "/", "/docker/a/../b"] {
            assert_eq!(mount.directory(outside), None, "{outside}");
        }
    }

    #[test]
    fn the_group_of_a_container_is_the_outermost_with_its_id() {
        let own = |path| container("a1").own_part(path).map(str::to_owned);
        assert_eq!(own("/docker/a1"), Some("/docker/a1".into()));
        assert_eq!(own("/docker/b2/docker/a1/init.scope"), Some("/docker/b2/docker/a1".into()));
        assert_eq!(
            own("/machine.slice/libpod-a1.scope/container"),
            Some("/machine.slice/libpod-a1.scope".into())
        );
        assert_eq!(own("/user.slice"), None);
        assert_eq!(container("").own_part("/user.slice"), None);
        let ours = GroupOwner::Ours { path: "faultd/etcd/etcd0".into() };
        assert_eq!(ours.own_part("/faultd/etcd/etcd0"), Some("/faultd/etcd/etcd0"));
        assert_eq!(ours.own_part("/x/faultd/etcd/etcd0/inner"), Some("/x/faultd/etcd/etcd0"));
        assert_eq!(ours.own_part("/notfaultd/etcd/etcd0"), None);
        assert_eq!(ours.own_part("/faultd/etcd/etcd01"), None);
    }

    #[test]
    fn who_shares_its_group_with_others_is_refused_with_the_reason() {
        let at_root = parse_memberships("6:freezer:/\n0::/\n");
        let surroundings =
            |own: &str| Surroundings { mounts: parse_mounts(MOUNTS), own_groups: parse_memberships(own) };
        let refused = |own: &str, groups: &[Membership], id: &str| {
            surroundings(own).find(groups, Controller::Freezer, &container(id)).unwrap_err()
        };
        assert_eq!(
            refused("", &at_root, "a1"),
            "it is in the root control group (freezer v1), with all of the host"
        );
        let hybrid = parse_memberships(HYBRID);
        assert!(refused("", &hybrid, "b2").contains("no control group of its own"));
        assert!(refused("6:freezer:/docker/a1/x", &hybrid, "a1").contains("faultd itself"));
        assert!(refused("", &hybrid, "a1").contains("has no freezer.state"));
        assert!(refused("", &[], "a1").contains("no control groups with freezer"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_text_leads_out_of_what_is_mounted(
            groups in "([0-9]{0,3}:(freezer|cpu|cpu,x|):/?[a1/.]{0,12}\n|\\PC{0,20}\n){0,4}",
            mounts in "([0-9 ]{4} 0:1 /[a1/.]{0,6} /[a-z1/\\\\0]{0,8} rw - cgroup2? x (rw,freezer|rw)\n|\\PC{0,30}\n){0,4}",
        ) {
            let surroundings = Surroundings { mounts: parse_mounts(&mounts), own_groups: Vec::new() };
            for membership in parse_memberships(&groups) {
                for mount in &surroundings.mounts {
                    if let Some(directory) = mount.directory(&membership.path) {
                        prop_assert!(directory.starts_with(&mount.point));
                        let below = directory.strip_prefix(&mount.point);
                        prop_assert!(below.is_ok_and(|below| below.components().all(
                            |part| matches!(part, std::path::Component::Normal(_)))));
                    }
                }
            }
        }
    }
}
